import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream';
import { type PackOptions, pack, unpack } from '#backup/envelope.ts';
import { createMeter } from '#backup/meter.ts';
import type { Place } from '#backup/place.ts';
import { type BackupStore, putText } from '#backup/stores/store.ts';
import { AppError } from '#core/errors.ts';
import { type BackupObject, backupKeys, deleteBackup } from './catalog.ts';
import type { Contents } from './contents.ts';
import { CacheBackupMarker } from './schema.ts';

export interface FullOptions {
  /** What the marker says that is known before. */
  about: Pick<CacheBackupMarker, 'id' | 'cache' | 'member' | 'engine' | 'engineVersion'>;
  contents: Contents;
  store: BackupStore;
  pack: PackOptions;
  /** @param bytes that are stored by now, of the part that is being stored */
  progress: (bytes: number, part: number) => void;
  now: () => Date;
  signal: AbortSignal;
}

type Stored = Pick<CacheBackupMarker, 'bytes' | 'sha256' | 'contentBytes'>;

const PROGRESS_MS = 1000;
/** Every file of either engine begins so. */
const MAGIC = /^(REDIS|VALKEY)\d+/;

/**
 * Stores all data of each engine as of one moment, one engine after another: each forks for it. The marker is written last; when anything fails, nothing is left.
 *
 * @throws AppError of the engine or the store
 */
export async function makeFull(options: FullOptions): Promise<CacheBackupMarker> {
  const { about, contents, store, pack: how, now, signal } = options;
  const keys = backupKeys(about.id);
  const started = now().toISOString();
  const made: { stored: Stored; member: string; usedBytes: number; time: string; shard: Contents['parts'][number]['shard'] }[] = [];
  try {
    for (const { shard, open } of contents.parts) {
      const time = now().toISOString();
      const { content, member, usedBytes } = await open();
      const key = shard === undefined ? keys.data : keys.shard(shard.shard);
      made.push({ stored: await putPart(content, key, options, made), member, usedBytes, time, shard });
    }
    await contents.check();
    const parts = made.flatMap(({ stored, shard, ...rest }) =>
      shard === undefined ? [] : [{ shard: shard.shard, slots: [...shard.slots], ...rest, ...stored }],
    );
    const [first] = made;
    if (first === undefined) throw new AppError('internal', 'a backup of nothing was asked for');
    const marker: CacheBackupMarker = {
      ...{ v: 1, ...about, started, finished: now().toISOString(), encrypted: how.key !== undefined },
      ...(contents.shards === undefined ? first.stored : together(parts)),
      usedBytes: made.reduce((sum, { usedBytes }) => sum + usedBytes, 0),
      ...(contents.shards === undefined ? {} : { cluster: { shards: contents.shards, parts } }),
    };
    signal.throwIfAborted();
    await putText(store, keys.marker, JSON.stringify(CacheBackupMarker.parse(marker)));
    return marker;
  } catch (error) {
    await deleteBackup(store, about.id).catch(() => undefined);
    throw error;
  }
}

async function putPart(
  from: Readable,
  key: string,
  { store, pack: how, progress, signal }: FullOptions,
  before: readonly { stored: Stored }[],
): Promise<Stored> {
  const content = createMeter();
  const stored = createMeter();
  const already = before.reduce((sum, { stored: { bytes } }) => sum + bytes, 0);
  const timer = setInterval(() => progress(already + stored.bytes(), before.length), PROGRESS_MS);
  try {
    // What breaks on the way is told by whoever reads what comes out.
    const metered = pipeline(from, content.stream, () => undefined);
    const packed = pack(metered as unknown as Readable, how);
    packed.on('error', (error) => stored.stream.destroy(error));
    stored.stream.on('error', () => undefined);
    const { bytes } = await store.put(key, packed.pipe(stored.stream), { signal });
    if (bytes !== stored.bytes()) throw new AppError('engine', `the store took ${bytes} bytes of ${stored.bytes()}`);
    return { bytes, sha256: stored.sha256(), contentBytes: content.bytes() };
  } finally {
    clearInterval(timer);
  }
}

function together(parts: readonly Stored[]): Stored {
  const sum = (of: 'bytes' | 'contentBytes') => parts.reduce((total, part) => total + part[of], 0);
  const sha256 = createHash('sha256').update(parts.map((part) => part.sha256).join(''));
  return { bytes: sum('bytes'), sha256: sha256.digest('hex'), contentBytes: sum('contentBytes') };
}

/**
 * The engine's file again, as it was: an object that was changed or cut off does not come to its end.
 *
 * @throws AppError of the store; `invalid` where it is damaged or its key is not there
 */
export async function openFull(
  { store, keyOf }: Pick<Place, 'store' | 'keyOf'>,
  { id, key, bytes, sha256 }: BackupObject,
  signal: AbortSignal,
): Promise<{ content: Readable; check(): void }> {
  const meter = createMeter();
  const object = await store.get(key, { signal });
  const checked = pipeline(object, meter.stream, () => undefined) as unknown as Readable;
  const content = await unpack(checked, keyOf);
  return {
    content,
    /** After the end: whether it was the object that the marker names. */
    check() {
      if (meter.bytes() === bytes && meter.sha256() === sha256) return;
      throw new AppError('invalid', `the backup ${id} is damaged: it is not what was written`, {
        hint: 'restore from another one: cache backup list NAME',
      });
    },
  };
}

/** Whether these are the first bytes of an engine's file. */
export function isSnapshot(head: Buffer): boolean {
  return MAGIC.test(head.toString('latin1', 0, 9));
}
