import { AppError } from '#core/errors.ts';
import type { Host } from '#pool/host.ts';
import { listPlacements, type Placement } from '#pool/placement-record.ts';
import { keptHint, keptSentence } from '#pool/service-destroyed.ts';
import { isSpec } from '#pool/service-records.ts';
import { memberMetrics, publishedAt, seatOf, seenByRecords, serviceLogs, summaryOf } from '#pool/service-view.ts';
import { cacheVault } from '#xcache/credentials.ts';
import { type CacheRecords, readCache } from '#xcache/observe.ts';
import type { CacheDeps } from '#xcache/operations/deps.ts';
import { livingRecords, livingSpec } from '#xcache/operations/living.ts';
import type { CacheSpec, CacheStatus } from '#xcache/schema.ts';
import { ENDPOINT } from '#xcache/spec.ts';
import { statusOf } from '#xcache/status.ts';
import { CACHE_PREFIX } from '#xcache/store.ts';

/** One member in the JSON of `cache status`. */
export interface MemberView {
  id: string;
  role: 'master' | 'replica' | 'none';
  state: string;
  sentence: string;
  node: string;
  group: string;
  rack: string;
  shard: number;
  /** Could take over now. */
  insync: boolean;
  offset: number | null;
  usedBytes: number | null;
  maxBytes: number | null;
  /** That it serves as a master, in a cluster. */
  slots: number | null;
  /** True while it has yet to get the last change of the specification. */
  changing: boolean;
}

/** The JSON of `cache status`. @throws AppError `not_found`, also once a destroyed one is gone but for its data */
export async function cacheView(deps: CacheDeps, name: string) {
  const { value } = await deps.store.spec(name);
  const [records, hosts, placements] = await Promise.all([readCache(deps, name), deps.hosts(), listPlacements(deps.store.consul)]);
  if (records === undefined) throw new AppError('not_found', `${name} is gone`);
  if (value.destroyed !== undefined && records.previous?.code === 'not_found')
    throw new AppError('not_found', keptSentence(value), { hint: keptHint('cache', value) });
  return viewOf(records, hosts, placements, deps.now());
}

/** Pure. */
export function viewOf(records: CacheRecords, hosts: readonly Host[], placements: readonly Placement[], now: Date) {
  const { spec: stored, lead, sidecars, cluster } = records;
  const spec = stored.value;
  const members = spec.members.map(({ id, shard }): MemberView => {
    const { placement, state, ...seat } = seatOf(id, hosts, placements);
    const said = sidecars.find((status) => status.member === id);
    const sized = placement?.cpus === spec.cpus && placement.memoryBytes === spec.memoryBytes && placement.diskBytes === spec.diskBytes;
    const isCluster = spec.mode === 'cluster';
    const leads = lead?.master.id === id;
    return {
      ...{ id, shard },
      role: isCluster ? (said?.role ?? 'none') : leads ? 'master' : lead === undefined ? 'none' : 'replica',
      state: said?.state ?? state,
      sentence: said?.sentence ?? '',
      ...seat,
      insync: isCluster
        ? said?.role === 'replica' && said.state === 'running'
        : (lead?.insync.some((copy) => copy.id === id && !leads) ?? false),
      offset: said?.offset ?? null,
      usedBytes: said?.usedBytes ?? null,
      maxBytes: said?.maxBytes ?? null,
      slots: isCluster ? (cluster?.slots[id] ?? 0) : null,
      changing: !sized || (records.previous?.changing?.includes(id) ?? false),
    };
  });
  return {
    ...summary(records, hosts, placements, now),
    engine: spec.engine,
    version: versionOf(records),
    mode: spec.mode,
    epoch: epochOf(records),
    master: masterOf(records),
    endpoint: endpointOf(spec, hosts, placements),
    members,
    shards: spec.shards,
    replicas: spec.replicas,
    minReplicas: spec.minReplicas,
    persistence: spec.persistence,
    policy: spec.policy,
    tls: spec.tls,
    ...(spec.autoscale === undefined ? {} : { autoscale: spec.autoscale }),
    cpus: spec.cpus,
    memoryBytes: spec.memoryBytes,
    diskBytes: spec.diskBytes,
    image: spec.image ?? '',
    labels: spec.labels,
    parameters: spec.parameters,
    ...(spec.pausedUntil === undefined ? {} : { pausedUntil: spec.pausedUntil }),
    ...(cluster === undefined ? {} : { cluster: { state: cluster.state, sentence: cluster.sentence, progress: cluster.progress ?? null } }),
  };
}

function versionOf({ sidecars, lead }: CacheRecords): string {
  return (
    sidecars.find(({ member }) => member === lead?.master.id)?.version ??
    sidecars.find(({ version }) => version !== undefined)?.version ??
    ''
  );
}

/** A cluster's is its own, as its members say it. */
function epochOf({ lead, sidecars }: CacheRecords): number {
  return lead?.epoch ?? Math.max(0, ...sidecars.map(({ epoch }) => epoch));
}

