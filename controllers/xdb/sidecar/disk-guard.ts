import { open, rm, stat, statfs } from 'node:fs/promises';
import { systemCode } from '#core/errors.ts';
import { run } from '#core/spawn.ts';

/** How full the member's disk is: the filesystem it lies on, or the size that was asked for, whichever is fuller. */
export interface DiskUse {
  usedBytes: number;
  totalBytes: number;
  state: 'ok' | 'warn' | 'read_only';
}

export interface DiskLimits {
  warn: number;
  /** At this share writes are refused. */
  full: number;
  /** Writes are let in again below this share: a disk that hovers at its limit would flap. */
  back: number;
}

export const DISK_LIMITS: DiskLimits = { warn: 0.85, full: 0.95, back: 0.9 };

/** Pure: what follows from how full the disk is and from what was before. */
export function judgeDisk(share: number, before: DiskUse['state'], limits: DiskLimits = DISK_LIMITS): DiskUse['state'] {
  if (share >= limits.full || (before === 'read_only' && share >= limits.back)) return 'read_only';
  return share >= limits.warn ? 'warn' : 'ok';
}

export interface DiskGuardOptions {
  /** The member's volume. */
  path: string;
  /** A file that keeps room for the engine's own needs; given free at the limit. */
  reserve: string;
  /** Bytes that the specification gives the member; undefined until it was read. */
  diskBytes(): number | undefined;
  everyMs?: number;
  onChange(): void;
}

export interface DiskGuard {
  use(): DiskUse | undefined;
  stop(): void;
}

const RESERVE_BYTES = 64 * 2 ** 20;

export function guardDisk({ path, reserve, diskBytes, everyMs = 5000, onChange }: DiskGuardOptions): DiskGuard {
  let use: DiskUse | undefined;
  let busy = false;
  let counted: { bytes: number; limit: number; until: number } | undefined;

  /** Counting all files costs something: it is done again when so much could have been written that it matters. */
  async function ownBytes(limit: number): Promise<number> {
    if (counted === undefined || counted.limit !== limit || performance.now() >= counted.until) {
      const bytes = await sizeOf(path);
      counted = { bytes, limit, until: performance.now() + countAgainMs(limit * DISK_LIMITS.warn - bytes) };
    }
    return counted.bytes;
  }

  async function look(): Promise<void> {
    if (busy) return;
    busy = true;
    try {
      const fs = await statfs(path);
      const total = fs.blocks * fs.bsize;
      // What root alone may use is not there for the engine.
      const used = total - fs.bavail * fs.bsize;
      const limit = diskBytes();
      const own = limit === undefined ? 0 : await ownBytes(limit);
      const byLimit = limit !== undefined && own / limit > used / total;
      const [usedBytes, totalBytes] = byLimit ? [own, limit] : [used, total];
      const state = judgeDisk(usedBytes / totalBytes, use?.state ?? 'ok');
      const changed = use?.state !== state;
      use = { usedBytes, totalBytes, state };
      // What is given free, or taken, is another sum.
      if (changed) counted = undefined;
      await keepReserve(reserve, state === 'read_only' ? 0 : Math.min(RESERVE_BYTES, Math.floor(totalBytes / 100)), use);
      if (changed) onChange();
    } catch {
      // A disk that cannot be asked is left to the engine, which says so itself.
    } finally {
      busy = false;
    }
  }

  void look();
  const timer = setInterval(() => void look(), everyMs);
  timer.unref();
  return { use: () => use, stop: () => clearInterval(timer) };
}

/** Fastest that a disk is thought to fill, in bytes a second, and longest pause, in milliseconds. */
const FILL_RATE = 500e6;
const COUNT_AT_MOST_MS = 60_000;

/** Pure: how long a sum is good for, while so many bytes are left until the first limit. */
export function countAgainMs(bytesLeft: number): number {
  return Math.min(COUNT_AT_MOST_MS, Math.max(0, (bytesLeft / FILL_RATE) * 1000));
}

/** The file is written, not punched: a hole reserves nothing. */
async function keepReserve(path: string, bytes: number, use: DiskUse): Promise<void> {
  if (bytes === 0) return rm(path, { force: true });
  const there = await stat(path).catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  });
  if (there?.size === bytes || use.state !== 'ok') return;
  const file = await open(path, 'w', 0o600);
  try {
    const zeros = Buffer.alloc(2 ** 20);
    for (let at = 0; at < bytes; at += zeros.length) await file.write(zeros, 0, Math.min(zeros.length, bytes - at));
  } finally {
    await file.close();
  }
}

/** Bytes that the folder takes on its disk, as `du` counts them. */
async function sizeOf(path: string): Promise<number> {
  const { stdout } = await run('du', ['-s', '-B1', path], { timeoutMs: 60_000 });
  // Files come and go while it counts, which makes it grumble and count all the same.
  return Number(/^(\d+)/.exec(stdout)?.[1] ?? 0);
}
