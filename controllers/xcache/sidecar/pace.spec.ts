import { describe, expect, it } from 'vitest';
import { createBreather, createPace, REST } from './pace.ts';

describe('the pace of moves', () => {
  it('rests after each one, so many times as long as it took', () => {
    let now = 1000;
    const pace = createPace(() => now);
    expect(pace.resting(false)).toBe(false);
    pace.begin();
    expect(pace.resting(true)).toBe(false);
    now += 400;
    expect(pace.resting(false)).toBe(true);
    now += REST * 400 - 1;
    expect(pace.resting(false)).toBe(true);
    now += 1;
    expect(pace.resting(false)).toBe(false);
  });

  it('counts one that ended before it was looked at, and none that somebody else began', () => {
    let now = 0;
    const pace = createPace(() => now);
    pace.begin();
    now += 10;
    expect(pace.resting(false)).toBe(true);
    now += 1000;
    expect(pace.resting(true)).toBe(false);
    expect(pace.resting(false)).toBe(false);
  });

  it('does not count the time in which nobody looked', () => {
    let now = 0;
    const pace = createPace(() => now);
    pace.begin();
    pace.forget();
    now += 600_000;
    expect(pace.resting(false)).toBe(false);
  });

  it('of work in pieces rests once there was enough of it, and not when it is to end', async () => {
    let now = 0;
    const ending = new AbortController();
    const breathe = createBreather(ending.signal, () => now);
    const before = performance.now();
    now += 50;
    await breathe();
    now += 60_000;
    setTimeout(() => ending.abort(), 10);
    await breathe();
    await breathe();
    // Three minutes, had it rested to the end.
    expect(performance.now() - before).toBeLessThan(60_000);
  });
});
