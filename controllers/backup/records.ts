import type { z } from 'zod';
import type { ConsulClient } from '#core/consul/client.ts';
import { createRecords, type Stored } from '#core/consul/records.ts';
import type { BackupRecordBase } from './schema.ts';

/** `…/backups/…` of one service. */
export interface BackupRecords<R> {
  list(): Promise<Stored<R>[]>;
  get(id: string): Promise<R | undefined>;
  /** @returns false when there is one already */
  create(record: R): Promise<boolean>;
  /** Changes one that is there. */
  change(id: string, change: (present: R) => R | undefined): Promise<R | undefined>;
  remove(id: string): Promise<void>;
}

export function createBackupRecords<R extends BackupRecordBase>(
  consul: Pick<ConsulClient, 'kv'>,
  schema: z.ZodType<R>,
  keys: { backup(id: string): string; backupsPrefix: string },
): BackupRecords<R> {
  const records = createRecords(consul, schema);
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
