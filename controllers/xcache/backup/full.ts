import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream';
import { type PackOptions, pack, unpack } from '#backup/envelope.ts';
import { createMeter } from '#backup/meter.ts';
import type { Place } from '#backup/place.ts';
import { type BackupStore, putText } from '#backup/stores/store.ts';
import { AppError } from '#core/errors.ts';
import { backupKeys, deleteBackup } from './catalog.ts';
import { CacheBackupMarker } from './schema.ts';

export interface FullOptions {
  /** What the marker says that is known before. */
  about: Pick<CacheBackupMarker, 'id' | 'cache' | 'member' | 'engine' | 'engineVersion' | 'usedBytes'>;
  /** Opens the engine's snapshot. */
  source: () => Promise<Readable>;
  store: BackupStore;
  pack: PackOptions;
  progress: (bytes: number) => void;
  now: () => Date;
  signal: AbortSignal;
}

const PROGRESS_MS = 1000;
/** Every file of either engine begins so. */
const MAGIC = /^(REDIS|VALKEY)\d+/;

/**
 * Stores all data of an engine as of one moment. The marker is written last; when anything fails, nothing is left.
 *
 * @throws AppError of the engine or the store
 */
export async function makeFull({ about, source, store, pack: how, progress, now, signal }: FullOptions): Promise<CacheBackupMarker> {
  const keys = backupKeys(about.id);
  const started = now();
  const content = createMeter();
  const stored = createMeter();
  const timer = setInterval(() => progress(stored.bytes()), PROGRESS_MS);
  try {
    const from = await source();
    // What breaks on the way is told by whoever reads what comes out.
    const metered = pipeline(from, content.stream, () => undefined);
    const packed = pack(metered as unknown as Readable, how);
    packed.on('error', (error) => stored.stream.destroy(error));
    stored.stream.on('error', () => undefined);
    const { bytes } = await store.put(keys.data, packed.pipe(stored.stream), { signal });
    if (bytes !== stored.bytes()) throw new AppError('engine', `the store took ${bytes} bytes of ${stored.bytes()}`);
    const marker: CacheBackupMarker = {
      ...{ v: 1, ...about, started: started.toISOString(), finished: now().toISOString() },
      ...{ bytes, sha256: stored.sha256(), contentBytes: content.bytes(), encrypted: how.key !== undefined },
    };
    signal.throwIfAborted();
    await putText(store, keys.marker, JSON.stringify(CacheBackupMarker.parse(marker)));
    return marker;
  } catch (error) {
    await deleteBackup(store, about.id).catch(() => undefined);
    throw error;
  } finally {
    clearInterval(timer);
  }
}

/**
 * The engine's file again, as it was: an object that was changed or cut off does not come to its end.
 *
 * @throws AppError of the store; `invalid` where it is damaged or its key is not there
 */
export async function openFull(
  { store, keyOf }: Pick<Place, 'store' | 'keyOf'>,
  marker: Pick<CacheBackupMarker, 'id' | 'bytes' | 'sha256'>,
  signal: AbortSignal,
): Promise<{ content: Readable; check(): void }> {
  const meter = createMeter();
  const object = await store.get(backupKeys(marker.id).data, { signal });
  const checked = pipeline(object, meter.stream, () => undefined) as unknown as Readable;
  const content = await unpack(checked, keyOf);
  return {
    content,
    /** After the end: whether it was the object that the marker names. */
    check() {
      if (meter.bytes() === marker.bytes && meter.sha256() === marker.sha256) return;
      throw new AppError('invalid', `the backup ${marker.id} is damaged: it is not what was written`, {
        hint: 'restore from another one: cache backup list NAME',
      });
    },
  };
}

/** Whether these are the first bytes of an engine's file. */
export function isSnapshot(head: Buffer): boolean {
  return MAGIC.test(head.toString('latin1', 0, 9));
}
