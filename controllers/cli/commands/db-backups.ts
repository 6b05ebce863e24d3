import { z } from 'zod';
import { type Command, type Context, listOption, textArg, textOption } from '#cli/command.ts';
import { dbPath, showWhenSettled } from '#cli/commands/db-view.ts';
import { Sentence } from '#cli/commands/service.ts';
import { parsePairs, wholeNumber } from '#cli/labels.ts';
import { bytes, table } from '#cli/output.ts';
import { secretText } from '#cli/secret-text.ts';
import { parseCpus, parsePast, parseSize } from '#cli/sizes.ts';
import { waitReady } from '#cli/waiting.ts';
import { AppError } from '#core/errors.ts';

const Verdict = z.looseObject({ state: z.string(), ok: z.boolean().nullable(), time: z.string(), sentence: z.string() });
const Backup = z.looseObject({
  id: z.string(),
  state: z.string(),
  by: z.string(),
  at: z.string().nullable(),
  bytes: z.number(),
  store: z.string(),
  member: z.string().nullable(),
  verify: Verdict.nullable(),
  sentence: z.string(),
});
type Backup = z.infer<typeof Backup>;
const List = z.looseObject({
  name: z.string(),
  plan: z.looseObject({ store: z.string(), schedule: z.string().nullable(), keep: z.number(), verify: z.string().nullable() }),
  backups: z.array(Backup),
  windows: z.array(z.looseObject({ from: z.string(), to: z.string(), store: z.string() })).nullable(),
  note: z.string(),
});
const Kept = z.looseObject({ from: z.string(), time: z.string(), store: z.string(), backups: z.number(), newest: z.string().nullable() });
const Restored = Sentence.extend({ warning: z.string().optional() });

export const dbBackupCommands: readonly Command[] = [
  {
    path: ['db', 'backup', 'create'],
    summary: 'make a full backup; from the first one on, the binlog is archived too',
    args: ['<name>'],
    changes: true,
    async run(context, input) {
      const name = textArg(input, 0);
      const asked = Backup.parse(await context.api.post(dbPath(name, '/backups')));
      const made = context.wait ? await follow(context, name, asked.id, madeOf) : asked;
      context.out.result(made, () => made.sentence);
    },
  },
  {
    path: ['db', 'backup', 'list'],
    summary: 'its backups, and the times that can be restored',
    args: ['<name>'],
    async run({ api, out }, input) {
      const list = List.parse(await api.get(dbPath(textArg(input, 0), '/backups')));
      out.result(list, () => describe(list));
    },
  },
  {
    path: ['db', 'backup', 'verify'],
    summary: 'restore a backup for real, beside the engine, and check and compare its tables (default: the newest)',
    args: ['<name>', '[id]'],
    changes: true,
    async run(context, input) {
      const [name, id] = [textArg(input, 0), textArg(input, 1) || undefined];
      const asked = Backup.parse(await context.api.post(dbPath(name, '/verify'), { backup: id }));
      const seen = context.wait ? await follow(context, name, asked.id, verifiedOf) : asked;
      context.out.result(seen, () => seen.sentence);
    },
  },
  {
    path: ['db', 'backup', 'delete'],
    summary: 'delete a backup, and the binlog that only it needs',
    args: ['<name>', '<id>'],
    options: [{ flags: '--yes', about: 'do not ask' }],
    changes: true,
    async run(context, input) {
      const [name, id] = [textArg(input, 0), textArg(input, 1)];
      await context.confirm(`Delete the backup ${id} of ${name}, for good?`);
      const done = Sentence.parse(await context.api.delete(backupPath(name, id)));
      if (context.wait) await waitDeleted(context, name, id);
      context.out.result({ ...done, name, id, deleted: context.wait }, () =>
        context.wait ? `the backup ${id} of ${name} is deleted` : done.sentence,
      );
    },
  },
  {
    path: ['db', 'backup', 'set'],
    summary: 'where its backups go, when they are made and verified, and how many are kept',
    args: ['<name>'],
    options: [
      {
        flags: '--to <url>',
        about:
          'volume (of its members), s3://KEY:SECRET@HOST[:PORT]/BUCKET[/PREFIX][?region=R&tls=off] or webhdfs://USER@HOST:PORT/FOLDER; @FILE and - keep the secret off the command line',
      },
      { flags: '--schedule <cron>', about: 'five fields in UTC, e.g. "15 2 * * *"; none = only when asked' },
      { flags: '--keep <n>', about: 'full backups that are kept, whoever asked for them (default 7)' },
      { flags: '--verify <cron>', about: 'when the newest one is verified; none = only when asked' },
    ],
    changes: true,
    async run({ api, out }, input) {
      const [name, to, keep] = [textArg(input, 0), textOption(input, 'to'), textOption(input, 'keep')];
      const answer = await api.patch(dbPath(name, '/backup-plan'), {
        store: to === undefined ? undefined : await secretText(to),
        schedule: cronText(textOption(input, 'schedule')),
        keep: keep === undefined ? undefined : wholeNumber(keep, '--keep'),
        verify: cronText(textOption(input, 'verify')),
      });
      const done = Sentence.parse(answer);
      out.result(done, () => done.sentence);
    },
  },
  {
    path: ['db', 'backup', 'kept'],
    summary: 'backups that have outlived their databases',
    async run({ api, out }) {
      const kept = z.array(Kept).parse(await api.get('/v1/kept-backups'));
      out.result(kept, () =>
        kept.length === 0
          ? 'there are none'
          : table(
              ['FROM', 'BACKUPS', 'NEWEST', 'GONE SINCE', 'STORE'],
              kept.map((each) => [each.from, each.backups, each.newest ?? '', each.time, each.store]),
            ),
      );
    },
  },
  {
    path: ['db', 'restore'],
    summary: 'make a new database from the backups of another one, as it was at any second',
    args: ['<new>'],
    options: [
      { flags: '--from <name>', about: 'whose backups; NAME@HISTORY for one that is gone (db backup kept)' },
      { flags: '--backup <id>', about: 'as of that backup' },
      { flags: '--at <time>', about: 'with what was committed before it: 2026-01-31T03:00:00Z, 03:00:00 (UTC) or -30m' },
      { flags: '--cpu <cpus>', about: 'CPUs of each member (default: as the other one)' },
      { flags: '--memory <size>', about: 'memory of each member (default: as the other one)' },
      { flags: '--disk <size>', about: 'disk of each member (default: as the other one)' },
      { flags: '--image <image>', about: 'an xDB appliance in place of the other one’s' },
      { flags: '--opt <key=value>', about: 'as with db create: role=pair|single, param.NAME=VALUE, …', repeat: true },
      { flags: '--network <net>', about: 'the attachable overlay its clients are on (default: as the other one)' },
      { flags: '--publish <port>', about: 'a port of each host a member lives on', repeat: true },
    ],
    changes: true,
    async run(context, input) {
      const [name, from, backup] = [textArg(input, 0), textOption(input, 'from'), textOption(input, 'backup')];
      const at = parsePast(textOption(input, 'at'), '--at');
      if (from === undefined) throw new AppError('usage', 'whose backups?', { hint: `db restore ${name} --from NAME` });
      if (backup !== undefined && at !== undefined)
        throw new AppError('usage', '--backup and --at exclude each other', { hint: '--at chooses the backup it needs' });
      const publish = listOption(input, 'publish');
      const answer = await context.api.post(dbPath(from, '/restore'), {
        ...{ name, backup, at, image: textOption(input, 'image'), network: textOption(input, 'network') },
        cpus: parseCpus(textOption(input, 'cpu'), '--cpu'),
        memoryBytes: parseSize(textOption(input, 'memory'), '--memory'),
        diskBytes: parseSize(textOption(input, 'disk'), '--disk'),
        options: { ...parsePairs(listOption(input, 'opt')) },
        ...(publish.length === 0 ? {} : { publish }),
      });
      const { sentence, warning } = Restored.parse(answer);
      context.out.note(sentence);
      if (warning !== undefined) context.out.note(`warning: ${warning}`);
      await showWhenSettled(context, name);
    },
  },
];

