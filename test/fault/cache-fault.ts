import type { CacheWorld } from './cache-world.ts';
import type { Fault } from './fault.ts';

/** When an acknowledged write may have been that is lost: controllers/xcache/README.md has the bounds. */
export interface Loss {
  /** Before the fault: what had not been sent to the replica, or written to the disk. */
  beforeMs: number;
  /** After it was done: for how long a master that nobody hears goes on. */
  afterMs: number;
  /** The stated exception: what a frozen member had been asked, it may answer when it wakes. */
  atWake?: boolean;
}

export interface CacheFault extends Fault<CacheWorld> {
  loses: 'nothing' | Loss;
}
