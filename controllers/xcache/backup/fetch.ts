import { createWriteStream } from 'node:fs';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { Place } from '#backup/place.ts';
import { AppError } from '#core/errors.ts';
import { run } from '#core/spawn.ts';
import type { CacheSpec } from '#xcache/schema.ts';
import type { BackupObject } from './catalog.ts';
import { isSnapshot, openFull } from './full.ts';

export interface FetchOptions {
  place: Pick<Place, 'store' | 'keyOf'>;
  object: BackupObject;
  /** Whose checker reads it. */
  engine: CacheSpec['engine'];
  /** Where the file is to be; it is there as a whole, or not at all. */
  path: string;
  signal: AbortSignal;
}

const CHECK_MS = 3_600_000;

/**
 * Fetches an engine's file of a backup, and has the engine's own checker read it from the beginning to the end.
 *
 * @returns how many keys it holds
 * @throws AppError `invalid` where it is damaged; of the store
 */
export async function fetchSnapshot({ place, object, engine, path, signal }: FetchOptions): Promise<number> {
  const temporary = `${path}.part`;
  await mkdir(dirname(path), { recursive: true });
  try {
    const { content, check } = await openFull(place, object, signal);
    await pipeline(content, createWriteStream(temporary, { mode: 0o640, flush: true }), { signal });
    check();
    const keys = await readThrough(engine, temporary, object.id);
    await rename(temporary, path);
    return keys;
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

async function readThrough(engine: CacheSpec['engine'], path: string, id: string): Promise<number> {
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(9), 0, 9, 0);
    if (!isSnapshot(buffer.subarray(0, bytesRead))) throw new AppError('invalid', `the backup ${id} does not hold a snapshot of an engine`);
  } finally {
    await file.close();
  }
  const { code, stdout } = await run(`/usr/bin/${engine}-check-rdb`, [path], { timeoutMs: CHECK_MS });
  if (code !== 0)
    throw new AppError(
      'invalid',
      `the backup ${id} is damaged: ${/\] (\S.*(?:error|EOF|failed).*)$/im.exec(stdout)?.[1] ?? 'its checker refuses it'}`,
      {
        hint: 'restore from another one: cache backup list NAME',
      },
    );
  return Number(/\[info\] (\d+) keys read/.exec(stdout)?.[1] ?? 0);
}
