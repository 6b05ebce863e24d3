import type { Place } from '#backup/place.ts';
import type { BackupRecords } from '#backup/records.ts';
import { deleteFull, readCatalog } from '../catalog.ts';
import { expired } from '../retention.ts';
import type { BackupMarker, BackupRecord } from '../schema.ts';
import type { BackupServiceDeps } from './deps.ts';
import { told } from './work.ts';

/**
 * Brings what is stored and what the plan wants together: what is beyond the number to be kept is deleted, with its binlog; what is stored and in no record
 * gets one (records may have been lost).
 *
 * @param busy backup that this member works on
 */
export async function keepToPlan(
  { db, member, log, now = () => new Date() }: BackupServiceDeps,
  {
    place,
    known,
    records,
    keep,
    busy,
  }: { place: Place; known: readonly BackupRecord[]; records: BackupRecords<BackupRecord>; keep: number; busy: string | undefined },
): Promise<void> {
  const { store, perMember, shown, history } = place;
  const catalog = await readCatalog(store);
  for (const marker of catalog.fulls) {
    if (known.some(({ id }) => id === marker.id)) continue;
    const record: BackupRecord = {
      v: 1,
      ...told(marker),
      id: marker.id,
      db,
      kind: 'full',
      by: 'found',
      state: 'done',
      created: marker.started,
      store: shown,
    };
    await records.create({ ...record, member: perMember ? member : marker.member, history });
    log.info({ backup: marker.id }, 'a backup was found that no record named');
  }
  const isHere = (id: string) => catalog.fulls.some((marker) => marker.id === id);
  const elsewhere = known.flatMap((record) => (isHere(record.id) ? [] : (asMarker(record) ?? [])));
  const fulls = [...catalog.fulls, ...elsewhere].sort((a, b) => a.finished.localeCompare(b.finished));
  const running = known.filter(({ state }) => state === 'running' || state === 'asked').map(({ id }) => id);
  const gone = expired({ ...catalog, fulls }, { keep, running, now: now() });
  for (const id of gone.fulls.filter((each) => isHere(each) && each !== busy)) {
    await deleteFull(store, id);
    await records.remove(id);
    log.info({ backup: id }, 'a backup is beyond what is to be kept');
  }
  for (const key of gone.objects) await store.delete(key);
  await store.tidy(now());
}

/** What retention needs of a backup that lies elsewhere. */
function asMarker(record: BackupRecord): BackupMarker | undefined {
  const { id, db, member = '', started, finished, gtid, at, bytes } = record;
  if (record.state !== 'done' || finished === undefined || gtid === undefined || at === undefined) return undefined;
  const rest = { flavor: 'mariadb', engineVersion: '', sha256: '', contentBytes: bytes, encrypted: true } as const;
  return { v: 1, id, db, member, started: started ?? finished, finished, gtid, at, bytes, ...rest };
}
