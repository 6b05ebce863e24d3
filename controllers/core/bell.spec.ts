import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createBell } from './bell.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe('a bell', () => {
  /** Tells when a wait is over. */
  const watch = (wait: Promise<void>) => {
    const seen = { over: false };
    void wait.then(() => {
      seen.over = true;
    });
    return seen;
  };

  it('lets its loop wait so long, and no longer', async () => {
    const { wait } = createBell(new AbortController().signal);
    const seen = watch(wait(1000));
    await vi.advanceTimersByTimeAsync(999);
    expect(seen.over).toBe(false);
    await vi.advanceTimersByTimeAsync(1);
    expect(seen.over).toBe(true);
  });

  it('ends the wait that is under way, and no other', async () => {
    const bell = createBell(new AbortController().signal);
    const first = watch(bell.wait(1000));
    bell.ring();
    await vi.advanceTimersByTimeAsync(0);
    expect(first.over).toBe(true);
    const second = watch(bell.wait(1000));
    await vi.advanceTimersByTimeAsync(999);
    expect(second.over).toBe(false);
    expect(vi.getTimerCount()).toBe(1);
  });

  it('ends the next wait when it is rung during a turn, however often', async () => {
    const bell = createBell(new AbortController().signal);
    bell.ring();
    bell.ring();
    const first = watch(bell.wait(1000));
    await vi.advanceTimersByTimeAsync(0);
    expect(first.over).toBe(true);
    const second = watch(bell.wait(1000));
    await vi.advanceTimersByTimeAsync(500);
    expect(second.over).toBe(false);
  });

  it('holds nobody up once its signal has aborted', async () => {
    const stopping = new AbortController();
    const bell = createBell(stopping.signal);
    const under = watch(bell.wait(1000));
    stopping.abort();
    await vi.advanceTimersByTimeAsync(0);
    expect(under.over).toBe(true);
    const later = watch(bell.wait(1000));
    await vi.advanceTimersByTimeAsync(0);
    expect(later.over).toBe(true);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('waits as long as a timer can, not for a moment, when it is told to wait longer', async () => {
    const seen = watch(createBell(new AbortController().signal).wait(2 ** 40));
    await vi.advanceTimersByTimeAsync(3_600_000);
    expect(seen.over).toBe(false);
  });
});
