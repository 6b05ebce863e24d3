import { type BackupStore, getText } from '#backup/stores/store.ts';
import { hasCode } from '#core/errors.ts';
import { BINLOG_PREFIX, type Piece, parsePieceKey } from './binlog/piece.ts';
import { BackupCheck, BackupMarker } from './schema.ts';

export const FULL_PREFIX = 'full/';

export const fullKeys = (id: string) => ({
  folder: `${FULL_PREFIX}${id}/`,
  data: `${FULL_PREFIX}${id}/data`,
  check: `${FULL_PREFIX}${id}/check.json`,
  marker: `${FULL_PREFIX}${id}/backup.json`,
});

const MARKER = /^full\/([^/]+)\/backup\.json$/;

/** Everything that one history of a database has in a store. */
export interface Catalog {
  /** Complete full backups, oldest first. */
  fulls: BackupMarker[];
  /** Objects of full backups that have no marker: being made, or left behind. */
  unfinished: { id: string; key: string }[];
  pieces: Piece[];
}

/** @throws AppError of the store; a marker that cannot be read is as good as none */
export async function readCatalog(store: BackupStore): Promise<Catalog> {
  const objects = [...(await store.list(FULL_PREFIX)), ...(await store.list(BINLOG_PREFIX))];
  const fulls: BackupMarker[] = [];
  for (const { key } of objects) {
    if (!MARKER.test(key)) continue;
    const marker = await readMarker(store, key);
    // What is smaller or larger than it was cannot be whole: it is not offered.
    const data = marker && objects.find((object) => object.key === fullKeys(marker.id).data);
    if (marker !== undefined && data?.bytes === marker.bytes) fulls.push(marker);
  }
  const complete = new Set(fulls.map(({ id }) => id));
  const unfinished = objects.flatMap(({ key }) => {
    const id = /^full\/([^/]+)\//.exec(key)?.[1];
    return id === undefined || complete.has(id) ? [] : [{ id, key }];
  });
  const pieces = objects.flatMap(({ key }) => parsePieceKey(key) ?? []);
  return { fulls: fulls.sort((a, b) => a.finished.localeCompare(b.finished)), unfinished, pieces };
}

async function readMarker(store: BackupStore, key: string): Promise<BackupMarker | undefined> {
  let text: string;
  try {
    text = await getText(store, key);
  } catch (error) {
    if (hasCode(error, 'not_found')) return undefined;
    throw error;
  }
  const parsed = BackupMarker.safeParse(asJson(text));
  return parsed.success && MARKER.exec(key)?.[1] === parsed.data.id ? parsed.data : undefined;
}

/** @returns undefined when the backup was made without, or it cannot be read */
export async function readCheck(store: BackupStore, id: string): Promise<BackupCheck | undefined> {
  try {
    const parsed = BackupCheck.safeParse(asJson(await getText(store, fullKeys(id).check)));
    return parsed.success ? parsed.data : undefined;
  } catch (error) {
    if (hasCode(error, 'not_found')) return undefined;
    throw error;
  }
}

/** The marker goes first: what is deleted half is not there. */
export async function deleteFull(store: BackupStore, id: string): Promise<void> {
  const { folder, marker } = fullKeys(id);
  await store.delete(marker);
  for (const { key } of await store.list(folder)) await store.delete(key);
}

function asJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
