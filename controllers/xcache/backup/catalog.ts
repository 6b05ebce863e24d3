import { timeOfId, UNFINISHED_MS } from '#backup/ids.ts';
import { type BackupStore, getText } from '#backup/stores/store.ts';
import { AppError, hasCode } from '#core/errors.ts';
import type { CacheSpec } from '#xcache/schema.ts';
import { CacheBackupMarker } from './schema.ts';

const PREFIX = 'full/';
const MARKER = /^full\/([^/]+)\/backup\.json$/;
/** Folder of caches in a store that databases use as well. */
export const ABOVE = 'cache/';

export const backupKeys = (id: string) => ({
  folder: `${PREFIX}${id}/`,
  data: `${PREFIX}${id}/data`,
  marker: `${PREFIX}${id}/backup.json`,
});

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
    const data = marker && objects.find((object) => object.key === backupKeys(marker.id).data);
    if (marker !== undefined && data?.bytes === marker.bytes) fulls.push(marker);
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

/**
 * Whether a cache can take up a backup.
 *
 * @throws AppError `invalid` for another engine's, or more than there is room for
 */
export function refuseUnfitBackup(
  backup: { id: string; engine: CacheSpec['engine']; engineVersion: string; usedBytes: number },
  { name, engine, room }: { name: string; engine: CacheSpec['engine']; room: number },
): void {
  if (backup.engine !== engine)
    throw new AppError(
      'invalid',
      `the backup ${backup.id} was made by ${backup.engine} ${backup.engineVersion}, and ${name} is ${engine}`,
      {
        hint: `the two engines do not read each other's files: add --opt engine=${backup.engine}`,
      },
    );
  if (backup.usedBytes > room)
    throw new AppError('invalid', `the backup ${backup.id} took ${backup.usedBytes} bytes of memory, and ${name} has room for ${room}`, {
      hint: 'give more --memory',
    });
}
