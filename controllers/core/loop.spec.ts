import { afterEach, describe, expect, it } from 'vitest';
import { AppError } from '#core/errors.ts';
import { silentLogger } from '#core/log.ts';
import { createLoop, type Loop } from '#core/loop.ts';
import { sleep, waitFor } from '#core/sleep.ts';

const loops: Loop[] = [];
afterEach(async () => {
  for (const loop of loops.splice(0)) await loop.stop();
});

function loopOf(cycle: (signal: AbortSignal) => Promise<string>, intervalMs = 60_000): Loop {
  const loop = createLoop({ name: 'test', log: silentLogger(), intervalMs, cycle });
  loops.push(loop);
  return loop;
}
const until = (condition: () => boolean) => waitFor(async () => condition() || undefined, { timeoutMs: 5000, intervalMs: 2 });

describe('createLoop', () => {
  it('passes at once, and again after its interval', async () => {
    let passes = 0;
    const loop = loopOf(async () => `pass ${++passes}`, 300);
    expect(loop.last()).toBeUndefined();
    expect(loop.alive()).toBe(false);
    loop.start();
    loop.start();
    await until(() => passes >= 3);
    expect(loop.last()).toMatchObject({ sentence: expect.stringMatching(/^pass /), error: undefined });
    expect(loop.alive()).toBe(true);
  });

  it('honours a mark set during a pass by one further pass, many marks by one', async () => {
    let passes = 0;
    const loop = loopOf(async () => {
      passes += 1;
      await sleep(20);
      return 'done';
    });
    loop.start();
    await sleep(5);
    for (let i = 0; i < 100; i++) loop.markDirty();
    await until(() => passes === 2);
    await sleep(60);
    expect(passes).toBe(2);
  });

  it('a mark between passes ends the wait', async () => {
    let passes = 0;
    const loop = loopOf(async () => `${++passes}`);
    loop.start();
    await until(() => passes === 1);
    await sleep(5);
    loop.markDirty();
    await until(() => passes === 2);
    expect(passes).toBe(2);
  });

  it('never runs two passes or actions at the same time, in whatever order they are asked for', async () => {
    let inside = 0;
    let worst = 0;
    let done = 0;
    const visit = async () => {
      inside += 1;
      worst = Math.max(worst, inside);
      await sleep(Math.random() * 3);
      inside -= 1;
      done += 1;
      return 'x';
    };
    const loop = loopOf(visit, 1);
    loop.start();
    const actions = Array.from({ length: 30 }, async (_, i) => {
      await sleep(i);
      loop.markDirty();
      await loop.runExclusive(visit);
    });
    await Promise.all(actions);
    expect(worst).toBe(1);
    expect(done).toBeGreaterThan(30);
  });

  it('an action that fails tells who asked, and nobody else', async () => {
    let passes = 0;
    const loop = loopOf(async () => `${++passes}`);
    loop.start();
    await expect(loop.runExclusive(() => Promise.reject(new AppError('conflict', 'no')))).rejects.toMatchObject({ code: 'conflict' });
    await expect(loop.runExclusive(async () => 7)).resolves.toBe(7);
    loop.markDirty();
    await until(() => passes >= 2);
    expect(passes).toBeGreaterThanOrEqual(2);
  });

  it('goes on after errors of any kind, and says them', async () => {
    let passes = 0;
    const loop = loopOf(async () => {
      passes += 1;
      if (passes === 1) throw new Error('first');
      if (passes === 2) throw 'second';
      return 'well';
    }, 300);
    loop.start();
    await until(() => loop.last()?.error !== undefined);
    expect(loop.last()).toMatchObject({ sentence: 'test failed: first', error: { code: 'internal' } });
    expect(loop.alive()).toBe(true);
    await until(() => loop.last()?.sentence === 'well');
    expect(loop.last()?.error).toBeUndefined();
  });

  it('does not spin when a pass fails and marks itself', async () => {
    let passes = 0;
    const loop = loopOf(async () => {
      passes += 1;
      loop.markDirty();
      throw new Error('always');
    });
    loop.start();
    await sleep(350);
    expect(passes).toBeGreaterThanOrEqual(2);
    expect(passes).toBeLessThanOrEqual(5);
  });

  it('stop waits for the pass that runs, tells it, and begins no further one', async () => {
    let passes = 0;
    let told = false;
    const loop = loopOf(async (signal) => {
      passes += 1;
      await sleep(5000, signal);
      told = signal.aborted;
      await sleep(10);
      return 'x';
    });
    loop.start();
    await sleep(5);
    loop.markDirty();
    await loop.stop();
    expect({ passes, told }).toEqual({ passes: 1, told: true });
    loop.start();
    loop.markDirty();
    await sleep(10);
    expect(passes).toBe(1);
  });
});
