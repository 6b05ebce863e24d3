import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Job } from '#backup/jobs.ts';
import type { Place } from '#backup/place.ts';
import type { BackupRecords } from '#backup/records.ts';
import { AppError, messageOf } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import { deleteBackup, expired, objectsOf, readCatalog, readMarker } from './catalog.ts';
import type { Contents } from './contents.ts';
import { fetchSnapshot } from './fetch.ts';
import { makeFull } from './full.ts';
import type { CacheBackupMarker, CacheBackupRecord } from './schema.ts';
import type { CacheSituation } from './situation.ts';

export interface WorkDeps {
  cache: string;
  member: string;
  records: BackupRecords<CacheBackupRecord>;
  /** All data of this member's engine, or, of a cluster, those of one engine a shard. @throws AppError */
  contents(job: Pick<CacheJob, 'present' | 'progress' | 'signal'>): Promise<Contents>;
  /** Folder for files that are looked at and thrown away. */
  scratch: string;
  log: Logger;
  now: () => Date;
}

export type CacheJob = Job<CacheBackupRecord, CacheSituation>;

/** @throws AppError; what became of it is in the record */
export async function doFull(deps: WorkDeps, { record: { id }, place, present, progress, signal }: CacheJob): Promise<void> {
  const { cache, member, records, log, now } = deps;
  const { store, pack, shown, history } = place;
  const { spec, engineVersion } = present;
  try {
    await records.change(id, (record) => ({ ...record, state: 'running', started: now().toISOString(), store: shown, history }));
    const contents = await deps.contents({ present, progress, signal });
    const count = contents.parts.length;
    const marker = await makeFull({
      ...{ store, pack, now, signal, contents },
      about: { id, cache, member, engine: spec.engine, engineVersion },
      progress(bytes, part) {
        progress(`${bytes} bytes are stored${count > 1 ? `, ${part} of ${count} shards` : ''}`);
        void records.change(id, (record) => (record.bytes === bytes ? undefined : { ...record, bytes })).catch(() => undefined);
      },
    });
    await records.change(id, (record) => ({ ...record, ...told(marker), state: 'done' }));
    log.info({ backup: id, bytes: marker.bytes }, 'a backup was made');
  } catch (error) {
    const failed = { state: 'failed', finished: now().toISOString(), error: messageOf(error).slice(0, 500) } as const;
    await records.change(id, (record) => ({ ...record, ...failed }));
    throw error;
  }
}

/** Fetches it anew and has the engine's checker read all of it. */
export async function doVerify(deps: WorkDeps, { record: { id }, place, present, progress, signal }: CacheJob): Promise<void> {
  const { member, records, scratch, log, now } = deps;
  const path = join(scratch, `${id}.rdb`);
  const set = (verdict: Partial<NonNullable<CacheBackupRecord['verify']>>) =>
    records.change(id, (record) => ({
      ...record,
      verify: { state: 'running', ...record.verify, ...verdict, member, time: now().toISOString() },
    }));
  await set({ state: 'running' });
  try {
    progress('it is fetched and read');
    let keys = 0;
    for (const object of objectsOf(await readMarker(place.store, id)))
      keys += await fetchSnapshot({ place, object, engine: present.spec.engine, path, signal });
    await set({ state: 'done', ok: true, sentence: `it was fetched and read to its end: ${keys} keys` });
    log.info({ backup: id, keys }, 'a backup was verified');
  } catch (error) {
    const damaged = error instanceof AppError && (error.code === 'invalid' || error.code === 'not_found');
    await set(
      damaged ? { state: 'done', ok: false, sentence: error.message } : { state: 'failed', sentence: messageOf(error).slice(0, 500) },
    );
    if (!damaged) throw error;
    log.error({ backup: id, err: error.message }, 'a backup is damaged');
  } finally {
    await rm(path, { force: true });
  }
}

export async function doDelete({ records, log }: WorkDeps, { record: { id }, place }: CacheJob): Promise<void> {
  await deleteBackup(place.store, id);
  await records.remove(id);
  log.info({ backup: id }, 'a backup was deleted');
}

/** Deletes what is beyond the number to be kept; what is stored and in no record gets one (records may have been lost). */
export async function keepToPlan(
  { cache, member, records, log, now }: WorkDeps,
  { place, known, keep, busy }: { place: Place; known: readonly CacheBackupRecord[]; keep: number; busy: string | undefined },
): Promise<void> {
  const { store, perMember, shown, history } = place;
  const catalog = await readCatalog(store);
  for (const marker of catalog.fulls) {
    if (known.some(({ id }) => id === marker.id)) continue;
    await records.create({
      ...{ v: 1, cache, id: marker.id, kind: 'full', by: 'found', state: 'done', created: marker.started, store: shown, history },
      ...told(marker),
      member: perMember ? member : marker.member,
    });
    log.info({ backup: marker.id }, 'a backup was found that no record named');
  }
  const isHere = (id: string) => catalog.fulls.some((marker) => marker.id === id);
  const elsewhere = known.filter(({ id, state }) => state === 'done' && !isHere(id));
  const fulls = [...catalog.fulls, ...elsewhere].sort((a, b) => (a.finished ?? '').localeCompare(b.finished ?? ''));
  const running = known.filter(({ state }) => state === 'running' || state === 'asked').map(({ id }) => id);
  const gone = expired({ fulls, unfinished: catalog.unfinished }, { keep, running, now: now() });
  for (const id of gone.fulls.filter((each) => isHere(each) && each !== busy)) {
    await deleteBackup(store, id);
    await records.remove(id);
    log.info({ backup: id }, 'a backup is beyond what is to be kept');
  }
  for (const key of gone.objects) await store.delete(key);
  await store.tidy(now());
}

/** What a record says of a backup that was made. */
function told({ started, finished, bytes, sha256, engine, engineVersion, usedBytes, encrypted, cluster }: CacheBackupMarker) {
  const ofCluster =
    cluster === undefined ? {} : { shards: cluster.shards, shardBytes: Math.max(...cluster.parts.map((part) => part.usedBytes)) };
  return { started, finished, bytes, sha256, engine, engineVersion, usedBytes, encrypted, ...ofCluster };
}
