import { newBackupId } from '#backup/ids.ts';
import { placeOf, VOLUME } from '#backup/place.ts';
import { type PlanChange, planSentence, withBackupKey, withPlan, withStore } from '#backup/plan.ts';
import { checkSchedule } from '#backup/schedule.ts';
import type { BackupPlan } from '#backup/schema.ts';
import { splitStore } from '#backup/stores/url.ts';
import { type BackupViewBase, backupSentence, backupViewOf } from '#backup/view.ts';
import { createRecords } from '#core/consul/records.ts';
import { AppError } from '#core/errors.ts';
import { askMember } from '#pool/service-living.ts';
import { ABOVE, deleteBackup as deleteStored } from '#xcache/backup/catalog.ts';
import { CacheBackupRecord } from '#xcache/backup/schema.ts';
import { cacheVault } from '#xcache/credentials.ts';
import type { CacheRecords } from '#xcache/observe.ts';
import type { CacheDeps } from '#xcache/operations/deps.ts';
import { livingRecords, livingSpec } from '#xcache/operations/living.ts';
import { CACHE_PREFIX, cacheKeys } from '#xcache/store.ts';

/** Backups as the API shows and asks for them. They are made, verified and deleted by the sidecars of the members, whom records tell what to do. */

export interface CacheBackupView extends BackupViewBase {
  engine: string | null;
  /** Bytes of memory that the data took. */
  usedBytes: number | null;
  /** Of a cluster: how many. */
  shards: number | null;
}

const PROBE_MS = 60_000;

/**
 * Asks for a backup. A replica makes it, or the master where there is none; of a cluster one of its members, from a replica of each shard.
 *
 * @throws AppError `conflict` while another one is being made; `unavailable` while nobody leads, or slots are nobody's
 */
export async function createBackup(deps: CacheDeps, name: string): Promise<CacheBackupView> {
  const records = await livingRecords(deps, name);
  const { value: spec } = records.spec;
  workerOf(records);
  const busy = (await backupsOf(deps, name)).find(
    ({ state, deleting }) => deleting === undefined && (state === 'asked' || state === 'running'),
  );
  if (busy !== undefined)
    throw new AppError('conflict', `the backup ${busy.id} of ${name} is being made`, { hint: `cache backup list ${name}` });
  await cacheVault.change(deps, name, withBackupKey);
  const now = deps.now();
  const record: CacheBackupRecord = {
    ...{ v: 1, id: newBackupId(now), cache: name, kind: 'full', by: 'user', state: 'asked', created: now.toISOString(), bytes: 0 },
    store: spec.backup.store,
  };
  await recordsOf(deps).cas(cacheKeys(name).backup(record.id), record, 0);
  return viewOf(record);
}

/** Also of one that was destroyed, while its records are kept. */
export async function listBackups(deps: CacheDeps, name: string) {
  const { value: spec } = await deps.store.spec(name);
  const { store, schedule, keep, verify } = spec.backup;
  return {
    ...{ name, plan: { store, schedule: schedule ?? null, keep, verify: verify ?? null } },
    backups: (await backupsOf(deps, name)).map(viewOf),
    note: spec.destroyed === undefined ? '' : `${name} was destroyed at ${spec.destroyed.time}`,
  };
}

/** @throws AppError `not_found` naming what there is */
export async function readBackup(deps: CacheDeps, name: string, id: string): Promise<CacheBackupView> {
  await deps.store.spec(name);
  return viewOf(await expectBackup(deps, name, id));
}

/** Asks for a backup to be fetched and read through. @param id the newest one when not given */
export async function verifyBackup(deps: CacheDeps, name: string, id: string | undefined): Promise<CacheBackupView> {
  await livingSpec(deps, name);
  const wanted = id === undefined ? await newestBackup(deps, name) : await expectBackup(deps, name, id);
  if (wanted.state !== 'done') throw new AppError('conflict', backupSentence(wanted), { hint: `cache backup list ${name}` });
  const asked = await recordsOf(deps).update(cacheKeys(name).backup(wanted.id), (present) => {
    if (present === undefined || present.verify?.state === 'asked' || present.verify?.state === 'running') return undefined;
    return { ...present, verify: { state: 'asked', time: deps.now().toISOString() } };
  });
  return viewOf(asked ?? wanted);
}

/** Deletes a backup, by the member that has it. @throws AppError `conflict` while it is made, `in_use` while a cache is restored from it */
export async function deleteBackup(deps: CacheDeps, name: string, id: string): Promise<{ sentence: string }> {
  const { value: spec } = await deps.store.spec(name);
  const record = await expectBackup(deps, name, id);
  const restoring = await restoredNow(deps, name, id);
  if (restoring !== undefined)
    throw new AppError('in_use', `${restoring} is being restored from the backup ${id}`, { hint: `cache status ${restoring}` });
  if (record.state === 'running')
    throw new AppError('conflict', `the backup ${id} is being made`, { hint: `wait for it: cache backup list ${name}` });
  if (spec.destroyed !== undefined) {
    if (record.store === VOLUME)
      throw new AppError('conflict', `the backup ${id} goes with the data of ${name}`, { hint: `cache destroy ${name} --purge` });
    const place = placeOf(spec, await cacheVault.read(deps, name), { volume: '', address: record.store, above: ABOVE });
    await deleteStored(place.store, id);
  }
  const key = cacheKeys(name).backup(id);
  // Nobody has begun with it, or nobody is there who could.
  if (record.member === undefined || spec.destroyed !== undefined) await deps.store.consul.kv.delete(key);
  else await recordsOf(deps).update(key, (present) => present && { ...present, deleting: present.deleting ?? deps.now().toISOString() });
  const sentence = `the backup ${id} of ${name} is to be deleted`;
  await deps.events.record({ object: `cache/${name}`, kind: 'info', reason: 'backup_deleted', sentence });
  return { sentence };
}