const backupPath = (name: string, id: string) => dbPath(name, `/backups/${encodeURIComponent(id)}`);

/** Follows a backup until `end` says how it ended. @throws AppError `engine` when it did not end well */
function follow(context: Context, name: string, id: string, end: (backup: Backup) => 'well' | 'badly' | undefined): Promise<Backup> {
  return waitReady(context, id, async () => {
    const backup = Backup.parse(await context.api.get(backupPath(name, id)));
    const ended = end(backup);
    if (ended === 'badly') throw new AppError('engine', backup.sentence, { hint: `db backup list ${name}; db logs ${name}` });
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

async function waitDeleted(context: Context, name: string, id: string): Promise<void> {
  try {
    await waitReady(context, id, async () => {
      const { sentence } = Backup.parse(await context.api.get(backupPath(name, id)));
      return { status: 'PENDING', sentence };
    });
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== 'not_found') throw error;
  }
}

function cronText(text: string | undefined): string | undefined {
  return text === 'none' ? '' : text;
}

function describe({ plan, backups, windows, note }: z.infer<typeof List>): string {
  const { store, schedule, keep, verify } = plan;
  const when = schedule === null ? 'when asked for' : `at "${schedule}" (UTC)`;
  const checked = verify === null ? '' : `, the newest is verified at "${verify}"`;
  const lines = [
    ...(note === '' ? [] : [note]),
    `plan      to ${store}, ${when}, ${keep} are kept${checked}`,
    ...(windows ?? []).map(
      ({ from, to, store: place }) =>
        `restore   ${from === to ? `as of ${from}` : `any second from ${from} to ${to}`}${place === store ? '' : ` (${place})`}`,
    ),
  ];
  if (backups.length === 0) return [...lines, 'there is no backup yet'].join('\n');
  const rows = backups.map((each) => [
    each.id,
    each.state,
    each.at ?? '',
    bytes(each.bytes),
    each.by,
    each.store === 'volume' ? `volume of ${each.member ?? '?'}` : each.store,
    each.verify === null ? '' : each.verify.state === 'done' ? (each.verify.ok === true ? 'sound' : 'DAMAGED') : each.verify.state,
  ]);
  return [...lines, '', table(['BACKUP', 'STATE', 'AS OF', 'SIZE', 'BY', 'WHERE', 'VERIFIED'], rows)].join('\n');
}
