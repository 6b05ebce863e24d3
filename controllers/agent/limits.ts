import { readFile } from 'node:fs/promises';

/** What hosts have at least; taken when the limit cannot be read. */
const FALLBACK = 4096;

/**
 * The hard limit of open files that a container can be given without the engine refusing to start it: that of process 1, where it can be read and is the
 * host's, and of this process, whichever is lower.
 */
export async function openFilesLimit(): Promise<number> {
  const own = parseOpenFiles(await readFile('/proc/self/limits', 'utf8').catch(() => ''));
  const first = parseOpenFiles(await readFile('/proc/1/limits', 'utf8').catch(() => ''));
  return Math.min(own ?? FALLBACK, first ?? own ?? FALLBACK);
}

/** The hard limit of a `/proc/<pid>/limits`; `unlimited` is the kernel's own ceiling (`fs.nr_open`, 2^20 unless it was raised). */
export function parseOpenFiles(limits: string): number | undefined {
  const match = /^Max open files\s+\S+\s+(\d+|unlimited)\s/m.exec(limits);
  if (match === null) return undefined;
  return match[1] === 'unlimited' ? 1_048_576 : Number(match[1]);
}
