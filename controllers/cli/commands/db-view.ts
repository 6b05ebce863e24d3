import { z } from 'zod';
import type { Context } from '#cli/command.ts';
import { pathOf, type ServiceKind } from '#cli/commands/service.ts';
import { bytes, colourStatus, table } from '#cli/output.ts';
import { waitSettled as waitService } from '#cli/waiting.ts';

const Member = z.looseObject({
  id: z.string(),
  role: z.string(),
  state: z.string(),
  sentence: z.string().default(''),
  node: z.string(),
  group: z.string(),
  rack: z.string(),
  lagSeconds: z.number().nullable(),
  gtid: z.string().nullable(),
  generation: z.string().nullable().default(null),
  changing: z.boolean().default(false),
  disk: z.object({ usedBytes: z.number(), totalBytes: z.number(), state: z.string() }).nullable().default(null),
});
const Backup = z.looseObject({
  store: z.string(),
  schedule: z.string().nullable(),
  backups: z.number(),
  newest: z
    .looseObject({ id: z.string(), finished: z.string().nullable(), bytes: z.number(), verified: z.boolean().nullable() })
    .nullable(),
  failed: z.string().nullable(),
  archive: z.looseObject({ active: z.boolean(), sentence: z.string(), time: z.string().nullable() }).nullable(),
});
const Follows = z.looseObject({
  host: z.string(),
  port: z.number(),
  database: z.string().nullable(),
  tls: z.boolean(),
  lagSeconds: z.number().nullable(),
});
export const DbView = z.looseObject({
  name: z.string(),
  status: z.string(),
  sentence: z.string(),
  code: z.string().optional(),
  flavor: z.string(),
  version: z.string(),
  epoch: z.number(),
  master: z.string().nullable(),
  sync: z.string().nullable(),
  endpoint: z.object({
    host: z.string(),
    port: z.number(),
    replicaPort: z.number(),
    network: z.string(),
    published: z.array(z.object({ host: z.string(), hostPort: z.number(), port: z.number() })),
  }),
  members: z.array(Member),
  next: z.array(z.string()),
  backup: Backup.optional(),
  follows: Follows.nullable().optional(),
});
export type DbView = z.infer<typeof DbView>;

export const DB: ServiceKind = { kind: 'db', path: '/v1/dbs' };
export const dbPath = (name: string, rest = '') => pathOf(DB, name, rest);

export async function viewDb({ api }: Context, name: string): Promise<DbView> {
  return DbView.parse(await api.get(dbPath(name)));
}

export interface SettledOptions {
  /** How it was before the change: READY then is READY again, and what a slave protected, one protects again. */
  before?: Pick<DbView, 'sync' | 'status'>;
  /** What must be so besides. */
  settled?: (db: DbView) => boolean;
}

/** Shows it, once it is as it was asked for: made, and every member with the last change. */
export async function showWhenSettled(context: Context, name: string, options: SettledOptions = {}): Promise<void> {
  const db = context.wait ? await waitSettled(context, name, options) : await viewDb(context, name);
  context.out.result(db, () => describeDb(db));
}

export function waitSettled(context: Context, name: string, { before, settled = () => true }: SettledOptions = {}): Promise<DbView> {
  const isProtected = ({ sync, members }: DbView) =>
    before === undefined || before.sync === null || members.some((each) => each.id === sync && each.state === 'running');
  return waitService(context, name, () => viewDb(context, name), { before, settled, isWhole: isProtected });
}

/** What a slave of another database follows. */
export function masterOf({ database, host, port }: z.infer<typeof Follows>): string {
  return database ?? `${host}:${port}`;
}

export function describeDb(db: DbView): string {
  const { endpoint } = db;
  const published = endpoint.published.map(({ host, hostPort, port }) => `${host}:${hostPort}→${port}`);
  return [
    `${db.name}  ${colourStatus(db.status)}  ${db.sentence}`,
    `endpoint   ${endpoint.host}:${endpoint.port} master  ${endpoint.host}:${endpoint.replicaPort} slave  (network ${endpoint.network})`,
    ...(published.length > 0 ? [`published  ${published.join('  ')}`] : []),
    ...(db.follows == null ? [] : [`follows    ${masterOf(db.follows)}${db.follows.tls ? '  (encrypted)' : ''}`]),
    `engine     ${db.flavor} ${db.version}`.trimEnd(),
    ...(db.backup === undefined ? [] : [`backup     ${describeBackup(db.backup)}`]),
    ...(db.next.length > 0 ? [`next       ${db.next.join(' · ')}`] : []),
    '',
    table(
      ['MEMBER', 'ROLE', 'STATE', 'HOST', 'GROUP', 'RACK', 'LAG', 'DISK', 'GTID'],
      db.members.map((m) => [
        m.id,
        m.id === db.sync ? `${m.role} (sync)` : m.role,
        m.state,
        m.node,
        m.group,
        m.rack,
        m.lagSeconds === null ? '' : `${m.lagSeconds} s`,
        m.disk === null ? '' : `${bytes(m.disk.usedBytes)} of ${bytes(m.disk.totalBytes)}`,
        m.gtid ?? '',
      ]),
    ),
  ].join('\n');
}

function describeBackup({ store, schedule, newest, failed, archive }: NonNullable<DbView['backup']>): string {
  const where = store === 'volume' ? '' : ` in ${store}`;
  if (newest === null && failed === null) return `none${where}${schedule === null ? '' : `; they are made at "${schedule}"`}`;
  const sound = newest?.verified === true ? ', verified' : newest?.verified === false ? ', DAMAGED' : '';
  const made = newest === null ? 'none is complete' : `${newest.id} (${bytes(newest.bytes)}${sound})${where}`;
  const archived =
    archive?.active && archive.time !== null
      ? `; archived up to ${archive.time}`
      : `; not archived: ${archive?.sentence ?? 'no member says so'}`;
  return `${made}${archived}${failed === null ? '' : `; the last one failed: ${failed}`}`;
}

/** Who follows whom, as a tree. */
export function drawTopology(db: DbView): string {
  const say = (member: DbView['members'][number]) =>
    `${member.id}  ${member.role}${member.id === db.sync ? ' (holds everything)' : ''}  ${member.state}  on ${member.node || '?'} (${member.group || '?'}/${member.rack || '?'})${
      member.lagSeconds === null ? '' : `  ${member.lagSeconds} s behind`
    }${member.sentence === '' ? '' : `\n   ${member.sentence}`}`;
  // A slave of another database has no master of its own.
  const leader = db.members.find((member) => member.role === 'master') ?? (db.follows == null ? undefined : db.members[0]);
  const others = db.members.filter((member) => member !== leader);
  const lines = others.map((member, index) => {
    const [first = '', ...rest] = say(member).split('\n');
    const last = index === others.length - 1;
    return [`${last ? '└─' : '├─'} ${first}`, ...rest.map((line) => `${last ? '  ' : '│ '} ${line}`)].join('\n');
  });
  return [`${db.name}  ${colourStatus(db.status)}  epoch ${db.epoch}`, leader === undefined ? 'nobody leads' : say(leader), ...lines].join(
    '\n',
  );
}
