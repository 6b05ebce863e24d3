import { z } from 'zod';
import { backupId, backupRecord } from '#backup/schema.ts';
import { name, serviceName } from '#core/names.ts';
import { cacheEngine } from '#xcache/schema.ts';

/** What is written of a backup of a cache, beside it and in its record. */
const contents = {
  engine: cacheEngine,
  /** Bytes of memory that the data took: of a cluster, of all its shards together. */
  usedBytes: z.number().int(),
};

/** Of a stored object, and of what is in it. */
const stored = { bytes: z.number().int(), sha256: z.string(), contentBytes: z.number().int() };

const slot = z.number().int().min(0).max(16_383);

/** Of a cluster: a shard that owned slots, whose data are an object of their own. */
export const BackupShard = z.object({
  shard: z.number().int().min(0),
  /** Whose engine gave it. */
  member: name,
  /** Slots that the shard owned then. */
  slots: z.array(z.object({ first: slot, last: slot })).min(1),
  /** When its snapshot was begun: its data are as of a moment soon after. */
  time: z.string(),
  usedBytes: z.number().int(),
  ...stored,
});
export type BackupShard = z.infer<typeof BackupShard>;

/** `full/<id>/backup.json`, written last: a backup without it does not exist. */
export const CacheBackupMarker = z.object({
  v: z.literal(1),
  id: backupId,
  cache: serviceName,
  member: name,
  ...contents,
  engineVersion: z.string(),
  started: z.string(),
  finished: z.string(),
  /** Of a cluster, of all its objects: the sum is that of their sums, one after another. */
  ...stored,
  encrypted: z.boolean(),
  /** Of a cluster: how many shards it had, of which one that was new, or to be emptied, may have owned no slots. */
  cluster: z.object({ shards: z.number().int().min(1), parts: z.array(BackupShard).min(1) }).optional(),
});
export type CacheBackupMarker = z.infer<typeof CacheBackupMarker>;

/** `xcaas/cache/<name>/backups/<id>`: a shadow of what is in the store. */
export const CacheBackupRecord = z.object({
  ...backupRecord,
  cache: serviceName,
  ...z.object(contents).partial().shape,
  /** Of a cluster: how many shards, and what the largest of them took. */
  shards: z.number().int().min(1).optional(),
  shardBytes: z.number().int().optional(),
});
export type CacheBackupRecord = z.infer<typeof CacheBackupRecord>;
