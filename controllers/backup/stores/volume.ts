import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, open, readdir, rename, rm, rmdir, stat } from 'node:fs/promises';
import { dirname, join, relative, sep } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { AppError, systemCode, toAppError } from '#core/errors.ts';
import { ABANDONED_MS, type BackupStore, type StoredObject } from './store.ts';

const TEMPORARY = '.part';

/**
 * A folder. A file is written under another name, fsynced, renamed, and its folder fsynced.
 *
 * @param root made when it is needed
 */
export function createVolumeStore(root: string): BackupStore {
  const pathOf = (key: string) => {
    if (!/^[A-Za-z0-9._@,-]+(\/[A-Za-z0-9._@,-]+)*$/.test(key) || key.split('/').includes('..')) {
      throw new AppError('internal', `${key} is no key of a backup store`);
    }
    return join(root, key);
  };
  return {
    name: 'volume',
    async put(key, content, { signal } = {}) {
      const path = pathOf(key);
      const temporary = `${path}${TEMPORARY}`;
      try {
        await mkdir(dirname(path), { recursive: true, mode: 0o750 });
        const file = createWriteStream(temporary, { mode: 0o640, flush: true });
        await pipeline(content, file, { signal });
        await rename(temporary, path);
        await syncFolders(dirname(path), root);
        return { bytes: file.bytesWritten };
      } catch (error) {
        await rm(temporary, { force: true });
        throw toAppError(error);
      }
    },
    async get(key, { signal } = {}) {
      const path = pathOf(key);
      try {
        await stat(path);
      } catch (error) {
        throw systemCode(error) === 'ENOENT' ? new AppError('not_found', `${key} is not in the backup volume`) : toAppError(error);
      }
      return createReadStream(path, { highWaterMark: 256 * 1024, ...(signal === undefined ? {} : { signal }) });
    },
    async list(prefix) {
      return objects(root, prefix === '' ? root : pathOf(prefix.replace(/\/$/, '')));
    },
    async delete(key) {
      const path = pathOf(key);
      await rm(path, { force: true });
      // Empty folders are no objects, and would stay for ever.
      for (let folder = dirname(path); folder.startsWith(root + sep); folder = dirname(folder)) {
        try {
          await rmdir(folder);
        } catch {
          break;
        }
      }
    },
    async tidy(now) {
      for (const { path, changed } of await filesOf(root)) {
        if (path.endsWith(TEMPORARY) && now.getTime() - changed > ABANDONED_MS) await rm(path, { force: true });
      }
    },
  };
}

async function objects(root: string, folder: string): Promise<StoredObject[]> {
  const found = await filesOf(folder);
  return found
    .filter(({ path }) => !path.endsWith(TEMPORARY))
    .map(({ path, bytes }) => ({ key: relative(root, path).split(sep).join('/'), bytes }));
}

/** Files below a folder; what is removed meanwhile is not there. */
async function filesOf(folder: string): Promise<{ path: string; bytes: number; changed: number }[]> {
  let entries: Awaited<ReturnType<typeof entriesOf>>;
  try {
    entries = await entriesOf(folder);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return [];
    throw toAppError(error);
  }
  const found: { path: string; bytes: number; changed: number }[] = [];
  for (const entry of entries) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) found.push(...(await filesOf(path)));
    const facts = entry.isFile() ? await stat(path).catch(() => undefined) : undefined;
    if (facts !== undefined) found.push({ path, bytes: facts.size, changed: facts.mtimeMs });
  }
  return found;
}

function entriesOf(folder: string) {
  return readdir(folder, { withFileTypes: true });
}

/** A file is durable when each folder on the way to it is (fsync(2)). */
async function syncFolders(from: string, root: string): Promise<void> {
  for (let folder = from; ; folder = dirname(folder)) {
    const handle = await open(folder, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
    if (folder === root || !folder.startsWith(root)) return;
  }
}
