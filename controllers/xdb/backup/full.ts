import { PassThrough } from 'node:stream';
import { type PackOptions, pack } from '#backup/envelope.ts';
import { createMeter } from '#backup/meter.ts';
import { type BackupStore, putText } from '#backup/stores/store.ts';
import { AppError } from '#core/errors.ts';
import type { Engine } from '#xdb/engine/engine.ts';
import { deleteFull, fullKeys } from './catalog.ts';
import { BackupCheck, BackupMarker } from './schema.ts';

export interface FullOptions {
  id: string;
  db: string;
  member: string;
  engine: Pick<Engine, 'dump' | 'flavor'>;
  engineVersion: string;
  store: BackupStore;
  pack: PackOptions;
  /** Seconds since 1970 of a transaction of this member's binlog, undefined when it cannot be told. */
  timeOf: (gtid: string) => Promise<number | undefined>;
  /** Sums of tables at a moment at or after the end of the dump; undefined where nothing is compared. */
  sums: ((signal: AbortSignal) => Promise<BackupCheck>) | undefined;
  progress: (bytes: number) => void;
  now?: () => Date;
  signal: AbortSignal;
}

const PROGRESS_MS = 1000;

/**
 * Makes a full backup of this member's data while it works. The marker is written last; when anything fails, nothing is left.
 *
 * @throws AppError of the engine or the store
 */
export async function makeFull(options: FullOptions): Promise<BackupMarker> {
  const { id, db, member, engine, engineVersion, store, timeOf, sums, progress, now = () => new Date(), signal } = options;
  const keys = fullKeys(id);
  const started = now();
  const content = createMeter();
  const stored = createMeter();
  const timer = setInterval(() => progress(stored.bytes()), PROGRESS_MS);
  try {
    const source = new PassThrough({ highWaterMark: 1024 * 1024 });
    // What broke is told by the dump and the store; what breaks of it on the way has nobody else to listen, and would end the program.
    for (const each of [source, content.stream, stored.stream]) each.on('error', () => undefined);
    const packed = pack(source.pipe(content.stream), options.pack);
    packed.on('error', (error) => stored.stream.destroy(error));
    const writing = store.put(keys.data, packed.pipe(stored.stream), { signal });
    // A store that fails must end the dump, and a dump that fails must not become a complete object.
    writing.catch((error) => source.destroy(error));
    const dumping = engine.dump(source, { signal }).then(
      (done) => {
        source.end();
        return done;
      },
      (error) => {
        content.stream.destroy(error);
        throw error;
      },
    );
    const [dumped, written] = await Promise.allSettled([dumping, writing]);
    if (written.status === 'rejected' && !content.stream.errored) throw written.reason;
    if (dumped.status === 'rejected') throw dumped.reason;
    if (written.status === 'rejected') throw written.reason;
    if (written.value.bytes !== stored.bytes()) {
      throw new AppError('engine', `the store took ${written.value.bytes} bytes of ${stored.bytes()}`);
    }
    const { gtid } = dumped.value;
    const finished = now();
    if (sums !== undefined) await putText(store, keys.check, JSON.stringify(BackupCheck.parse(await sums(signal))));
    const marker: BackupMarker = {
      v: 1,
      id,
      db,
      member,
      flavor: engine.flavor,
      engineVersion,
      started: started.toISOString(),
      finished: finished.toISOString(),
      gtid,
      at: (await timeOf(gtid)) ?? Math.ceil(finished.getTime() / 1000),
      bytes: stored.bytes(),
      sha256: stored.sha256(),
      contentBytes: content.bytes(),
      encrypted: options.pack.key !== undefined,
    };
    signal.throwIfAborted();
    await putText(store, keys.marker, JSON.stringify(BackupMarker.parse(marker)));
    return marker;
  } catch (error) {
    await deleteFull(store, id).catch(() => undefined);
    throw error;
  } finally {
    clearInterval(timer);
  }
}
