import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { createBackoff } from '#core/backoff.ts';
import { readIfThere, writeFileAtomic } from '#core/files.ts';
import { sleep, waitFor } from '#core/sleep.ts';
import { run } from '#core/spawn.ts';
import { createTokenBucket } from '#core/token-bucket.ts';
import { validate } from '#core/validate.ts';

describe('createBackoff', () => {
  it('grows to its longest and never beyond, never below half of its step, and begins again', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1000 }),
        fc.integer({ min: 1, max: 100_000 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (first, max, random) => {
          const backoff = createBackoff(first, max, () => random);
          const waits = Array.from({ length: 40 }, () => backoff.next());
          waits.forEach((wait, i) => {
            const step = Math.min(max, first * 2 ** Math.min(i, 30));
            expect(wait).toBeGreaterThanOrEqual(step / 2);
            expect(wait).toBeLessThanOrEqual(step);
          });
          backoff.reset();
          expect(backoff.next()).toBeLessThanOrEqual(Math.min(first, max));
        },
      ),
    );
  });
});

describe('createTokenBucket', () => {
  it('gives its burst at once, then its rate', async () => {
    const bucket = createTokenBucket({ burst: 3, perSecond: 50 });
    const start = performance.now();
    for (let i = 0; i < 3; i++) await bucket.take();
    const burst = performance.now() - start;
    await Promise.all(Array.from({ length: 5 }, () => bucket.take()));
    expect(burst).toBeLessThan(50);
    // Five more at 50 a second are 100 ms; a timer may fire a little early.
    expect(performance.now() - start).toBeGreaterThanOrEqual(90);
  });

  it('saves up no more than its burst', async () => {
    let time = 0;
    const bucket = createTokenBucket({ burst: 2, perSecond: 1 }, () => time);
    time = 1e9;
    await bucket.take();
    await bucket.take();
    let third = false;
    const stop = new AbortController();
    const waiting = bucket.take(stop.signal).then(() => {
      third = true;
    });
    await sleep(10);
    expect(third).toBe(false);
    stop.abort();
    await waiting;
  });
});

describe('sleep', () => {
  it('ends early and never throws when called off', async () => {
    const start = performance.now();
    await sleep(60_000, AbortSignal.abort());
    await sleep(60_000, AbortSignal.timeout(10));
    expect(performance.now() - start).toBeLessThan(5000);
  });

  it('a wait longer than timers can count is no short one', async () => {
    const stop = new AbortController();
    let ended = false;
    const waiting = sleep(Number.POSITIVE_INFINITY, stop.signal).then(() => {
      ended = true;
    });
    await sleep(20);
    expect(ended).toBe(false);
    stop.abort();
    await waiting;
  });

  it('leaves no listeners on a signal that lives long', async () => {
    const { signal } = new AbortController();
    let listeners = 0;
    const { addEventListener, removeEventListener } = signal;
    signal.addEventListener = (...args: unknown[]) => {
      listeners += 1;
      return Reflect.apply(addEventListener, signal, args);
    };
    signal.removeEventListener = (...args: unknown[]) => {
      listeners -= 1;
      return Reflect.apply(removeEventListener, signal, args);
    };
    for (let i = 0; i < 20; i++) await sleep(0, signal);
    expect(listeners).toBe(0);
  });

  it('waitFor gives the first answer, or nothing when its time is over', async () => {
    let asked = 0;
    expect(await waitFor(async () => (++asked === 3 ? 'yes' : undefined), { timeoutMs: 5000, intervalMs: 1 })).toBe('yes');
    expect(await waitFor(async () => undefined, { timeoutMs: 10, intervalMs: 2 })).toBeUndefined();
    expect(await waitFor(async () => undefined, { timeoutMs: 60_000, signal: AbortSignal.abort() })).toBeUndefined();
  });
});

describe('validate', () => {
  const schema = z.object({ members: z.array(z.object({ port: z.number() })) });
  it('names the field', () => {
    expect(() => validate(schema, { members: [{ port: 1 }, { port: 'x' }] }, 'the thing')).toThrow(
      expect.objectContaining({ code: 'invalid', message: expect.stringMatching(/^the thing is wrong at members\.1\.port: /) }),
    );
    expect(() => validate(schema, 7, 'the thing')).toThrow(/^the thing is wrong: /);
    expect(validate(schema, { members: [], more: 1 }, 'x')).toEqual({ members: [] });
  });
});

describe('files', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'xc-'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  it('writes whole contents however many write at once, and leaves nothing else', async () => {
    const path = join(folder, 'many');
    const contents = Array.from({ length: 20 }, (_, i) => `${i}`.repeat(20_000 + i));
    await Promise.all(contents.map((content) => writeFileAtomic(path, content)));
    expect(contents).toContain(await readIfThere(path));
    expect(await readdir(folder)).toEqual(['many']);
  });

  it('sets the bits that were asked for, whatever was there and whatever the umask', async () => {
    const path = join(folder, 'bits');
    await writeFile(path, 'old', { mode: 0o644 });
    await writeFileAtomic(path, 'secret');
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    await writeFileAtomic(path, 'open', 0o666);
    expect((await stat(path)).mode & 0o777).toBe(0o666);
    await rm(path);
  });

  it('leaves the old content when the new one cannot be written', async () => {
    const path = join(folder, 'kept');
    await writeFileAtomic(path, 'old');
    const broken = { toString: () => 'x' } as unknown as string;
    await expect(writeFileAtomic(path, broken)).rejects.toThrow();
    expect(await readFile(path, 'utf8')).toBe('old');
    expect((await readdir(folder)).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });

  it('tells a file that is not there from one that cannot be read', async () => {
    expect(await readIfThere(join(folder, 'none'))).toBeUndefined();
    await expect(readIfThere(folder)).rejects.toMatchObject({ code: 'EISDIR' });
    await expect(writeFileAtomic(join(folder, 'no', 'folder'), 'x')).rejects.toMatchObject({ code: 'ENOENT' });
  });
});

describe('run', () => {
  it('collects what a program says, with arguments as they are', async () => {
    expect(await run('printf', ['%s', '$(id); `id` ../x\n'])).toEqual({ code: 0, stdout: '$(id); `id` ../x\n', stderr: '' });
    expect(await run('cat', [], { input: 'in' })).toMatchObject({ stdout: 'in' });
    expect(await run('sh', ['-c', 'echo no >&2; exit 3'])).toEqual({ code: 3, stdout: '', stderr: 'no\n' });
  });

  it('ends in time also when the program left children behind', async () => {
    const start = performance.now();
    await expect(run('sh', ['-c', 'sleep 3 & wait'], { timeoutMs: 50 })).rejects.toMatchObject({ code: 'timeout' });
    expect(performance.now() - start).toBeLessThan(2000);
  });

  it('says what could not be started', async () => {
    await expect(run('/no/such/program', [])).rejects.toMatchObject({
      code: 'internal',
      message: expect.stringContaining('/no/such/program'),
    });
  });
});
