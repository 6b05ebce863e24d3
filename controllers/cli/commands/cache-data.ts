import { z } from 'zod';
import { type Command, type Context, flag, type Input, listOption, textArg, textOption } from '#cli/command.ts';
import { CACHE, cachePath, showWhenSettled } from '#cli/commands/cache-view.ts';
import { Sentence } from '#cli/commands/service.ts';
import { Backup, backupCells, backupCommands, Plan, planLine } from '#cli/commands/service-backups.ts';
import { Secret, userCommands } from '#cli/commands/service-users.ts';
import { parsePairs, wholeNumber } from '#cli/labels.ts';
import { bytes, table } from '#cli/output.ts';
import { parseCpus, parseSize } from '#cli/sizes.ts';
import { AppError } from '#core/errors.ts';

const User = z.looseObject({ name: z.string(), readOnly: z.boolean(), keys: z.array(z.string()), own: z.boolean(), rotating: z.boolean() });
const CacheBackup = Backup.extend({
  created: z.string(),
  engine: z.string().nullable(),
  usedBytes: z.number().nullable(),
  shards: z.number().nullish(),
});
const List = z.looseObject({ name: z.string(), plan: Plan, backups: z.array(CacheBackup), note: z.string() });
const Keys = z.looseObject({
  member: z.string(),
  keys: z.array(z.looseObject({ db: z.number(), key: z.string(), type: z.string(), value: z.number() })),
  scanned: z.number(),
  total: z.number(),
  complete: z.boolean(),
  next: z.string().nullable(),
  ms: z.number(),
});
const Slow = z.looseObject({
  member: z.string(),
  commands: z.array(z.looseObject({ time: z.string(), micros: z.number(), command: z.array(z.string()), client: z.string() })),
});

const MEMBER = { flags: '--member <member>', about: 'whom to ask; in a cluster each holds other keys' };
const SURVEY = [
  { flags: '--limit <n>', about: 'keys in the list', default: '20' },
  { flags: '--seconds <n>', about: 'how long to look, 30 at most; a fifth of the engine’s time is taken', default: '5' },
  { flags: '--from <place>', about: 'go on where a list that is not complete has ended' },
  MEMBER,
];

