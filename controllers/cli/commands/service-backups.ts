import { z } from 'zod';
import { type Command, type Context, textArg, textOption } from '#cli/command.ts';
import { pathOf, Sentence, type ServiceKind } from '#cli/commands/service.ts';
import { wholeNumber } from '#cli/labels.ts';
import { bytes } from '#cli/output.ts';
import { secretText } from '#cli/secret-text.ts';
import { waitReady } from '#cli/waiting.ts';
import { AppError } from '#core/errors.ts';

/** Verbs of backups that are the same for databases and caches. */

const Verdict = z.looseObject({ state: z.string(), ok: z.boolean().nullable(), time: z.string(), sentence: z.string() });
export const Backup = z.looseObject({
  id: z.string(),
  state: z.string(),
  by: z.string(),
  bytes: z.number(),
  store: z.string(),
  member: z.string().nullable(),
  verify: Verdict.nullable(),
  sentence: z.string(),
});
export type Backup = z.infer<typeof Backup>;
export const Plan = z.looseObject({ store: z.string(), schedule: z.string().nullable(), keep: z.number(), verify: z.string().nullable() });

/** What each verb says of itself. */
export interface BackupWords {
  create: string;
  verify: string;
  delete: string;
  keep: string;
}

export function backupCommands(service: ServiceKind, words: BackupWords): Command[] {
  const { kind } = service;
  return [
    {
      path: [kind, 'backup', 'create'],
      summary: words.create,
      args: ['<name>'],
      changes: true,
      async run(context, input) {
        const name = textArg(input, 0);
        const asked = Backup.parse(await context.api.post(pathOf(service, name, '/backups')));
        const made = context.wait ? await follow(context, service, { name, id: asked.id }, madeOf) : asked;
        context.out.result(made, () => made.sentence);
      },
    },
    {
      path: [kind, 'backup', 'verify'],
      summary: words.verify,
      args: ['<name>', '[id]'],
      changes: true,
      async run(context, input) {
        const [name, id] = [textArg(input, 0), textArg(input, 1) || undefined];
        const asked = Backup.parse(await context.api.post(pathOf(service, name, '/verify'), { backup: id }));
        const seen = context.wait ? await follow(context, service, { name, id: asked.id }, verifiedOf) : asked;
        context.out.result(seen, () => seen.sentence);
      },
    },
    {
      path: [kind, 'backup', 'delete'],
      summary: words.delete,
      args: ['<name>', '<id>'],
      options: [{ flags: '--yes', about: 'do not ask' }],
      changes: true,
      async run(context, input) {
        const [name, id] = [textArg(input, 0), textArg(input, 1)];
        await context.confirm(`Delete the backup ${id} of ${name}, for good?`);
        const done = Sentence.parse(await context.api.delete(backupPath(service, name, id)));
        if (context.wait) await waitDeleted(context, service, { name, id });
        context.out.result({ ...done, name, id, deleted: context.wait }, () =>
          context.wait ? `the backup ${id} of ${name} is deleted` : done.sentence,
        );
      },
    },
    {
      path: [kind, 'backup', 'set'],
      summary: 'where its backups go, when they are made and verified, and how many are kept',
      args: ['<name>'],
      options: [
        {
          flags: '--to <url>',
          about:
            'volume (of its members), s3://KEY:SECRET@HOST[:PORT]/BUCKET[/PREFIX][?region=R&tls=off] or webhdfs://USER@HOST:PORT/FOLDER; @FILE and - keep the secret off the command line',
        },
        { flags: '--schedule <cron>', about: 'five fields in UTC, e.g. "15 2 * * *"; none = only when asked' },
        { flags: '--keep <n>', about: words.keep },
        { flags: '--verify <cron>', about: 'when the newest one is verified; none = only when asked' },
      ],
      changes: true,
      async run({ api, out }, input) {
        const [name, to, keep] = [textArg(input, 0), textOption(input, 'to'), textOption(input, 'keep')];
        const answer = await api.patch(pathOf(service, name, '/backup-plan'), {
          store: to === undefined ? undefined : await secretText(to),
          schedule: cronText(textOption(input, 'schedule')),
          keep: keep === undefined ? undefined : wholeNumber(keep, '--keep'),
          verify: cronText(textOption(input, 'verify')),
        });
        const done = Sentence.parse(answer);
        out.result(done, () => done.sentence);
      },
    },
  ];
}

/** One line of the plan. */
export function planLine({ store, schedule, keep, verify }: z.infer<typeof Plan>): string {
  const when = schedule === null ? 'when asked for' : `at "${schedule}" (UTC)`;
  const checked = verify === null ? '' : `, the newest is verified at "${verify}"`;
  return `plan      to ${store}, ${when}, ${keep} are kept${checked}`;
}

/** Columns of a table that all have: size, who asked, where, verified. */
export function backupCells(each: Backup): string[] {
  return [
    bytes(each.bytes),
    each.by,
    each.store === 'volume' ? `volume of ${each.member ?? '?'}` : each.store,
    each.verify === null ? '' : each.verify.state === 'done' ? (each.verify.ok === true ? 'sound' : 'DAMAGED') : each.verify.state,
  ];
}

interface Which {
  name: string;
  id: string;
}

const backupPath = (service: ServiceKind, name: string, id: string) => pathOf(service, name, `/backups/${encodeURIComponent(id)}`);

/** Follows a backup until `end` says how it ended. @throws AppError `engine` when it did not end well */
function follow(
  context: Context,
  service: ServiceKind,
  { name, id }: Which,
  end: (backup: Backup) => 'well' | 'badly' | undefined,
): Promise<Backup> {
  return waitReady(context, id, async () => {
    const backup = Backup.parse(await context.api.get(backupPath(service, name, id)));
    const ended = end(backup);
    const { kind } = service;
    if (ended === 'badly') throw new AppError('engine', backup.sentence, { hint: `${kind} backup list ${name}; ${kind} logs ${name}` });
    return { ...backup, status: ended === 'well' ? 'READY' : 'PENDING' };
  });
}

function madeOf({ state }: Backup): 'well' | 'badly' | undefined {
  return state === 'done' ? 'well' : state === 'failed' || state === 'deleting' ? 'badly' : undefined;
}

function verifiedOf({ state, verify }: Backup): 'well' | 'badly' | undefined {
  if (state !== 'done' || verify?.state === 'failed') return 'badly';
  return verify?.state === 'done' ? (verify.ok === true ? 'well' : 'badly') : undefined;
}

async function waitDeleted(context: Context, service: ServiceKind, { name, id }: Which): Promise<void> {
  try {
    await waitReady(context, id, async () => {
      const { sentence } = Backup.parse(await context.api.get(backupPath(service, name, id)));
      return { status: 'PENDING', sentence };
    });
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== 'not_found') throw error;
  }
}

function cronText(text: string | undefined): string | undefined {
  return text === 'none' ? '' : text;
}
