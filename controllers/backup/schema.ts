import { z } from 'zod';

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
});
export type BackupPlan = z.infer<typeof BackupPlan>;

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
