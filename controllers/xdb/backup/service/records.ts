import type { ConsulClient } from '#core/consul/client.ts';
import { createRecords, type Stored } from '#core/consul/records.ts';
import { dbKeys } from '#xdb/store.ts';
import { BackupRecord } from '../schema.ts';

/** `xcaas/db/<name>/backups/…` */
export interface BackupRecords {
  list(): Promise<Stored<BackupRecord>[]>;
  get(id: string): Promise<BackupRecord | undefined>;
  /** @returns false when there is one already */
  create(record: BackupRecord): Promise<boolean>;
  /** Changes one that is there. */
  change(id: string, change: (present: BackupRecord) => BackupRecord | undefined): Promise<BackupRecord | undefined>;
  remove(id: string): Promise<void>;
}

export function createBackupRecords(consul: Pick<ConsulClient, 'kv'>, db: string): BackupRecords {
  const records = createRecords(consul, BackupRecord);
  const keys = dbKeys(db);
  return {
    list: async () => (await records.list(keys.backupsPrefix)).sort((a, b) => a.value.id.localeCompare(b.value.id)),
    get: async (id) => (await records.get(keys.backup(id)))?.value,
    create: (record) => records.cas(keys.backup(record.id), record, 0),
    change: (id, change) => records.update(keys.backup(id), (present) => (present === undefined ? undefined : change(present))),
    async remove(id) {
      await consul.kv.delete(keys.backup(id));
    },
  };
}