/**
 * Says where backups go, when they are made and verified, and how many are kept. A new store is tried out by the master's member before anything is written.
 *
 * @throws AppError `usage` for nothing; `invalid` for a schedule or a store's address; what the store says when it is tried out
 */
export async function setBackupPlan(deps: CacheDeps, name: string, request: PlanChange): Promise<BackupPlan & { sentence: string }> {
  const { store: place, schedule, keep, verify } = request;
  if (place === undefined && schedule === undefined && keep === undefined && verify === undefined)
    throw new AppError('usage', 'nothing was said that is to change', { hint: 'give --to, --schedule, --keep or --verify' });
  for (const each of [schedule, verify]) if (each !== undefined && each !== '') checkSchedule(each);
  const wanted = place === undefined ? undefined : splitStore(place.trim());
  const records = await livingRecords(deps, name);
  if (wanted !== undefined && wanted.store !== VOLUME) {
    const body = { store: wanted.store, account: wanted.credentials };
    await askMember(deps, records, workerOf(records), { method: 'POST', path: '/backup/probe', body, timeoutMs: PROBE_MS });
  }
  // The account first: whoever reads of the store can use it.
  const before = records.spec.value.backup.store;
  const given =
    wanted === undefined ? undefined : await cacheVault.change(deps, name, (present) => withBackupKey(withStore(present, before, wanted)));
  const { backup } = await deps.store.change(name, (present) => ({
    ...present,
    backup: withPlan(present.backup, { store: wanted?.store, schedule, keep, verify }, given?.serial),
  }));
  const sentence = planSentence(name, backup);
  await deps.events.record({ object: `cache/${name}`, kind: 'info', reason: 'backup_plan', sentence });
  deps.markDirty(name);
  return { ...backup, sentence };
}

/** Oldest first. */
export async function backupsOf(deps: CacheDeps, name: string): Promise<CacheBackupRecord[]> {
  const found = await recordsOf(deps).list(cacheKeys(name).backupsPrefix);
  return found.map(({ value }) => value).toSorted((a, b) => a.id.localeCompare(b.id));
}

/** @throws AppError `not_found` naming what there is */
export async function expectBackup(deps: CacheDeps, name: string, id: string): Promise<CacheBackupRecord> {
  const all = await backupsOf(deps, name);
  const found = all.find((each) => each.id === id);
  if (found !== undefined) return found;
  throw new AppError('not_found', `${name} has no backup ${JSON.stringify(id.slice(0, 60))}`, {
    hint:
      all.length === 0
        ? `cache backup create ${name} makes one`
        : `it has ${all
            .slice(-10)
            .map((each) => each.id)
            .join(', ')}`,
  });
}

/** @throws AppError `not_found` */
export async function newestBackup(deps: CacheDeps, name: string): Promise<CacheBackupRecord> {
  const newest = (await backupsOf(deps, name)).findLast(({ state, deleting }) => state === 'done' && deleting === undefined);
  if (newest === undefined)
    throw new AppError('not_found', `${name} has no complete backup`, { hint: `cache backup create ${name} makes one` });
  return newest;
}

async function restoredNow({ store }: CacheDeps, from: string, backup: string): Promise<string | undefined> {
  const specs = await store.specs.list(CACHE_PREFIX, (key) => /^[^/]+\/spec$/.test(key.slice(CACHE_PREFIX.length)));
  for (const { value } of specs) {
    if (value.origin?.from !== from || value.origin.backup !== backup || value.destroyed !== undefined) continue;
    const { birth, cluster } = cacheKeys(value.name);
    const isThere =
      value.mode === 'cluster' ? (await store.clusters.get(cluster))?.value.born : (await store.births.get(birth))?.value.done;
    if (isThere !== true) return value.name;
  }
  return undefined;
}

/** @returns who can be asked about backups: the master; of a cluster, whose sidecar puts it right. @throws AppError `unavailable` */
function workerOf({ spec: { value: spec }, lead, cluster, sidecars }: CacheRecords): string {
  const hint = `cache status ${spec.name}`;
  if (spec.mode !== 'cluster') {
    if (lead?.state === 'open') return lead.master.id;
    throw new AppError('unavailable', `nobody takes writes for ${spec.name} now`, { hint });
  }
  const holder = sidecars.find(({ member }) => member === cluster?.holder) ?? sidecars[0];
  if (cluster?.born === true && cluster.state !== 'down' && holder !== undefined) return holder.member;
  throw new AppError('unavailable', `${spec.name} cannot be backed up now: ${cluster?.sentence ?? 'it is being made'}`, { hint });
}

const recordsOf = ({ store }: CacheDeps) => createRecords(store.consul, CacheBackupRecord);

/** Pure. */
export function viewOf(record: CacheBackupRecord): CacheBackupView {
  return { ...backupViewOf(record), engine: record.engine ?? null, usedBytes: record.usedBytes ?? null, shards: record.shards ?? null };
}
