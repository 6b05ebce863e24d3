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
import { BackupRecord } from '#xdb/backup/schema.ts';
import { openCredentials } from '#xdb/credentials.ts';
import type { Observed } from '#xdb/plan/world.ts';
import { DataRecord, DbSpec, DbStatus, MemberStatus, MoveOrder, SyncRecord } from '#xdb/schema.ts';
import { type DbStore, dbKeys } from '#xdb/store.ts';

export interface ObserveDeps {
  store: DbStore;
  log: Logger;
  hosts(): Promise<Host[]>;
  agent(host: Host): AgentClient;
  poolKey: Buffer;
  /** The pool's CA, with its key. */
  ca: KeyPair;
  now(): Date;
}

/** All records of one database as one consistent read gave them. */
export interface DbRecords extends Pick<Observed, 'sync' | 'birth' | 'data' | 'sidecars' | 'move' | 'previous' | 'backups'> {
  spec: Stored<DbSpec>;
  credentials: SealedRecord | undefined;
  tls: Record<string, Stored<TlsRecord>>;
  handed: HandedRecord['members'];
}

/** @returns undefined when there is no such database */
export async function readDb(deps: Pick<ObserveDeps, 'store' | 'log'>, name: string): Promise<DbRecords | undefined> {
  const keys = dbKeys(name);
  const { find, under, living } = await readServiceRecords(deps.store.consul, keys.base, deps.log);
  const spec = find(DbSpec, keys.spec);
  if (spec === undefined) return undefined;
  return {
    spec,
    sync: find(SyncRecord, keys.sync)?.value,
    birth: find(BirthRecord, keys.birth)?.value,
    move: find(MoveOrder, keys.move)?.value,
    previous: find(DbStatus, keys.status)?.value,
    credentials: find(SealedRecord, keys.credentials)?.value,
    handed: find(HandedRecord, keys.handed)?.value.members ?? {},
    data: Object.fromEntries(under(DataRecord, keys.dataPrefix).map(([member, { value }]) => [member, value])),
    tls: Object.fromEntries(under(TlsRecord, keys.tlsPrefix)),
    backups: under(BackupRecord, keys.backupsPrefix).map(([, { value }]) => value),
    sidecars: living(MemberStatus, keys.membersPrefix),
  };
}

/** Looks at one database: its records, and what every living host has of it. */
export async function observe(deps: ObserveDeps, records: DbRecords): Promise<Omit<Observed, 'refused'>> {
  const { spec, credentials, tls, handed, ...said } = records;
  const [hosts, everything] = await Promise.all([deps.hosts(), listPlacements(deps.store.consul)]);
  const seen = await askForMembers(deps, hosts, { kind: 'db', name: spec.value.name });
  const world = { ...said, ...seen, hosts, everything, specIndex: spec.modifyIndex };
  const secrets = Object.fromEntries(
    spec.value.members.map(({ id }) => {
      const host = hostOf(id, world);
      const given = handed[id];
      const wanted = credentials === undefined ? undefined : wantedSecrets(deps, spec.value, { id, host, credentials, tls: tls[id] });
      return [
        id,
        { wanted: wanted === undefined ? undefined : hashOf(wanted), handed: given?.host === host?.spec.id ? given?.hash : undefined },
      ];
    }),
  );
  const ours = spec.value.role === 'slave' ? spec.value.upstream?.ours : undefined;
  const theirs = ours === undefined ? undefined : await deps.store.syncs.get(dbKeys(ours).sync);
  return { ...world, secrets, upstreamLeader: theirs?.value.leader.id };
}

/** The secret files of a member; undefined while its certificate has to be made first. */
function wantedSecrets(
  deps: Pick<ObserveDeps, 'poolKey' | 'ca' | 'now'>,
  spec: DbSpec,
  { id, host, credentials, tls }: { id: string; host: Host | undefined; credentials: SealedRecord; tls: Stored<TlsRecord> | undefined },
): Record<string, string> | undefined {
  const pair = goodPair(deps, { recordKey: dbKeys(spec.name).tls(id), names: namesOf(spec, id, host) }, tls);
  return pair === undefined ? undefined : secretFiles(deps, spec.name, credentials, pair);
}

/** What stands in `/run/secrets` of a member besides its Consul token. */
export function secretFiles(
  { poolKey, ca }: Pick<ObserveDeps, 'poolKey' | 'ca'>,
  db: string,
  record: SealedRecord | undefined,
  pair: KeyPair,
): Record<string, string> {
  if (record === undefined) throw new AppError('not_found', `the credentials of ${db} are not in Consul`);
  const credentials = openCredentials(poolKey, db, record);
  return {
    'credentials.json': JSON.stringify({ ...credentials, serial: record.serial }),
    'ca.pem': ca.cert,
    'server.pem': pair.cert,
    'server.key': pair.key,
  };
}
