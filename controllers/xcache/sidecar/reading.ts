import { sleep } from '#core/sleep.ts';

/** Reads of the records, one at a time. */
export interface Reading {
  /**
   * Begins a read unless one is under way, and waits for it so long at the most. A turn acts upon what it sees of its engine: if it waited for Consul's answer, that would be as old as
   * Consul is slow, and a master that is cut off would go on for longer than the rules count with.
   */
  turn(waitMs: number): Promise<void>;
}

/**
 * @param read never rejects
 * @param onLate a read has ended that nobody waited for any more
 */
export function createReading(read: () => Promise<void>, onLate: () => void): Reading {
  let running: Promise<void> | undefined;
  return {
    async turn(waitMs) {
      if (running !== undefined) return;
      let isLate = false;
      const one = read().then(() => {
        running = undefined;
        if (isLate) onLate();
      });
      running = one;
      const over = new AbortController();
      await Promise.race([one, sleep(waitMs, over.signal)]);
      over.abort();
      isLate = running === one;
    },
  };
}
