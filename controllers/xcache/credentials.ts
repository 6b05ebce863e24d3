import { newBackupKey } from '#backup/plan.ts';
import { createVault, newPassword } from '#pool/service-credentials.ts';
import { CacheCredentials, type CacheSpec } from '#xcache/schema.ts';
import { cacheKeys } from '#xcache/store.ts';

/** The credentials of caches, sealed. */
export const cacheVault = createVault('cache', CacheCredentials, (cache) => cacheKeys(cache).credentials);

export function newCredentials(spec: Pick<CacheSpec, 'user'>): CacheCredentials {
  return { agent: newPassword(), replication: newPassword(), users: { [spec.user]: [newPassword()] }, backupKeys: [newBackupKey()] };
}
