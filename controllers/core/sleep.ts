/** Longest delay of one of Node's timers, in milliseconds: a longer one fires at once (Node's docs on `setTimeout`). */
export const MAX_TIMER_MS = 2 ** 31 - 1;

/**
 * Waits `ms` milliseconds, or less when `signal` aborts: it then returns early and never throws, so that a loop can look at the signal itself.
 */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, Math.min(ms, MAX_TIMER_MS));
    signal?.addEventListener('abort', done, { once: true });
  });
}

/**
 * Asks `probe` again and again until it gives something other than undefined.
 *
 * @param timeoutMs longest time in milliseconds
 * @returns the first defined answer, or undefined when the time ran out or `signal` aborted
 */
export async function waitFor<T>(
  probe: () => Promise<T | undefined>,
  { timeoutMs, intervalMs = 100, signal }: { timeoutMs: number; intervalMs?: number; signal?: AbortSignal },
): Promise<T | undefined> {
  const end = performance.now() + timeoutMs;
  for (;;) {
    const answer = await probe();
    if (answer !== undefined || signal?.aborted || performance.now() >= end) return answer;
    await sleep(intervalMs, signal);
  }
}
