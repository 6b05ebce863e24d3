import { AppError } from '#core/errors.ts';
import type { Host } from '#pool/host.ts';
import { listPlacements, type Placement } from '#pool/placement-record.ts';
import { keptHint, keptSentence } from '#pool/service-destroyed.ts';
import { memberMetrics, publishedAt, seatOf, seenByRecords, serviceLogs, summaryOf } from '#pool/service-view.ts';
import { readCredentials } from '#xdb/credentials.ts';
import { type DbRecords, readDb } from '#xdb/observe.ts';
import { backupSummary } from '#xdb/operations/backup-summary.ts';
import type { DbDeps } from '#xdb/operations/deps.ts';
import { livingRecords, livingSpec } from '#xdb/operations/living.ts';
import type { DbSpec, DbStatus } from '#xdb/schema.ts';
import { ENDPOINT } from '#xdb/spec.ts';
import { statusOf } from '#xdb/status.ts';
import { DB_PREFIX } from '#xdb/store.ts';

/** One member in the JSON of `db status`. */
export interface MemberView {
  id: string;
  role: 'master' | 'slave' | 'replica';
  state: string;
  sentence: string;
  node: string;
  group: string;
  rack: string;
  lagSeconds: number | null;
  gtid: string | null;
  /** Of its data; another one with each copy. */
  generation: string | null;
  pendingRestart: string[];
  /** True while it has yet to get the last change of the specification. */
  changing: boolean;
  disk: { usedBytes: number; totalBytes: number; state: string } | null;
}

/** The JSON of `db status`. @throws AppError `not_found`, also once a destroyed one is gone but for its data */
export async function dbView(deps: DbDeps, name: string) {
  const { value } = await deps.store.spec(name);
  const [records, hosts, placements] = await Promise.all([readDb(deps, name), deps.hosts(), listPlacements(deps.store.consul)]);
  if (records === undefined) throw new AppError('not_found', `${name} is gone`);
  if (value.destroyed !== undefined && records.previous?.code === 'not_found') {
    throw new AppError('not_found', keptSentence(value), {
      hint: keptHint('db', { name }),
    });
  }
  return viewOf(records, hosts, placements, deps.now());
}

/** Pure. */
export function viewOf(records: DbRecords, hosts: readonly Host[], placements: readonly Placement[], now: Date) {
  const { spec: stored, sync, sidecars, data } = records;
  const spec = stored.value;
  const isSlave = spec.role === 'slave' && spec.upstream !== undefined;
  const members = spec.members.map(({ id, role }): MemberView => {
    const { placement, state, node, group, rack } = seatOf(id, hosts, placements);
    const said = sidecars.find((status) => status.member === id);
    const leads = sync?.leader.id === id;
    const sized = placement?.cpus === spec.cpus && placement.memoryBytes === spec.memoryBytes && placement.diskBytes === spec.diskBytes;
    return {
      id,
      role: leads && !isSlave ? 'master' : role === 'replica' ? 'replica' : 'slave',
      state: said?.state ?? state,
      sentence: said?.sentence ?? '',
      ...{ node, group, rack },
      lagSeconds: said?.lagSeconds ?? null,
      gtid: said?.gtid ?? null,
      generation: data[id]?.gen ?? null,
      pendingRestart: said?.pendingRestart ?? [],
      changing:
        !sized || (said !== undefined && said.restartSerial < spec.restartSerial) || (records.previous?.changing?.includes(id) ?? false),
      disk: said?.disk ?? null,
    };
  });
  return {
    ...summary(records, hosts, placements, now),
    role: spec.role,
    flavor: spec.flavor,
    version: sidecars.find(({ member }) => member === sync?.leader.id)?.version ?? sidecars[0]?.version ?? '',
    epoch: sync?.epoch ?? 0,
    master: sync?.state === 'open' && !isSlave ? sync.leader.id : null,
    follows: followsOf(records),
    sync: sync?.sync?.id ?? null,
    endpoint: endpointOf(spec, hosts, placements),
    members,
    cpus: spec.cpus,
    memoryBytes: spec.memoryBytes,
    diskBytes: spec.diskBytes,
    image: spec.image ?? '',
    labels: spec.labels,
    parameters: spec.parameters,
    ...(spec.pausedUntil === undefined ? {} : { pausedUntil: spec.pausedUntil }),
    backup: backupSummary(records),
    ready: Object.fromEntries(Object.entries(data).map(([id, { ready }]) => [id, ready])),
  };
}