export const cacheDataCommands: readonly Command[] = [
  {
    path: ['cache', 'user', 'add'],
    summary: 'make a user and print its password, or say what one may do; cache url --user shows it again',
    args: ['<name>', '<user>'],
    options: [
      { flags: '--read-only', about: 'it may not write' },
      { flags: '--keys <pattern>', about: 'keys that it may use, e.g. "session:*" (default: all)', repeat: true },
    ],
    changes: true,
    async run({ api, out }, input) {
      const body = { user: textArg(input, 1), readOnly: flag(input, 'readOnly'), keys: listOption(input, 'keys') };
      const made = Secret.parse(await api.post(cachePath(textArg(input, 0), '/users'), body));
      out.result(made, () => made.password);
    },
  },
  {
    path: ['cache', 'user', 'list'],
    summary: 'its users, without their passwords',
    args: ['<name>'],
    async run({ api, out }, input) {
      const users = z.array(User).parse(await api.get(cachePath(textArg(input, 0), '/users')));
      out.result(users, () =>
        table(
          ['USER', 'MAY', 'KEYS', 'PASSWORDS'],
          users.map((user) => [
            user.own ? `${user.name} (of the url)` : user.name,
            user.readOnly ? 'read' : 'read and write',
            user.keys.length === 0 ? 'all' : user.keys.join(' '),
            user.rotating ? 'two, being changed' : 'one',
          ]),
        ),
      );
    },
  },
  ...userCommands(CACHE),
  {
    path: ['cache', 'slow-log'],
    summary: 'commands that took long, newest first',
    args: ['<name>'],
    options: [{ flags: '--count <n>', about: 'how many', default: '50' }, MEMBER],
    async run({ api, out }, input) {
      const query = queryOf({ count: wholeNumber(textOption(input, 'count'), '--count'), member: textOption(input, 'member') });
      const { member, commands } = Slow.parse(await api.get(cachePath(textArg(input, 0), `/slow-log${query}`)));
      out.result({ member, commands }, () =>
        commands.length === 0
          ? `${member} has none`
          : table(
              ['TIME', 'MS', 'CLIENT', 'COMMAND'],
              commands.map((each) => [each.time, (each.micros / 1000).toFixed(1), each.client, short(each.command.join(' '))]),
            ),
      );
    },
  },
  {
    path: ['cache', 'big-keys'],
    summary: 'keys that take most memory, looked for at a replica',
    args: ['<name>'],
    options: SURVEY,
    run: (context, input) => survey(context, input, 'big-keys', ['MEMORY', bytes]),
  },
  {
    path: ['cache', 'hot-keys'],
    summary: 'keys that are read most; needs an LFU policy (cache set NAME maxmemory-policy=allkeys-lfu)',
    args: ['<name>'],
    options: SURVEY,
    run: (context, input) => survey(context, input, 'hot-keys', ['READS (0–255)', String]),
  },
  ...backupCommands(CACHE, {
    create: 'make a backup: all data as of one moment, of a cluster each shard’s',
    verify: 'fetch a backup and have the engine’s checker read all of it (default: the newest)',
    delete: 'delete a backup',
    keep: 'backups that are kept, whoever asked for them (default 7)',
  }),
  {
    path: ['cache', 'backup', 'list'],
    summary: 'its backups',
    args: ['<name>'],
    async run({ api, out }, input) {
      const list = List.parse(await api.get(cachePath(textArg(input, 0), '/backups')));
      const lines = [...(list.note === '' ? [] : [list.note]), planLine(list.plan)];
      out.result(list, () =>
        list.backups.length === 0
          ? [...lines, 'there is no backup yet'].join('\n')
          : [
              ...lines,
              '',
              table(
                ['BACKUP', 'STATE', 'ASKED FOR', 'ENGINE', 'SIZE', 'BY', 'WHERE', 'VERIFIED'],
                list.backups.map((each) => [each.id, each.state, each.created, engineOf(each), ...backupCells(each)]),
              ),
            ].join('\n'),
      );
    },
  },
  {
    path: ['cache', 'restore'],
    summary: 'make a new cache from a backup of another one',
    args: ['<new>'],
    options: [
      { flags: '--from <name>', about: 'whose backup' },
      { flags: '--backup <id>', about: 'which one (default: the newest)' },
      { flags: '--mode <mode>', about: 'replicated or standalone (default: as the other one; of a cluster, a cluster)' },
      { flags: '--replicas <n>', about: 'replicas of each master (default: as the other one)' },
      { flags: '--shards <n>', about: 'of a cluster: as many as the backup has; cache scale gives it others later' },
      { flags: '--cpu <cpus>', about: 'CPUs of each member (default: as the other one)' },
      { flags: '--memory <size>', about: 'memory of each member (default: as the other one)' },
      { flags: '--disk <size>', about: 'disk of each member (default: as the other one)' },
      { flags: '--image <image>', about: 'an xCache appliance in place of the other one’s' },
      { flags: '--opt <key=value>', about: 'as with cache create: persistence=…, tls=…, param.NAME=VALUE, …', repeat: true },
      { flags: '--network <net>', about: 'the attachable overlay its clients are on (default: as the other one)' },
      { flags: '--publish <port>', about: 'a port of each host a member lives on', repeat: true },
    ],
    changes: true,
    async run(context, input) {
      const [name, from] = [textArg(input, 0), textOption(input, 'from')];
      if (from === undefined) throw new AppError('usage', 'whose backup?', { hint: `cache restore ${name} --from NAME` });
      const publish = listOption(input, 'publish');
      const answer = await context.api.post(cachePath(from, '/restore'), {
        ...{ name, backup: textOption(input, 'backup'), mode: textOption(input, 'mode'), image: textOption(input, 'image') },
        ...{ network: textOption(input, 'network'), replicas: wholeNumber(textOption(input, 'replicas'), '--replicas') },
        shards: wholeNumber(textOption(input, 'shards'), '--shards'),
        cpus: parseCpus(textOption(input, 'cpu'), '--cpu'),
        memoryBytes: parseSize(textOption(input, 'memory'), '--memory'),
        diskBytes: parseSize(textOption(input, 'disk'), '--disk'),
        options: { ...parsePairs(listOption(input, 'opt')) },
        ...(publish.length === 0 ? {} : { publish }),
      });
      context.out.note(Sentence.parse(answer).sentence);
      await showWhenSettled(context, name);
    },
  },
];

/** With the number of its shards, where there are any. */
function engineOf({ engine, shards }: z.infer<typeof CacheBackup>): string {
  return `${engine ?? ''}${shards === undefined || shards === null ? '' : `, ${shards} shards`}`;
}

async function survey(
  { api, out }: Context,
  input: Input,
  what: 'big-keys' | 'hot-keys',
  [head, show]: [string, (value: number) => string],
): Promise<void> {
  const name = textArg(input, 0);
  const query = queryOf({
    ...{ limit: wholeNumber(textOption(input, 'limit'), '--limit'), seconds: wholeNumber(textOption(input, 'seconds'), '--seconds') },
    ...{ from: textOption(input, 'from'), member: textOption(input, 'member') },
  });
  const report = Keys.parse(await api.get(cachePath(name, `/${what}${query}`)));
  const { member, keys, scanned, total, complete, next } = report;
  out.result(report, () =>
    [
      table(
        [head, 'TYPE', 'DB', 'KEY'],
        keys.map((each) => [show(each.value), each.type, each.db, short(each.key)]),
      ),
      '',
      complete || next === null
        ? `${scanned} keys of ${member} were looked at`
        : `${scanned} of ${total} keys of ${member} were looked at; go on with --from ${next}, or look longer with --seconds`,
    ].join('\n'),
  );
}

function queryOf(given: Record<string, string | number | undefined>): string {
  const pairs = Object.entries(given).flatMap(([key, value]) => (value === undefined ? [] : [[key, String(value)] as [string, string]]));
  return pairs.length === 0 ? '' : `?${new URLSearchParams(pairs)}`;
}

function short(text: string): string {
  return text.length > 100 ? `${text.slice(0, 99)}…` : text;
}
