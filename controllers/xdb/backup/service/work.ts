import { join } from 'node:path';
import type { Place } from '#backup/place.ts';
import type { BackupRecords } from '#backup/records.ts';
import type { BackupStore } from '#backup/stores/store.ts';
import { messageOf } from '#core/errors.ts';
import { timeOfTransaction } from '../binlog/time.ts';
import { deleteFull } from '../catalog.ts';
import { sumTables } from '../checks.ts';
import { DOMAIN } from '../choose.ts';
import { makeFull } from '../full.ts';
import type { BackupMarker, BackupRecord } from '../schema.ts';
import { connectSql } from '../sql.ts';
import { verifyBackup } from '../verify.ts';
import type { BackupServiceDeps } from './deps.ts';

/** Longest time in which tables are counted after a backup, in milliseconds. */
const SUMS_BUDGET_MS = 10 * 60_000;
const SCRATCH_BYTES = 128 * 2 ** 20;

export interface Job {
  record: BackupRecord;
  place: Place;
  engineVersion: string;
  records: BackupRecords<BackupRecord>;
  /** Says how far it is. */
  progress(sentence: string): void;
  signal: AbortSignal;
}

/** @throws AppError; what became of it is in the record */
export async function doFull(
  deps: BackupServiceDeps,
  { record: { id }, place, engineVersion, records, progress, signal }: Job,
): Promise<void> {
  const { db, member, engine, paths, credentials, agentUser, log, now = () => new Date() } = deps;
  const { store, pack, shown, history } = place;
  const connect = () => connectSql({ socketPath: paths.engineSocket, user: agentUser, password: credentials()?.agent ?? '' });
  try {
    await records.change(id, (record) => ({ ...record, state: 'running', started: now().toISOString(), store: shown, history }));
    const marker = await makeFull({
      ...{ id, db, member, engine, store, pack, engineVersion, now, signal },
      timeOf: (gtid) => timeOfTransaction(join(paths.data, 'binlog.index'), gtid, DOMAIN).catch(() => undefined),
      sums: (stop) => sumTables({ connect, budgetMs: SUMS_BUDGET_MS, signal: stop }),
      progress(bytes) {
        progress(`${bytes} bytes are stored`);
        void records.change(id, (record) => (record.bytes === bytes ? undefined : { ...record, bytes })).catch(() => undefined);
      },
    });
    await records.change(id, (record) => ({ ...record, ...told(marker), state: 'done' }));
    log.info({ backup: id, gtid: marker.gtid, bytes: marker.bytes }, 'a full backup was made');
  } catch (error) {
    const failed = { state: 'failed', finished: now().toISOString(), error: messageOf(error).slice(0, 500) } as const;
    await records.change(id, (record) => ({ ...record, ...failed }));
    throw error;
  }
}

/** @param readable everything that can be read from here: the binlog may have been archived by another member */
export async function doVerify(deps: BackupServiceDeps, job: Job, readable: BackupStore): Promise<void> {
  const { member, engineAt, paths, log, now = () => new Date() } = deps;
  const { record, place, records, progress, signal } = job;
  const { id } = record;
  const set = (verdict: Partial<NonNullable<BackupRecord['verify']>>) =>
    records.change(id, (present) => ({
      ...present,
      verify: { state: 'running', ...present.verify, ...verdict, member, time: now().toISOString() },
    }));
  await set({ state: 'running' });
  try {
    const verdict = await verifyBackup({
      ...{ id, engineAt, progress, signal, store: readable, keyOf: place.keyOf, memoryBytes: SCRATCH_BYTES },
      folder: join(paths.volume, 'scratch'),
      runDir: '/tmp/xdb-verify',
    });
    await set({ state: 'done', ok: verdict.ok, sentence: verdict.sentence });
    log[verdict.ok ? 'info' : 'error']({ backup: id, sentence: verdict.sentence }, 'a backup was verified');
  } catch (error) {
    await set({ state: 'failed', sentence: messageOf(error).slice(0, 500) });
    throw error;
  }
}

export async function doDelete({ log }: BackupServiceDeps, { record: { id }, place, records }: Job): Promise<void> {
  await deleteFull(place.store, id);
  await records.remove(id);
  log.info({ backup: id }, 'a backup was deleted');
}

/** What a record says of a backup that was made. */
export function told({ started, finished, bytes, gtid, at, sha256, engineVersion, encrypted }: BackupMarker) {
  return { started, finished, bytes, gtid, at, sha256, engineVersion, encrypted };
}
