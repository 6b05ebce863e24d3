import { newBackupId } from '#backup/ids.ts';
import { withBackupKey } from '#backup/plan.ts';
import { type BackupViewBase, backupSentence, backupViewOf } from '#backup/view.ts';
import { AppError, messageOf } from '#core/errors.ts';
import { refuseDestroyed } from '#pool/service-living.ts';
import { deleteFull, readCatalog } from '#xdb/backup/catalog.ts';
import type { BackupRecord } from '#xdb/backup/schema.ts';
import { changeCredentials } from '#xdb/credentials.ts';
import { type BackupSource, listKept, outsidePlaces, readWindows, sourceOf, type Window } from '#xdb/operations/backup-source.ts';
import type { DbDeps } from '#xdb/operations/deps.ts';
import { leaderOf, livingRecords } from '#xdb/operations/living.ts';
import { DB_PREFIX, dbKeys } from '#xdb/store.ts';

/** Backups as the API shows and asks for them. They are made, verified and deleted by the sidecars of the members, whom records tell what to do. */

export interface BackupView extends BackupViewBase {
  /** The data as of which it is. */
  at: string | null;
  gtid: string | null;
}

/**
 * Asks for a full backup. The slave makes it, or the leader where there is no slave.
 *
 * @throws AppError `conflict` while another one is being made; `unavailable` while nobody leads
 */
export async function createBackup(deps: DbDeps, name: string): Promise<BackupView> {
  const records = await livingRecords(deps, name);
  leaderOf(records);
  const { backups } = await sourceOf(deps, name);
  const busy = backups.find(({ state, deleting }) => deleting === undefined && (state === 'asked' || state === 'running'));
  if (busy !== undefined) {
    throw new AppError('conflict', `the backup ${busy.id} of ${name} is being made`, { hint: `db backup list ${name}` });
  }
  await changeCredentials(deps, name, withBackupKey);
  const now = deps.now();
  const record: BackupRecord = {
    ...{ v: 1, id: newBackupId(now), db: name, kind: 'full', by: 'user', state: 'asked', created: now.toISOString(), bytes: 0 },
    store: records.spec.value.backup.store,
  };
  if (!(await deps.store.backups.cas(dbKeys(name).backup(record.id), record, 0)))
    throw new AppError('conflict', `a backup of ${name} is being made just now`, { hint: `db backup list ${name}` });
  return viewOf(record);
}

export interface BackupList {
  name: string;
  plan: { store: string; schedule: string | null; keep: number; verify: string | null };
  backups: BackupView[];
  /** Null when they cannot be told now; `note` says why. */
  windows: Window[] | null;
  note: string;
}

/** @param text as in {@link sourceOf} */
export async function listBackups(deps: DbDeps, text: string): Promise<BackupList> {
  const source = await sourceOf(deps, text);
  const { store, schedule, keep, verify } = source.spec.backup;
  const shown = {
    ...{ name: source.name, plan: { store, schedule: schedule ?? null, keep, verify: verify ?? null } },
    backups: source.backups.map(viewOf),
  };
  try {
    const windows = source.backups.some(({ state }) => state === 'done') ? await readWindows(deps, source) : [];
    return { ...shown, windows, note: noteOf(source) };
  } catch (error) {
    return { ...shown, windows: null, note: `what can be restored is not known: ${messageOf(error)}` };
  }
}

function noteOf({ name, kept, spec }: BackupSource): string {
  if (kept !== undefined) return `${name} is gone since ${kept.value.time}; these backups are left`;
  return spec.destroyed === undefined ? '' : `${name} was destroyed at ${spec.destroyed.time}`;
}

/** Of databases that are gone. */
export async function listKeptBackups(deps: DbDeps) {
  return (await listKept(deps)).map(({ value: { name, history, time, spec, backups } }) => ({
    ...{ from: `${name}@${history}`, name, time, store: spec.backup.store, backups: backups.length },
    newest: backups.at(-1)?.finished ?? null,
  }));
}

/** @throws AppError `not_found` naming what there is */
export async function readBackup(deps: DbDeps, text: string, id: string): Promise<BackupView> {
  const source = await sourceOf(deps, text);
  return viewOf(backupOf(source, id));
}

/**
 * Asks for a backup to be restored for real, beside the engine of the member that has it, and to be looked at.
 *
 * @param id the newest one when not given
 */
export async function verifyBackup(deps: DbDeps, name: string, id: string | undefined): Promise<BackupView> {
  await livingRecords(deps, name);
  const source = await sourceOf(deps, name);
  const newest = source.backups.findLast(({ state, deleting }) => state === 'done' && deleting === undefined);
  if (id === undefined && newest === undefined)
    throw new AppError('not_found', `${name} has no complete backup`, { hint: `db backup create ${name} makes one` });
  const wanted = backupOf(source, id ?? newest?.id ?? '');
  if (wanted.state !== 'done') throw new AppError('conflict', backupSentence(wanted), { hint: `db backup list ${name}` });
  const asked = await deps.store.backups.update(dbKeys(name).backup(wanted.id), (present) => {
    if (present === undefined || present.deleting !== undefined) throw gone(source, wanted.id);
    if (present.verify?.state === 'asked' || present.verify?.state === 'running') return undefined;
    return { ...present, verify: { state: 'asked', time: deps.now().toISOString() } };
  });
  return viewOf(asked ?? wanted);
}

