import { timeOfId, UNFINISHED_MS } from '#backup/ids.ts';
import { type BackupStore, getText } from '#backup/stores/store.ts';
import { AppError, hasCode } from '#core/errors.ts';
import type { CacheSpec } from '#xcache/schema.ts';
import { type BackupShard, CacheBackupMarker } from './schema.ts';

const PREFIX = 'full/';
const MARKER = /^full\/([^/]+)\/backup\.json$/;
/** Folder of caches in a store that databases use as well. */
export const ABOVE = 'cache/';

export const backupKeys = (id: string) => ({
  folder: `${PREFIX}${id}/`,
  data: `${PREFIX}${id}/data`,
  shard: (shard: number) => `${PREFIX}${id}/shard-${shard}`,
  marker: `${PREFIX}${id}/backup.json`,
});

/** One object of a backup: an engine's file, packed. */
export interface BackupObject {
  /** Of the backup. */
  id: string;
  key: string;
  bytes: number;
  sha256: string;
}

/** Pure: what a backup consists of beside its marker, those of a cluster in the order of its shards. */
export function objectsOf({ id, bytes, sha256, cluster }: CacheBackupMarker): BackupObject[] {
  if (cluster === undefined) return [{ id, key: backupKeys(id).data, bytes, sha256 }];
  return cluster.parts.map((part) => shardObject(id, part));
}

/** Pure: the object of one shard. */
export function shardObject(id: string, { shard, bytes, sha256 }: BackupShard): BackupObject {
  return { id, key: backupKeys(id).shard(shard), bytes, sha256 };
}

/** Everything that one history of a cache has in a store. */
export interface Catalog {
  /** Complete backups, oldest first. */
  fulls: CacheBackupMarker[];
  /** Objects of backups that have no marker: being made, or left behind. */
  unfinished: { id: string; key: string }[];
}

/** @throws AppError of the store; a marker that cannot be read is as good as none */
export async function readCatalog(store: BackupStore): Promise<Catalog> {
  const objects = await store.list(PREFIX);
  const fulls: CacheBackupMarker[] = [];
  for (const { key } of objects) {
    const marker = MARKER.test(key) ? await markerAt(store, key) : undefined;
    // What is smaller or larger than it was cannot be whole: it is not offered.
    const isHere = (wanted: BackupObject) => objects.some((object) => object.key === wanted.key && object.bytes === wanted.bytes);
    if (marker !== undefined && objectsOf(marker).every(isHere)) fulls.push(marker);
  }
  const complete = new Set(fulls.map(({ id }) => id));
  const unfinished = objects.flatMap(({ key }) => {
    const id = /^full\/([^/]+)\//.exec(key)?.[1];
    return id === undefined || complete.has(id) ? [] : [{ id, key }];
  });
  return { fulls: fulls.sort((a, b) => a.finished.localeCompare(b.finished)), unfinished };
}

/** @throws AppError `not_found`; `invalid` when what says what the backup is cannot be read */
export async function readMarker(store: BackupStore, id: string): Promise<CacheBackupMarker> {
  const marker = await markerAt(store, backupKeys(id).marker);
  if (marker === undefined) throw new AppError('not_found', `there is no complete backup ${id} in ${store.name}`);
  return marker;
}

async function markerAt(store: BackupStore, key: string): Promise<CacheBackupMarker | undefined> {
  try {
    const parsed = CacheBackupMarker.safeParse(JSON.parse(await getText(store, key)));
    return parsed.success && MARKER.exec(key)?.[1] === parsed.data.id ? parsed.data : undefined;
  } catch (error) {
    if (hasCode(error, 'not_found') || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** The marker goes first: what is deleted half is not there. */
export async function deleteBackup(store: BackupStore, id: string): Promise<void> {
  const { folder, marker } = backupKeys(id);
  await store.delete(marker);
  for (const { key } of await store.list(folder)) await store.delete(key);
}

/** Pure: ids of backups that are beyond the number to be kept, and keys of what failed long ago. @param known of other places too, oldest first */
export function expired(
  { fulls, unfinished }: { fulls: readonly { id: string }[]; unfinished: Catalog['unfinished'] },
  { keep, running, now }: { keep: number; running: readonly string[]; now: Date },
): { fulls: string[]; objects: string[] } {
  return {
    fulls: fulls.slice(0, Math.max(0, fulls.length - keep)).map(({ id }) => id),
    objects: unfinished.flatMap(({ id, key }) => (!running.includes(id) && now.getTime() - timeOfId(id) > UNFINISHED_MS ? [key] : [])),
  };
}

/** Of a backup, what decides whether a cache can take it up. */
export interface Fitting {
  id: string;
  engine: CacheSpec['engine'];
  engineVersion: string;
  /** What one master has to hold of it. */
  usedBytes: number;
  /** Of a cluster. */
  shards: number | undefined;
}

/**
 * Whether a cache can take up a backup.
 *
 * @param cache.room of each master
 * @throws AppError `invalid` for another engine's, another number of shards, or more than there is room for
 */
export function refuseUnfitBackup(
  backup: Fitting,
  cache: Pick<CacheSpec, 'name' | 'engine' | 'mode'> & { shards: number | undefined; room: number },
): void {
  const { id, engineVersion, usedBytes } = backup;
  const { name, engine, room } = cache;
  if (backup.engine !== engine)
    throw new AppError('invalid', `the backup ${id} was made by ${backup.engine} ${engineVersion}, and ${name} is ${engine}`, {
      hint: `the two engines do not read each other's files: add --opt engine=${backup.engine}`,
    });
  refuseShards(backup, cache);
  if (usedBytes > room) {
    const what = backup.shards === undefined ? `the backup ${id} took` : `a shard of the backup ${id} took`;
    const where = backup.shards === undefined ? name : `a master of ${name}`;
    throw new AppError('invalid', `${what} ${usedBytes} bytes of memory, and ${where} has room for ${room}`, {
      hint: 'give more --memory',
    });
  }
}

/** Each shard begins with the file of one: slots are moved by a cluster that runs. */
function refuseShards(
  { id, shards }: Fitting,
  { name, mode, shards: wanted }: Pick<CacheSpec, 'name' | 'mode'> & { shards: number | undefined },
): void {
  const of = shards === undefined ? 'of a cache with one master' : `of a cluster of ${shards} shards`;
  if ((shards === undefined) === (mode === 'cluster'))
    throw new AppError('invalid', `the backup ${id} is ${of}, and ${name} is ${mode === 'cluster' ? 'a cluster' : mode}`, {
      hint: 'leave --mode away: it becomes what the other one was',
    });
  if (shards !== undefined && wanted !== undefined && wanted !== shards)
    throw new AppError('invalid', `the backup ${id} is ${of}, and ${name} is to have ${wanted}`, {
      hint: `leave --shards away, and when it is there: cache scale ${name} --shards ${wanted}`,
    });
}
