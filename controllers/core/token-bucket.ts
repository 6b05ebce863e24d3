import { sleep } from '#core/sleep.ts';

export interface TokenBucket {
  /** Waits until a token is there and takes it; returns early when `signal` aborts. */
  take(signal?: AbortSignal): Promise<void>;
}

/** @param burst tokens it holds at most and begins with  @param perSecond tokens that come back each second */
export function createTokenBucket(
  { burst, perSecond }: { burst: number; perSecond: number },
  now: () => number = () => performance.now(),
): TokenBucket {
  let tokens = burst;
  let last = now();
  return {
    async take(signal) {
      for (;;) {
        const time = now();
        tokens = Math.min(burst, tokens + ((time - last) / 1000) * perSecond);
        last = time;
        if (tokens >= 1) {
          tokens -= 1;
          return;
        }
        if (signal?.aborted) return;
        await sleep(Math.ceil(((1 - tokens) / perSecond) * 1000), signal);
      }
    },
  };
}
