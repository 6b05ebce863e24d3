import { z } from 'zod';
import { name } from '#core/names.ts';

/** What specifications and credentials of services with backups say of them. */

export const backupId = z.string().regex(/^[0-9]{8}-[0-9]{6}-[0-9a-f]{4}$/, 'a backup is called like 20260801-021500-3f9c');

/** Schedule and place of backups. */
export const BackupPlan = z.object({
  /** cron expression (node-cron, UTC) of full backups; none = only when asked. */
  schedule: z.string().max(100).optional(),
  /** Full backups kept. */
  keep: z.number().int().min(1).max(365).default(7),
  /** cron expression of verifications, each of the newest backup. */
  verify: z.string().max(100).optional(),
  /** `volume` = the members' own `backup` volume; `s3://…`, `webhdfs://…` else. */
  store: z.string().max(500).default('volume'),
  /** Serial of the credentials that have the account of the store: a member that was not given them yet waits. */
  credentials: z.number().int().optional(),
});
export type BackupPlan = z.infer<typeof BackupPlan>;

const work = z.enum(['asked', 'running', 'done', 'failed']);

/** Fields of the record of a backup, `…/backups/<id>`: asked for by the API or the schedule; what became of it by the sidecar that does it. */
export const backupRecord = {
  v: z.literal(1),
  id: backupId,
  kind: z.literal('full'),
  /** Who asked. */
  by: z.enum(['user', 'schedule', 'found']),
  state: work,
  /** The member that makes it, and, on volumes, has it. The leader's sidecar chooses. */
  member: name.optional(),
  created: z.string(),
  started: z.string().optional(),
  finished: z.string().optional(),
  /** Bytes written so far, and at the end. */
  bytes: z.number().int().default(0),
  sha256: z.string().optional(),
  engineVersion: z.string().optional(),
  encrypted: z.boolean().optional(),
  /** Where, without credentials. */
  store: z.string(),
  /** Folder of the history it belongs to. */
  history: z.string().optional(),
  error: z.string().optional(),
  verify: z
    .object({
      state: work,
      member: name.optional(),
      time: z.string(),
      /** Found sound or not; only when done. */
      ok: z.boolean().optional(),
      sentence: z.string().optional(),
    })
    .optional(),
  /** To be deleted, by the member that has it. */
  deleting: z.string().optional(),
};
const BackupRecordBase = z.object(backupRecord);
/** What records of all services say. */
export type BackupRecordBase = z.infer<typeof BackupRecordBase>;

const StoreCredentials = z.object({ user: z.string(), secret: z.string().optional() });

/** Fields of the credentials of a service that has backups, to be spread into its own. */
export const backupSecrets = {
  /** Backups are encrypted with the first of them; older ones still open what they sealed. */
  backupKeys: z.array(z.object({ id: z.string(), secret: z.string() })).optional(),
  /** Of the store for backups, when it is an outside one. */
  store: StoreCredentials.optional(),
  /** Of stores that hold earlier backups, by their address. */
  formerStores: z.record(z.string(), StoreCredentials).optional(),
  /** Of the service that this one is restored from: what opens its backups, and what its members ask for. */
  origin: z
    .object({
      peerSecret: z.string().optional(),
      backupKeys: z.array(z.object({ id: z.string(), secret: z.string() })).default([]),
      store: StoreCredentials.optional(),
    })
    .optional(),
};
