import { z } from 'zod';
import { backupId, backupRecord } from '#backup/schema.ts';
import { name, serviceName } from '#core/names.ts';
import { cacheEngine } from '#xcache/schema.ts';

/** What is written of a backup of a cache, beside it and in its record. */
const contents = {
  engine: cacheEngine,
  /** Bytes of memory that the data took. */
  usedBytes: z.number().int(),
};

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
  /** Of the stored object, and of what is in it. */
  bytes: z.number().int(),
  sha256: z.string(),
  contentBytes: z.number().int(),
  encrypted: z.boolean(),
});
export type CacheBackupMarker = z.infer<typeof CacheBackupMarker>;

/** `xcaas/cache/<name>/backups/<id>`: a shadow of what is in the store. */
export const CacheBackupRecord = z.object({ ...backupRecord, cache: serviceName, ...z.object(contents).partial().shape });
export type CacheBackupRecord = z.infer<typeof CacheBackupRecord>;
