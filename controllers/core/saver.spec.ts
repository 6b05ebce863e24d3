import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { silentLogger } from './log.ts';
import { createSaver } from './saver.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe('a saver', () => {
  function saverOf(write: (value: number) => Promise<void>) {
    return createSaver<number>({ what: 'the number', write, log: silentLogger(), everyMs: 1000 });
  }

  it('writes the first of a burst at once and then only the newest, each so long after the one before', async () => {
    const written: number[] = [];
    const saver = saverOf(async (value) => void written.push(value));
    for (const value of [1, 2, 3]) saver.save(value);
    await vi.advanceTimersByTimeAsync(999);
    expect(written).toEqual([1]);
    await vi.advanceTimersByTimeAsync(1);
    expect(written).toEqual([1, 3]);
    saver.save(4);
    await vi.advanceTimersByTimeAsync(1000);
    expect(written).toEqual([1, 3, 4]);
    await vi.advanceTimersByTimeAsync(5000);
    saver.save(5);
    await vi.advanceTimersByTimeAsync(0);
    expect(written).toEqual([1, 3, 4, 5]);
  });

  it('never writes twice at a time', async () => {
    let [now, most] = [0, 0];
    const saver = saverOf(async () => {
      now += 1;
      most = Math.max(most, now);
      await new Promise((resolve) => setTimeout(resolve, 3000));
      now -= 1;
    });
    for (let value = 0; value < 10; value += 1) {
      saver.save(value);
      await vi.advanceTimersByTimeAsync(700);
    }
    expect(most).toBe(1);
  });

  it('says why the newest is not on disk, and tries again, later and with what is newest then', async () => {
    const written: number[] = [];
    let full = true;
    const saver = saverOf(async (value) => {
      if (full) throw new Error('no space left on device');
      written.push(value);
    });
    saver.save(1);
    await vi.advanceTimersByTimeAsync(0);
    expect(saver.trouble()).toBe('the number could not be saved: no space left on device');
    full = false;
    saver.save(2);
    await vi.advanceTimersByTimeAsync(9999);
    expect(written).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(written).toEqual([2]);
    expect(saver.trouble()).toBeUndefined();
  });

  it('writes nothing any more once it is stopped', async () => {
    const written: number[] = [];
    const saver = saverOf(async (value) => void written.push(value));
    saver.save(1);
    saver.save(2);
    await vi.advanceTimersByTimeAsync(0);
    saver.stop();
    saver.save(3);
    await vi.advanceTimersByTimeAsync(20_000);
    expect(written).toEqual([1]);
  });
});
