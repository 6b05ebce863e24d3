import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { systemCode } from '#core/errors.ts';

/** What an engine has written into its folder. */
export interface DiskForm {
  /** An append-only file that was begun as a whole: its manifest is there. */
  appendOnly: boolean;
  snapshot: boolean;
}

export const SNAPSHOT = 'dump.rdb';
const APPEND_ONLY_FOLDER = 'appendonlydir';

export async function diskForm(data: string): Promise<DiskForm> {
  const [files, parts] = await Promise.all([namesIn(data), namesIn(join(data, APPEND_ONLY_FOLDER))]);
  return { appendOnly: parts.some((name) => name.endsWith('.manifest')), snapshot: files.includes(SNAPSHOT) };
}

/**
 * Pure: whether the engine begins with the append-only file. An engine reads one of the two files only, and none of the other: what is newest is in the append-only file as long
 * as there is one, also when snapshots are wanted from now on; where there is none yet, beginning with it would be beginning empty.
 */
export function beginsAppendOnly(wanted: 'none' | 'rdb' | 'aof', { appendOnly, snapshot }: DiskForm): boolean {
  return appendOnly || (wanted === 'aof' && !snapshot);
}

export async function removeForm(data: string, what: 'appendOnly' | 'snapshot'): Promise<void> {
  await rm(join(data, what === 'snapshot' ? SNAPSHOT : APPEND_ONLY_FOLDER), { recursive: true, force: true });
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return [];
    throw error;
  }
}
