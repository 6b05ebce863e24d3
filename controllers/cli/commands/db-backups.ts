import { z } from 'zod';
import { type Command, listOption, textArg, textOption } from '#cli/command.ts';
import { DB, dbPath, showWhenSettled } from '#cli/commands/db-view.ts';
import { Sentence } from '#cli/commands/service.ts';
import { Backup, backupCells, backupCommands, Plan, planLine } from '#cli/commands/service-backups.ts';
import { parsePairs } from '#cli/labels.ts';
import { table } from '#cli/output.ts';
import { parseCpus, parsePast, parseSize } from '#cli/sizes.ts';
import { AppError } from '#core/errors.ts';

const DbBackup = Backup.extend({ at: z.string().nullable() });
const List = z.looseObject({
  name: z.string(),
  plan: Plan,
  backups: z.array(DbBackup),
  windows: z.array(z.looseObject({ from: z.string(), to: z.string(), store: z.string() })).nullable(),
  note: z.string(),
});
const Kept = z.looseObject({ from: z.string(), time: z.string(), store: z.string(), backups: z.number(), newest: z.string().nullable() });
const Restored = Sentence.extend({ warning: z.string().optional() });

export const dbBackupCommands: readonly Command[] = [
  ...backupCommands(DB, {
    create: 'make a full backup; from the first one on, the binlog is archived too',
    verify: 'restore a backup for real, beside the engine, and check and compare its tables (default: the newest)',
    delete: 'delete a backup, and the binlog that only it needs',
    keep: 'full backups that are kept, whoever asked for them (default 7)',
  }),
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

function describe({ plan, backups, windows, note }: z.infer<typeof List>): string {
  const { store } = plan;
  const lines = [
    ...(note === '' ? [] : [note]),
    planLine(plan),
    ...(windows ?? []).map(
      ({ from, to, store: place }) =>
        `restore   ${from === to ? `as of ${from}` : `any second from ${from} to ${to}`}${place === store ? '' : ` (${place})`}`,
    ),
  ];
  if (backups.length === 0) return [...lines, 'there is no backup yet'].join('\n');
  const rows = backups.map((each) => {
    const [size, ...rest] = backupCells(each);
    return [each.id, each.state, each.at ?? '', size ?? '', ...rest];
  });
  return [...lines, '', table(['BACKUP', 'STATE', 'AS OF', 'SIZE', 'BY', 'WHERE', 'VERIFIED'], rows)].join('\n');
}
