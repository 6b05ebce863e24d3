import type { ConsulClient } from '#core/consul/client.ts';
import { createRecords, type Records, type Stored } from '#core/consul/records.ts';
import { AppError } from '#core/errors.ts';
import { findSpec, serviceNames } from '#pool/service-records.ts';
import { BirthRecord, HandedRecord, SealedRecord, TlsRecord } from '#pool/service-schema.ts';
import { CacheMemberStatus, CacheSpec, CacheStatus, ClusterRecord, LeadRecord, MoveOrder } from '#xcache/schema.ts';

export const CACHE_PREFIX = 'xcaas/cache/';

/** Keys of one cache's records. */
export const cacheKeys = (cache: string) => {
  const base = `${CACHE_PREFIX}${cache}`;
  return {
    base: `${base}/`,
    spec: `${base}/spec`,
    status: `${base}/status`,
    /** Sealed with the pool's key. */
    credentials: `${base}/credentials`,
    tls: (member: string) => `${base}/tls/${member}`,
    tlsPrefix: `${base}/tls/`,
    handed: `${base}/handed`,
    lead: `${base}/lead`,
    birth: `${base}/birth`,
    move: `${base}/move`,
    /** Of a cluster, written by the sidecar that holds `leader`. */
    cluster: `${base}/cluster`,
    /** What growth has to remember; written by the controller. */
    growth: `${base}/growth`,
    /** Lock that sessions hold beside the member's record; nothing rests on it. In a cluster: whose sidecar puts things right. */
    leader: `${base}/leader`,
    member: (member: string) => `${base}/members/${member}`,
    /** Of backups: asked for by the API or the schedule, done by sidecars. */
    backup: (id: string) => `${base}/backups/${id}`,
    backupsPrefix: `${base}/backups/`,
    membersPrefix: `${base}/members/`,
  };
};

/** What a member's token may write; everything of its cache may be read. */
export function writtenByMember(cache: string, member: string): string[] {
  const keys = cacheKeys(cache);
  return [keys.lead, keys.leader, keys.move, keys.birth, keys.cluster, keys.member(member), keys.backupsPrefix];
}

/** Everything that Consul's KV holds of caches, for the controller and the API; sidecars read and write by requests of their own. */
export interface CacheStore {
  consul: ConsulClient;
  specs: Records<CacheSpec>;
  statuses: Records<CacheStatus>;
  leads: Records<LeadRecord>;
  clusters: Records<ClusterRecord>;
  members: Records<CacheMemberStatus>;
  births: Records<BirthRecord>;
  moves: Records<MoveOrder>;
  sealed: Records<SealedRecord>;
  tls: Records<TlsRecord>;
  handed: Records<HandedRecord>;
  /** @throws AppError `not_found` naming what exists */
  spec(name: string): Promise<Stored<CacheSpec>>;
  names(): Promise<string[]>;
  /** Changes the specification of a cache that exists and is not being removed. */
  change(name: string, change: (spec: CacheSpec) => CacheSpec): Promise<CacheSpec>;
}

export function createCacheStore(consul: ConsulClient): CacheStore {
  const specs = createRecords(consul, CacheSpec);
  const store: CacheStore = {
    consul,
    specs,
    statuses: createRecords(consul, CacheStatus),
    leads: createRecords(consul, LeadRecord),
    clusters: createRecords(consul, ClusterRecord),
    members: createRecords(consul, CacheMemberStatus),
    births: createRecords(consul, BirthRecord),
    moves: createRecords(consul, MoveOrder),
    sealed: createRecords(consul, SealedRecord),
    tls: createRecords(consul, TlsRecord),
    handed: createRecords(consul, HandedRecord),
    spec: (name) =>
      findSpec(name, {
        get: () => specs.get(cacheKeys(name).spec, { consistent: true }),
        names: () => store.names(),
        what: 'cache',
        make: 'cache create NAME',
      }),
    names: () => serviceNames(consul, CACHE_PREFIX),
    async change(name, change) {
      const { value: before } = await store.spec(name);
      const after = await specs.update(cacheKeys(name).spec, (present) => {
        if (present === undefined || present.destroyed !== undefined) throw new AppError('not_found', `${name} is being removed`);
        return change(present);
      });
      return after ?? before;
    },
  };
  return store;
}
