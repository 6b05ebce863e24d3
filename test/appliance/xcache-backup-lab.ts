import { randomBytes } from 'node:crypto';
import type { LabOptions, XcacheLab } from '#test/xcache-lab.ts';
import { eventually } from '#test/xdb-lab.ts';
import { CacheBackupRecord } from '#xcache/backup/schema.ts';
import { peerSecretOf } from '#xcache/peer-secret.ts';
import { cacheKeys } from '#xcache/store.ts';

/** Backups of a lab's cache, asked for as the API does. */

export async function recordOf(here: XcacheLab, id: string): Promise<CacheBackupRecord | undefined> {
  const entry = await here.consul.kv.get(cacheKeys(here.cache).backup(id), { consistent: true });
  return entry === undefined ? undefined : CacheBackupRecord.parse(JSON.parse(entry.value));
}

async function write(here: XcacheLab, record: CacheBackupRecord): Promise<void> {
  await here.consul.kv.put(cacheKeys(here.cache).backup(record.id), JSON.stringify(record));
}

let count = 0;
/** @returns its id */
export async function ask(here: XcacheLab, store = 'volume'): Promise<string> {
  count += 1;
  const id = `20260101-0000${String(count).padStart(2, '0')}-${randomBytes(2).toString('hex')}`;
  await write(here, {
    ...{ v: 1, id, cache: here.cache, kind: 'full', by: 'user', state: 'asked', created: new Date().toISOString(), bytes: 0, store },
  });
  return id;
}

/** @returns what became of it */
export async function backUp(here: XcacheLab, store?: string): Promise<CacheBackupRecord> {
  const id = await ask(here, store);
  await eventually('the backup is made', async () => ['done', 'failed'].includes((await recordOf(here, id))?.state ?? ''));
  return CacheBackupRecord.parse(await recordOf(here, id));
}

export async function verify(here: XcacheLab, record: CacheBackupRecord) {
  await write(here, { ...record, verify: { state: 'asked', time: new Date().toISOString() } });
  await eventually('it was verified', async () => ['done', 'failed'].includes((await recordOf(here, record.id))?.verify?.state ?? ''));
  return (await recordOf(here, record.id))?.verify;
}

/** The options of a cache that is restored from a backup of this one. */
export const restored = (here: XcacheLab, { id, store, history = '' }: CacheBackupRecord): LabOptions => ({
  beside: here,
  spec: { origin: { from: here.cache, backup: id, store, history } },
  credentials: {
    origin: { peerSecret: peerSecretOf(here.credentials), backupKeys: here.credentials.backupKeys ?? [], store: here.credentials.store },
  },
});
