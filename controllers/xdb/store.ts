import type { ConsulClient } from '#core/consul/client.ts';
import { createRecords, type Records, type Stored } from '#core/consul/records.ts';
import { AppError } from '#core/errors.ts';
import { findSpec, serviceNames } from '#pool/service-records.ts';
import { BirthRecord, HandedRecord, SealedRecord, TlsRecord } from '#pool/service-schema.ts';
import { BackupRecord, KeptBackups } from '#xdb/backup/schema.ts';
import { DataRecord, DbSpec, DbStatus, MemberStatus, MoveOrder, SyncRecord } from '#xdb/schema.ts';

export const DB_PREFIX = 'xcaas/db/';
/** What outlives databases: `<name>/<history>`. */
export const KEPT_PREFIX = 'xcaas/db-backups/';

export const dbKeys = (db: string) => {
  const base = `${DB_PREFIX}${db}`;
  return {
    base: `${base}/`,
    spec: `${base}/spec`,
    status: `${base}/status`,
    sync: `${base}/sync`,
    leader: `${base}/leader`,
    birth: `${base}/birth`,
    move: `${base}/move`,
    credentials: `${base}/credentials`,
    tls: (member: string) => `${base}/tls/${member}`,
    tlsPrefix: `${base}/tls/`,
    handed: `${base}/handed`,
    data: (member: string) => `${base}/data/${member}`,
    dataPrefix: `${base}/data/`,
    member: (member: string) => `${base}/members/${member}`,
    membersPrefix: `${base}/members/`,
    acked: (epoch: number) => `${base}/acked/${epoch}`,
    backup: (id: string) => `${base}/backups/${id}`,
    backupsPrefix: `${base}/backups/`,
  };
};

/** Everything that Consul's KV holds of databases, for the controller and the API; sidecars read and write `sync` by transactions of their own. */
export interface DbStore {
  consul: ConsulClient;
  specs: Records<DbSpec>;
  statuses: Records<DbStatus>;
  syncs: Records<SyncRecord>;
  data: Records<DataRecord>;
  members: Records<MemberStatus>;
  births: Records<BirthRecord>;
  moves: Records<MoveOrder>;
  sealed: Records<SealedRecord>;
  tls: Records<TlsRecord>;
  handed: Records<HandedRecord>;
  backups: Records<BackupRecord>;
  kept: Records<KeptBackups>;
  /** @throws AppError `not_found` naming what exists */
  spec(name: string): Promise<Stored<DbSpec>>;
  names(): Promise<string[]>;
  /** Changes the specification of a database that exists and is not being removed. */
  change(name: string, change: (spec: DbSpec) => DbSpec): Promise<DbSpec>;
}

export function createDbStore(consul: ConsulClient): DbStore {
  const specs = createRecords(consul, DbSpec);
  const store: DbStore = {
    consul,
    specs,
    statuses: createRecords(consul, DbStatus),
    syncs: createRecords(consul, SyncRecord),
    data: createRecords(consul, DataRecord),
    members: createRecords(consul, MemberStatus),
    births: createRecords(consul, BirthRecord),
    moves: createRecords(consul, MoveOrder),
    sealed: createRecords(consul, SealedRecord),
    tls: createRecords(consul, TlsRecord),
    handed: createRecords(consul, HandedRecord),
    backups: createRecords(consul, BackupRecord),
    kept: createRecords(consul, KeptBackups),
    spec: (name) =>
      findSpec(name, {
        get: () => specs.get(dbKeys(name).spec, { consistent: true }),
        names: () => store.names(),
        what: 'database',
        make: 'db create -d NAME',
      }),
    names: () => serviceNames(consul, DB_PREFIX),
    async change(name, change) {
      const { value: before } = await store.spec(name);
      const after = await specs.update(dbKeys(name).spec, (present) => {
        if (present === undefined || present.destroyed !== undefined) throw new AppError('not_found', `${name} is being removed`);
        return change(present);
      });
      return after ?? before;
    },
  };
  return store;
}
