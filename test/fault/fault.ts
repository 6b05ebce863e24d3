import type { Random } from '#test/random.ts';
import type { ServiceWorld } from './world.ts';

/**
 * One thing that goes wrong, and what must come of it, written down before it is tried.
 *
 * @template W the world it is done to: hosts and members of any service, or one service's own
 */
export interface Fault<W = ServiceWorld> {
  name: string;
  /** What the promise says for this case. */
  expect: string;
  /** Seconds from the fault to its healing, both ends included. */
  lasts: readonly [number, number];
  /**
   * Seconds until writes are acknowledged again: counted from the fault, or from its healing where nothing can be written before. Generous: what is usual
   * stands in the results.
   */
  writable: { from: 'fault' | 'heal'; seconds: number };
  /** Seconds from the healing until all members are whole again. */
  whole: number;
  /** How often it is chosen, relative to the others. */
  weight: number;
  inject(world: W, random: Random): Promise<Wound>;
}

export interface Wound {
  /** What was hurt, for the results: `adb-1 on n2`. */
  what: string;
  heal(): Promise<void>;
  /** Times (of the journals' clock) in which sessions that waited for an acknowledgement were KILLed: the promise's stated exception. */
  excused?: { from: number; to: number }[];
}

/** What must come of a database's faults, for those that share it. */
export const EXPECT = {
  fails_over: 'the slave takes over and writes go on; the old master comes back as slave by itself',
  goes_on: 'writes go on without a change of master, after a stall of a few seconds at most',
  async: 'the record says first that no slave is in sync, then writes go on; the slave is in sync again after the healing',
  either: 'writes go on, with or without a change of master',
  waits: 'writes wait until the healing, and go on then; nothing acknowledged is lost',
} as const;