/**
 * Deletes a backup: at once where nobody is to do it, by the member that has it else. The binlog that only it needs goes with it.
 *
 * @throws AppError `conflict` while it is being made, `in_use` while a database is restored from it
 */
export async function deleteBackup(deps: DbDeps, text: string, id: string): Promise<{ sentence: string }> {
  const source = await sourceOf(deps, text);
  const record = backupOf(source, id);
  await refuseNeeded(deps, source, id);
  if (source.kept !== undefined) return deleteKept(deps, source, record);
  refuseDestroyed('db', source.spec);
  const { name } = source;
  const key = dbKeys(name).backup(id);
  const after = await deps.store.backups.update(key, (present) => {
    if (present === undefined) throw gone(source, id);
    if (present.state === 'running')
      throw new AppError('conflict', `the backup ${id} is being made`, { hint: `wait for it: db backup list ${name}` });
    return { ...present, deleting: present.deleting ?? deps.now().toISOString() };
  });
  // Nobody has begun with it, and nothing of it is stored.
  if (after?.member === undefined) await deps.store.consul.kv.delete(key);
  const sentence = `the backup ${id} of ${name} is to be deleted`;
  await deps.events.record({ object: `db/${name}`, kind: 'info', reason: 'backup_deleted', sentence });
  return { sentence };
}

/** Of a database that is gone: from here. With the last one everything that is left in its stores goes. */
async function deleteKept(deps: DbDeps, source: BackupSource, record: BackupRecord): Promise<{ sentence: string }> {
  const { name, kept } = source;
  if (kept === undefined) throw gone(source, record.id);
  const rest = kept.value.backups.filter(({ id }) => id !== record.id);
  const places = await outsidePlaces(deps, source);
  for (const { store, shown } of places) {
    if (shown === record.store) await deleteFull(store, record.id);
    if (rest.some((other) => other.store === shown)) continue;
    const catalog = await readCatalog(store);
    if (catalog.fulls.length === 0) for (const { key } of await store.list('')) await store.delete(key);
  }
  if (rest.length === 0) await deps.store.consul.kv.delete(kept.key);
  else await deps.store.kept.update(kept.key, (present) => present && { ...present, backups: rest });
  const sentence = `the backup ${record.id} of ${name}, which is gone, is deleted`;
  await deps.events.record({ object: `db/${name}`, kind: 'info', reason: 'backup_deleted', sentence });
  return { sentence };
}

/** @throws AppError `in_use` naming the database that is being restored from the backup */
async function refuseNeeded({ store }: DbDeps, { name }: BackupSource, id: string): Promise<void> {
  for (const restoring of await restoredNow({ store }, name)) {
    if (restoring.backup !== id) continue;
    throw new AppError('in_use', `${restoring.name} is being restored from the backup ${id}`, { hint: `db status ${restoring.name}` });
  }
}

/** Databases that are being restored from backups of this one. */
export async function restoredNow({ store }: Pick<DbDeps, 'store'>, from: string): Promise<{ name: string; backup: string }[]> {
  const specs = await store.specs.list(DB_PREFIX, (key) => /^[^/]+\/spec$/.test(key.slice(DB_PREFIX.length)));
  const restored = specs.flatMap(({ value: { name, origin, destroyed } }) =>
    origin?.from === from && name !== from && destroyed === undefined ? [{ name, backup: origin.backup }] : [],
  );
  const births = await Promise.all(restored.map(({ name }) => store.births.get(dbKeys(name).birth)));
  return restored.filter((_, index) => births[index]?.value.done === false);
}

function backupOf(source: BackupSource, id: string): BackupRecord {
  const found = source.backups.find((each) => each.id === id);
  if (found === undefined) throw gone(source, id);
  return found;
}

function gone({ name, backups }: BackupSource, id: string): AppError {
  const ids = backups.filter((each) => each.id !== id).map((each) => each.id);
  return new AppError('not_found', `${name} has no backup ${JSON.stringify(id.slice(0, 60))}`, {
    hint: ids.length === 0 ? `db backup create ${name} makes one` : `it has ${ids.slice(-10).join(', ')}`,
  });
}

/** Pure. */
export function viewOf(record: BackupRecord): BackupView {
  const { gtid, at } = record;
  return { ...backupViewOf(record), at: at === undefined ? null : new Date(at * 1000).toISOString(), gtid: gtid ?? null };
}
