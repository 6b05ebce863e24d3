import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { bootId, startTime } from './processes.ts';

/**
 * Below this folder each pool has its own, `xp-<id>`; it is short because unix sockets in it may not be longer than 108 characters, and
 * on a disk because engines keep their images there.
 */
export const POOLS_DIR = process.env.XCAAS_TEST_POOLS ?? '/var/tmp';

const ProcessRef = z.object({ pid: z.number().int(), start: z.string() });
export type ProcessRef = z.infer<typeof ProcessRef>;

/** What must be known of a pool to remove every trace of it after its owner was killed. */
export const PoolState = z.object({
  v: z.literal(1),
  id: z.string().regex(/^[0-9a-z]{6}$/),
  owner: z.object({ pid: z.number().int(), start: z.string(), boot: z.string() }),
  created: z.string(),
  /** First three numbers of the pool's /24. */
  subnet: z.string(),
  hosts: z.array(z.object({ name: z.string(), processes: z.array(ProcessRef) })),
});
export type PoolState = z.infer<typeof PoolState>;

/** All names of a pool's things begin with this; no other thing on the machine does. */
export const poolPrefix = (id: string): string => `xp-${id}`;
export const poolDir = (id: string): string => join(POOLS_DIR, poolPrefix(id));
const stateFile = (dir: string): string => join(dir, 'state.json');

/** @returns an id no pool on this machine has, its folder made */
export function claimId(): string {
  for (;;) {
    const id = randomBytes(3).toString('hex');
    try {
      mkdirSync(poolDir(id), { mode: 0o755 });
      return id;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  }
}

export function writeState(state: PoolState): void {
  const file = stateFile(poolDir(state.id));
  writeFileSync(`${file}.tmp`, JSON.stringify(PoolState.parse(state), null, 2));
  renameSync(`${file}.tmp`, file);
}

export interface KnownPool {
  id: string;
  /** Missing when its owner died before it had written any, or what it wrote cannot be read. */
  state: PoolState | undefined;
  /** Seconds since the folder was made or last changed. */
  ageSeconds: number;
}

export function knownPools(): KnownPool[] {
  const pools: KnownPool[] = [];
  for (const entry of readdirSync(POOLS_DIR)) {
    const id = /^xp-([0-9a-z]{6})$/.exec(entry)?.[1];
    if (id === undefined) continue;
    try {
      const ageSeconds = (Date.now() - statSync(poolDir(id)).mtimeMs) / 1000;
      pools.push({ id, ageSeconds, state: readState(id) });
    } catch {
      // Removed by its owner while we looked.
    }
  }
  return pools;
}

function readState(id: string): PoolState | undefined {
  try {
    return PoolState.parse(JSON.parse(readFileSync(stateFile(poolDir(id)), 'utf8')));
  } catch {
    return undefined;
  }
}

/** True when the process that made the pool still runs (same pid, same start, same boot of the machine). */
export function ownerAlive(state: PoolState): boolean {
  return state.owner.boot === bootId() && startTime(state.owner.pid) === state.owner.start;
}

export function thisProcess(): PoolState['owner'] {
  return { pid: process.pid, start: startTime(process.pid) ?? '', boot: bootId() };
}