/** Who takes writes by the record; a cluster has many. */
function masterOf({ lead }: CacheRecords): string | null {
  return lead?.state === 'open' ? lead.master.id : null;
}

function endpointOf(spec: CacheSpec, hosts: readonly Host[], placements: readonly Placement[]) {
  const isCluster = spec.mode === 'cluster';
  return {
    host: spec.name,
    port: ENDPOINT.master,
    replicaPort: isCluster ? null : ENDPOINT.replica,
    sentinelPort: isCluster ? null : ENDPOINT.sentinel,
    network: spec.network,
    published: publishedAt(spec, hosts, placements),
  };
}

export async function listCaches(deps: CacheDeps) {
  const { store } = deps;
  const specs = await store.specs.list(CACHE_PREFIX, (key) => isSpec(CACHE_PREFIX, key));
  const [hosts, placements] = await Promise.all([deps.hosts(), listPlacements(store.consul)]);
  const records = await Promise.all(specs.map(({ value }) => readCache(deps, value.name)));
  return records.flatMap((each) => {
    if (each === undefined || (each.spec.value.destroyed !== undefined && each.previous?.code === 'not_found')) return [];
    const { mode, engine, shards } = each.spec.value;
    return [{ ...summary(each, hosts, placements, deps.now()), engine, mode, shards, epoch: epochOf(each), master: masterOf(each) }];
  });
}

function summary(records: CacheRecords, hosts: readonly Host[], placements: readonly Placement[], now: Date) {
  return summaryOf(
    records,
    (last) => isOfThisMoment(last, records),
    () => ofRecordsAlone(records, hosts, placements, now),
  );
}

function isOfThisMoment({ seen }: CacheStatus, { lead, spec }: CacheRecords): boolean {
  return spec.value.mode === 'cluster' || (seen?.epoch === lead?.epoch && seen?.masters[0] === lead?.master.id);
}

/** Who leads has changed since the controller looked, which may itself be on a host that was lost: then the records say more than its last word. */
function ofRecordsAlone(records: CacheRecords, hosts: readonly Host[], placements: readonly Placement[], now: Date): CacheStatus {
  const { spec, ...said } = records;
  return statusOf(spec.value, { ...said, ...seenByRecords(hosts, placements), secrets: {}, specIndex: spec.modifyIndex }, now);
}

/**
 * How a client gets in, for each kind of client. The password is in it.
 *
 * @throws AppError `not_found` naming the users there are
 */
export async function cacheUrl(deps: CacheDeps, name: string, asked: string | undefined) {
  const { value: spec } = await livingSpec(deps, name);
  const credentials = await cacheVault.read(deps, name);
  const user = asked ?? spec.user;
  const [password] = credentials.users[user] ?? [];
  if (password === undefined) {
    throw new AppError('not_found', `${name} has no user ${JSON.stringify(user.slice(0, 60))}`, {
      hint: `it has ${Object.keys(credentials.users).join(', ')}`,
    });
  }
  const [hosts, placements] = await Promise.all([deps.hosts(), listPlacements(deps.store.consul)]);
  const { host, port, network, published } = endpointOf(spec, hosts, placements);
  const scheme = spec.tls ? 'rediss' : 'redis';
  const at = `${user}:${password}@`;
  const plain = `${scheme}://${at}${host}:${port}`;
  const nodes = spec.members.map(({ id }) => ({ host: id, port: spec.mode === 'cluster' ? ENDPOINT.master : ENDPOINT.sentinel }));
  const hostList = nodes.map((node) => `${node.host}:${node.port}`).join(',');
  const isCluster = spec.mode === 'cluster';
  return {
    url: isCluster ? `${scheme}://${at}${hostList}` : plain,
    ...{ host, port, user, password, network, tls: spec.tls, mode: spec.mode },
    published: published.filter((each) => each.port === port),
    /** One for each kind of client. */
    urls: isCluster
      ? { cluster: `${scheme}://${at}${hostList}` }
      : {
          plain,
          replica: `${scheme}://${at}${host}:${ENDPOINT.replica}`,
          // As Lettuce writes it; other clients take its parts: the Sentinels and the name of the master, which is the cache's.
          sentinel: `redis-sentinel://${at}${hostList}#${name}`,
        },
    ...(isCluster ? { nodes } : { sentinels: nodes, sentinelName: name }),
    /** What a client checks the server's certificate with. */
    ...(spec.tls ? { ca: deps.caCert() } : {}),
  };
}

export async function cacheLogs(deps: CacheDeps, name: string, lines: number) {
  return serviceLogs(deps, (await deps.store.spec(name)).value.name, lines);
}

/** What a member's sidecar and engine count, as Prometheus reads it. @throws AppError `not_found` */
export async function cacheMetrics(deps: CacheDeps, name: string, member: string): Promise<string> {
  const { sidecars } = await livingRecords(deps, name);
  return memberMetrics(deps, { kind: 'cache', name, sidecars }, member);
}
