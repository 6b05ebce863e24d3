import { open, readFile, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { systemCode } from '#core/errors.ts';

/**
 * Writes a file so that after a crash at any moment it holds either all of the old or all of the new content.
 *
 * Several writes of one path at a time do not mix; the one that ends last wins.
 *
 * @param mode permission bits of the file from then on, whatever it had and whatever the umask
 * @throws the system's error (`ENOSPC`, …); the old content is then untouched
 */
export async function writeFileAtomic(path: string, content: string | Buffer, mode = 0o600): Promise<void> {
  writes += 1;
  const temporary = `${path}.${process.pid}-${writes}.tmp`;
  try {
    const file = await open(temporary, 'w', mode);
    try {
      // What a crash left under this name keeps its own bits, and the umask takes some from a new one.
      await file.chmod(mode);
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await syncFolder(dirname(path));
}

/** Writes of this process so far; in a container the process id is the same after each restart, so that leftovers are used again. */
let writes = 0;

/** The file's text, or undefined when there is none. */
export async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** A rename is durable only when the folder is (fsync(2)). */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
