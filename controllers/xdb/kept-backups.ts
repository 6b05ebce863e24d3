import { historyOf, VOLUME } from '#backup/place.ts';
import type { DbSpec } from '#xdb/schema.ts';
import { type DbStore, dbKeys, KEPT_PREFIX } from '#xdb/store.ts';

/**
 * Before the records of a destroyed database go: what lies in a store of its own outlives it, and what opens it is written down. On the volumes of its members
 * nothing is left.
 */
export async function keepBackups({ store, now }: { store: DbStore; now(): Date }, spec: DbSpec): Promise<void> {
  const keys = dbKeys(spec.name);
  const [records, credentials] = await Promise.all([store.backups.list(keys.backupsPrefix), store.sealed.get(keys.credentials)]);
  const backups = records.map(({ value }) => value).filter((record) => record.state === 'done' && record.store !== VOLUME);
  if (backups.length === 0 || credentials === undefined) return;
  const history = historyOf(spec);
  await store.kept.update(`${KEPT_PREFIX}${spec.name}/${history}`, () => ({
    ...{ v: 1, name: spec.name, history, time: now().toISOString(), spec, credentials: credentials.value },
    // What was asked for and not done is nobody's any more.
    backups: backups.map(({ deleting: _, verify, ...record }) => (verify?.state === 'done' ? { ...record, verify } : record)),
  }));
}