/** What a slave of another database follows, and how far behind it is. */
function followsOf({ spec: { value }, sync, sidecars }: Pick<DbRecords, 'spec' | 'sync' | 'sidecars'>) {
  if (value.role !== 'slave' || value.upstream === undefined) return null;
  const { host, port, tls, ours } = value.upstream;
  const said = sidecars.find(({ member }) => member === sync?.leader.id);
  return { host, port, tls, database: ours ?? null, lagSeconds: said?.lagSeconds ?? null };
}

function endpointOf(spec: DbSpec, hosts: readonly Host[], placements: readonly Placement[]) {
  return {
    host: spec.name,
    port: ENDPOINT.master,
    replicaPort: ENDPOINT.slave,
    network: spec.network,
    published: publishedAt(spec, hosts, placements),
  };
}

export async function listDbs(deps: DbDeps) {
  const { store } = deps;
  const specs = await store.specs.list(DB_PREFIX, (key) => /^[^/]+\/spec$/.test(key.slice(DB_PREFIX.length)));
  const [hosts, placements] = await Promise.all([deps.hosts(), listPlacements(store.consul)]);
  const records = await Promise.all(specs.map(({ value }) => readDb(deps, value.name)));
  return records.flatMap((each) => {
    if (each === undefined || (each.spec.value.destroyed !== undefined && each.previous?.code === 'not_found')) return [];
    const { role, flavor } = each.spec.value;
    return [
      {
        ...summary(each, hosts, placements, deps.now()),
        role,
        flavor,
        master: role === 'slave' ? null : (each.sync?.leader.id ?? null),
        sync: each.sync?.sync?.id ?? null,
        epoch: each.sync?.epoch ?? 0,
      },
    ];
  });
}

function summary(records: DbRecords, hosts: readonly Host[], placements: readonly Placement[], now: Date) {
  return summaryOf(
    records,
    (last) => isOfThisMoment(last, records),
    () => ofRecordsAlone(records, hosts, placements, now),
  );
}

function isOfThisMoment({ seen }: DbStatus, { sync }: DbRecords): boolean {
  return seen?.epoch === sync?.epoch && seen?.leader === sync?.leader.id && (seen?.sync ?? null) === (sync?.sync?.id ?? null);
}

/** Who leads has changed since the controller looked, which may itself be on a host that was lost: then the records say more than its last word. */
function ofRecordsAlone(records: DbRecords, hosts: readonly Host[], placements: readonly Placement[], now: Date): DbStatus {
  const { spec, ...said } = records;
  return statusOf(spec.value, { ...said, ...seenByRecords(hosts, placements), secrets: {}, specIndex: spec.modifyIndex }, now);
}

/**
 * How a client gets in. The password is in it.
 *
 * @throws AppError `not_found` naming the users there are
 */
export async function dbUrl(deps: DbDeps, name: string, { replica, user: asked }: { replica: boolean; user?: string | undefined }) {
  const { value: spec } = await livingSpec(deps, name);
  const credentials = await readCredentials(deps, name);
  const user = asked ?? spec.user;
  const [password] = credentials.users[user] ?? [];
  if (password === undefined) {
    throw new AppError('not_found', `${name} has no user ${JSON.stringify(user.slice(0, 60))}`, {
      hint: `it has ${Object.keys(credentials.users).join(', ')}`,
    });
  }
  const [hosts, placements] = await Promise.all([deps.hosts(), listPlacements(deps.store.consul)]);
  const endpoint = endpointOf(spec, hosts, placements);
  const port = replica ? endpoint.replicaPort : endpoint.port;
  const { database } = spec;
  return {
    url: `mysql://${user}:${password}@${endpoint.host}:${port}/${database}`,
    host: endpoint.host,
    port,
    user,
    password,
    database,
    network: endpoint.network,
    published: endpoint.published.filter((each) => each.port === port),
    /** What a client checks the server's certificate with. */
    ca: deps.caCert(),
  };
}

export async function dbLogs(deps: DbDeps, name: string, lines: number) {
  return serviceLogs(deps, (await deps.store.spec(name)).value.name, lines);
}

/** What a member's sidecar and engine count, as Prometheus reads it. @throws AppError `not_found` */
export async function dbMetrics(deps: DbDeps, name: string, member: string): Promise<string> {
  const { sidecars } = await livingRecords(deps, name);
  return memberMetrics(deps, { kind: 'db', name, sidecars }, member);
}
