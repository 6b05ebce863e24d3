export interface Backoff {
  /** Milliseconds to wait before the next try; longer each time. */
  next(): number;
  /** To be called after a success. */
  reset(): void;
}

/**
 * Exponential waits with full jitter in their upper half, so that many clients of one server that fell do not come back at once.
 *
 * @param firstMs the first wait, in milliseconds
 * @param maxMs the longest wait, in milliseconds
 */
export function createBackoff(firstMs: number, maxMs: number, random: () => number = Math.random): Backoff {
  let tries = 0;
  return {
    next() {
      const ceiling = Math.min(maxMs, firstMs * 2 ** Math.min(tries, 30));
      tries += 1;
      return ceiling / 2 + (random() * ceiling) / 2;
    },
    reset() {
      tries = 0;
    },
  };
}
