import type { Stored } from '#core/consul/records.ts';
import { AppError } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import type { KeyPair } from '#ground/ca.ts';
import type { AgentClient } from '#pool/agent-client.ts';
import type { Host } from '#pool/host.ts';
import { listPlacements } from '#pool/placement-record.ts';
import { hashOf } from '#pool/service-credentials.ts';
import { askForMembers } from '#pool/service-members.ts';
import { readServiceRecords } from '#pool/service-records.ts';
import { BirthRecord, HandedRecord, SealedRecord, TlsRecord } from '#pool/service-schema.ts';
import { goodPair, namesOf } from '#pool/service-tls.ts';
import { hostOf } from '#pool/service-world.ts';
import { CacheBackupRecord } from '#xcache/backup/schema.ts';
import { cacheVault } from '#xcache/credentials.ts';
import type { Observed } from '#xcache/plan/world.ts';
import { CacheMemberStatus, CacheSpec, CacheStatus, ClusterRecord, LeadRecord, MoveOrder } from '#xcache/schema.ts';
import { type CacheStore, cacheKeys } from '#xcache/store.ts';

export interface ObserveDeps {
  store: CacheStore;
  log: Logger;
  hosts(): Promise<Host[]>;
  agent(host: Host): AgentClient;
  poolKey: Buffer;
  /** The pool's CA, with its key. */
  ca: KeyPair;
  now(): Date;
}

/** All records of one cache as one consistent read gave them. */
export interface CacheRecords extends Pick<Observed, 'lead' | 'cluster' | 'birth' | 'sidecars' | 'move' | 'backups' | 'previous'> {
  spec: Stored<CacheSpec>;
  credentials: SealedRecord | undefined;
  tls: Record<string, Stored<TlsRecord>>;
  handed: HandedRecord['members'];
}

/** @returns undefined when there is no such cache */
export async function readCache(deps: Pick<ObserveDeps, 'store' | 'log'>, name: string): Promise<CacheRecords | undefined> {
  const keys = cacheKeys(name);
  const { find, under, living } = await readServiceRecords(deps.store.consul, keys.base, deps.log);
  const spec = find(CacheSpec, keys.spec);
  if (spec === undefined) return undefined;
  return {
    spec,
    lead: find(LeadRecord, keys.lead)?.value,
    cluster: find(ClusterRecord, keys.cluster)?.value,
    birth: find(BirthRecord, keys.birth)?.value,
    move: find(MoveOrder, keys.move)?.value,
    previous: find(CacheStatus, keys.status)?.value,
    credentials: find(SealedRecord, keys.credentials)?.value,
    handed: find(HandedRecord, keys.handed)?.value.members ?? {},
    tls: Object.fromEntries(under(TlsRecord, keys.tlsPrefix)),
    backups: under(CacheBackupRecord, keys.backupsPrefix).map(([, { value }]) => value),
    sidecars: living(CacheMemberStatus, keys.membersPrefix),
  };
}

/** Looks at one cache: its records, and what every living host has of it. */
export async function observe(deps: ObserveDeps, records: CacheRecords): Promise<Omit<Observed, 'refused'>> {
  const { spec, credentials, tls, handed, ...said } = records;
  const { name, members } = spec.value;
  const [hosts, everything] = await Promise.all([deps.hosts(), listPlacements(deps.store.consul)]);
  const seen = await askForMembers(deps, hosts, { kind: 'cache', name });
  const world = { ...said, ...seen, hosts, everything, specIndex: spec.modifyIndex };
  const secrets = Object.fromEntries(
    members.map(({ id }) => {
      const host = hostOf(id, world);
      const given = handed[id];
      const pair = goodPair(deps, { recordKey: cacheKeys(name).tls(id), names: namesOf(spec.value, id, host) }, tls[id]);
      const wanted = credentials === undefined || pair === undefined ? undefined : hashOf(secretFiles(deps, name, credentials, pair));
      return [id, { wanted, handed: given?.host === host?.spec.id ? given?.hash : undefined }];
    }),
  );
  return { ...world, secrets };
}

/** What stands in `/run/secrets` of a member besides its Consul token. */
export function secretFiles(
  { poolKey, ca }: Pick<ObserveDeps, 'poolKey' | 'ca'>,
  cache: string,
  record: SealedRecord | undefined,
  pair: KeyPair,
): Record<string, string> {
  if (record === undefined) throw new AppError('not_found', `the credentials of ${cache} are not in Consul`);
  const credentials = cacheVault.open(poolKey, cache, record);
  return {
    'credentials.json': JSON.stringify({ ...credentials, serial: record.serial }),
    'ca.pem': ca.cert,
    'server.pem': pair.cert,
    'server.key': pair.key,
  };
}
