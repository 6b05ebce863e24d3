import type { CacheWorld } from './cache-world.ts';
import type { Fault } from './fault.ts';

/** When an acknowledged write may have been that is lost: controllers/xcache/README.md has the bounds. */
export interface Loss {
  /** Before the fault: what had not been sent to the replica, or written to the disk. */
  beforeMs: number;
  /** After it was done: for how long a master that nobody hears goes on. */
  afterMs: number;
  /** At the healing as well: what wakes then ends the engine, with what it had not sent. */
  atWake?: boolean;
  /** The stated exception, of members that were frozen whole and of no others: beside its successor one may answer when it wakes, until its supervisor has ended its engine. */
  frozenWhole?: boolean;
}

export interface CacheFault extends Fault<CacheWorld> {
  loses: 'nothing' | Loss;
}

/** What the engine had not sent when it ended. */
export const UNSENT: Loss = { beforeMs: 1000, afterMs: 500 };
/** L1: 2.4 s after it was cut off, a master goes on at the most; and what a busy machine adds. */
export const CUT: Loss = { beforeMs: 1000, afterMs: 3000 };
/** A sidecar that sleeps is missed by the supervisor, which ends the engine; until then the replica has all but the last of it. */
export const UNWATCHED: Loss = { beforeMs: 0, afterMs: 8000 };
/** The engine writes its log when the one that is being synced is done, after two seconds at the most. */
export const UNWRITTEN: Loss = { beforeMs: 2500, afterMs: 500 };

export const lose = (loses: CacheFault['loses'], ...faults: Fault[]): CacheFault[] => faults.map((fault) => ({ ...fault, loses }));
