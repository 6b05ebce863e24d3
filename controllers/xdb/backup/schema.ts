import { z } from 'zod';
import { backupId, backupRecord } from '#backup/schema.ts';
import { name, serviceName } from '#core/names.ts';
import { SealedRecord } from '#pool/service-schema.ts';
import { DbSpec } from '#xdb/schema.ts';

/** What a table held at one moment, for whoever restores it. */
export const TableSum = z.object({ schema: z.string(), table: z.string(), rows: z.number().int(), checksum: z.string() });
export type TableSum = z.infer<typeof TableSum>;

/** `full/<id>/check.json`: tables as they were at `gtid`, read in one snapshot after the backup was made. */
export const BackupCheck = z.object({
  v: z.literal(1),
  gtid: z.string(),
  tables: z.array(TableSum),
  /** Not read: there was no time, or their definition changed meanwhile. */
  skipped: z.number().int(),
});
export type BackupCheck = z.infer<typeof BackupCheck>;

/** `full/<id>/backup.json`, written last: a backup without it does not exist. */
export const BackupMarker = z.object({
  v: z.literal(1),
  id: backupId,
  db: serviceName,
  member: name,
  flavor: z.enum(['mariadb', 'mysql']),
  engineVersion: z.string(),
  started: z.string(),
  finished: z.string(),
  /** The data as of which it is. */
  gtid: z.string(),
  /** Seconds since 1970 of that transaction; the end of the backup where it could not be told. */
  at: z.number(),
  /** Of the stored object, and of what is in it. */
  bytes: z.number().int(),
  sha256: z.string(),
  contentBytes: z.number().int(),
  encrypted: z.boolean(),
});
export type BackupMarker = z.infer<typeof BackupMarker>;

/** `xcaas/db/<name>/backups/<id>`: a shadow of what is in the store. */
export const BackupRecord = z.object({
  ...backupRecord,
  db: serviceName,
  gtid: z.string().optional(),
  at: z.number().optional(),
});
export type BackupRecord = z.infer<typeof BackupRecord>;

/** What a member says of the archive that it keeps. */
export const ArchiveStatus = z.object({
  member: name,
  /** Whether it archives now, and if not, why. */
  active: z.boolean(),
  sentence: z.string(),
  /** Last archived transaction, and when it was committed. */
  gtid: z.string().optional(),
  time: z.string().optional(),
  behindBytes: z.number().int(),
  /** Since when it fails, where it should archive. */
  failingSince: z.string().optional(),
});
export type ArchiveStatus = z.infer<typeof ArchiveStatus>;

/** What a restore is to come to, as an API says it. */
export const RestoreWish = z
  .object({ backup: backupId.optional(), at: z.iso.datetime({ offset: true }).optional(), gtid: z.string().optional() })
  .refine((wish) => Object.values(wish).filter((value) => value !== undefined).length <= 1, 'give one of backup, at and gtid');
export type RestoreWish = z.infer<typeof RestoreWish>;

/** What it came to: enough to do it, whatever is archived or deleted meanwhile. */
export const RestoreChoice = z.object({
  backup: backupId,
  gtid: z.string(),
  store: z.string(),
  history: z.string(),
  warning: z.string().optional(),
});
export type RestoreChoice = z.infer<typeof RestoreChoice>;

/**
 * `xcaas/db-backups/<name>/<history>`: of a database that is gone, backups in a store of its own outlive it. Written when its other records are removed; with
 * it they can still be listed, restored and deleted.
 */
export const KeptBackups = z.object({
  v: z.literal(1),
  name: serviceName,
  history: z.string(),
  /** When the database went. */
  time: z.string(),
  spec: DbSpec,
  /** Its credentials as they were: they open the store and the backups. */
  credentials: SealedRecord,
  backups: z.array(BackupRecord),
});
export type KeptBackups = z.infer<typeof KeptBackups>;
