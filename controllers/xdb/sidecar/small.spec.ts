import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { createAgeOf } from '#core/age-of.ts';
import { holdInstanceLock } from '#member/instance-lock.ts';
import { createSayer } from '#member/sentence.ts';
import { within } from '#member/within.ts';
import { GUARDS } from '#xdb/protocol/types.ts';
import { countAgainMs, judgeDisk } from './disk-guard.ts';
import { createFailpoints } from './failpoint.ts';
import { readGuards } from './guards.ts';
import { createRequests } from './requests.ts';
import { serverIdOf } from './server-id.ts';
import { createUnacknowledged } from './unacknowledged.ts';
import { createWaitAge } from './wait-age.ts';

function clock() {
  let now = 1000;
  return { now: () => now, pass: (ms: number) => (now += ms) };
}

describe('createWaitAge', () => {
  it('counts from the first look at which nobody was acknowledged any more', () => {
    const time = clock();
    const age = createWaitAge(time.now);
    const look = (waiters: number, acknowledged: number, instance = 'i') => age({ instance, waiters, acknowledged });
    expect(look(0, 5)).toBe(0);
    expect(look(1, 5)).toBe(0);
    time.pass(700);
    expect(look(2, 5)).toBe(700);
    expect(look(2, 6)).toBe(0);
    time.pass(300);
    expect(look(1, 6)).toBe(300);
    expect(look(0, 6)).toBe(0);
    time.pass(100);
    expect(look(1, 6)).toBe(0);
    time.pass(100);
    expect(look(1, 6, 'another')).toBe(0);
  });
});

describe('createAgeOf', () => {
  it('counts from when a thing was first as it is', () => {
    const time = clock();
    const age = createAgeOf(time.now);
    expect(age('a')).toBe(0);
    time.pass(50);
    expect(age('a')).toBe(50);
    expect(age('b')).toBe(0);
    expect(age(undefined)).toBe(0);
    time.pass(50);
    expect(age('b')).toBe(0);
  });
});

describe('createUnacknowledged', () => {
  it('counts only what was let go since semi-sync was switched on', () => {
    const before = createUnacknowledged();
    const look = (semiSyncMaster: boolean, unacknowledged: number, instance = 'i') => before({ instance, semiSyncMaster, unacknowledged });
    expect(look(false, 3)).toBe(3);
    expect(look(false, 9)).toBe(9);
    expect(look(true, 10)).toBe(10);
    expect(look(true, 12)).toBe(10);
    expect(look(false, 12)).toBe(12);
    expect(look(true, 12)).toBe(12);
    expect(look(true, 0, 'another')).toBe(0);
  });
});

describe('createFailpoints', () => {
  it('knows of none without the variable', async () => {
    await expect(createFailpoints('').at('write:P5:after')).resolves.toBeUndefined();
  });

  it('fails at its point, and with a number only that time', async () => {
    const points = createFailpoints('step:follow:before=error, write:P1:after=error*2');
    await expect(points.at('step:follow:before')).rejects.toThrow('step:follow:before');
    await points.at('step:follow:after');
    await points.at('write:P1:after');
    await expect(points.at('write:P1:after')).rejects.toThrow();
    await points.at('write:P1:after');
  });

  it('a crash is one', async () => {
    let died = 0;
    const points = createFailpoints('disk:after=crash', () => {
      died += 1;
    });
    void points.at('disk:after');
    await Promise.resolve();
    expect(died).toBe(1);
  });

  it.each(['nonsense', 'write:P5', 'write:P5:after=explode', 'a b=crash', 'x=crash*0x1'])(
    '"%s" is refused, lest its fault never happen',
    (text) => {
      expect(() => createFailpoints(text)).toThrow('is no fail point');
    },
  );
});

describe('readGuards', () => {
  it('all are on unless named', () => {
    expect(readGuards('')).toEqual({ guards: GUARDS, sigtermAsFence: false });
    expect(readGuards('drain, sigtermAsFence')).toEqual({ guards: { ...GUARDS, drain: false }, sigtermAsFence: true });
  });
  it('a name that is none is refused', () => {
    expect(() => readGuards('drian')).toThrow('no guard');
  });
});

const said = (stopping: ReturnType<ReturnType<typeof createRequests>['pending']>['stopping']) =>
  stopping === undefined ? undefined : `${stopping.then} for ${stopping.ageMs} ms`;

describe('createRequests', () => {
  it('a restart is over when another instance runs', () => {
    const time = clock();
    const requests = createRequests(time.now);
    const seen = (instance: string | undefined) => said(requests.pending({ instance, gen: 'g' }).stopping);
    expect(seen('a')).toBeUndefined();
    requests.restart('a');
    time.pass(10);
    expect(seen('a')).toBe('restart for 10 ms');
    expect(seen(undefined)).toBe('restart for 10 ms');
    expect(seen('b')).toBeUndefined();
    expect(seen('b')).toBeUndefined();
  });

  it('an end goes before a restart and is never taken back', () => {
    const time = clock();
    const requests = createRequests(time.now);
    requests.restart('a');
    requests.leave(time.now());
    time.pass(5);
    requests.leave(time.now());
    expect(said(requests.pending({ instance: 'b', gen: null }).stopping)).toBe('leave for 5 ms');
    expect(() => requests.restart('b')).toThrow('ending');
  });

  it('a new copy was made when there is another generation', () => {
    const requests = createRequests();
    requests.reinit(null);
    expect(requests.pending({ instance: undefined, gen: null }).reinit).toBe(false);
    requests.reinit('g1');
    expect(requests.pending({ instance: undefined, gen: 'g1' }).reinit).toBe(true);
    expect(requests.pending({ instance: undefined, gen: null }).reinit).toBe(false);
  });
});

describe('createSayer', () => {
  it('says the same again when only figures differ, but not when members do', () => {
    const say = createSayer();
    expect(say('adb-1 waits 5.0 s more for adb-2')).toBe('adb-1 waits 5.0 s more for adb-2');
    expect(say('adb-1 waits 4.9 s more for adb-2')).toBe('adb-1 waits 5.0 s more for adb-2');
    expect(say('adb-1 waits 4.9 s more for adb-3')).toBe('adb-1 waits 4.9 s more for adb-3');
  });
});

describe('serverIdOf', () => {
  it('is another one for each member, stays, and fits into 32 bits', () => {
    const ids = ['adb-1', 'adb-2', 'adb-3', 'adb-400'].map((member) => serverIdOf('adb', member));
    expect(new Set(ids).size).toBe(4);
    expect(serverIdOf('adb', 'adb-1')).toBe(ids[0]);
    expect(serverIdOf('bdb', 'bdb-1')).not.toBe(ids[0]);
    for (const id of ids) expect(id > 0 && id < 2 ** 32 && Number.isInteger(id)).toBe(true);
  });
});

describe('judgeDisk', () => {
  it.each([
    [0.5, 'ok', 'ok'],
    [0.85, 'ok', 'warn'],
    [0.95, 'warn', 'read_only'],
    [0.94, 'read_only', 'read_only'],
    [0.9, 'read_only', 'read_only'],
    [0.89, 'read_only', 'warn'],
    [0.2, 'read_only', 'ok'],
  ] as const)('%d full after %s is %s', (share, before, after) => {
    expect(judgeDisk(share, before)).toBe(after);
  });
});

describe('within', () => {
  it('gives up in time and hands what comes late to whoever clears it away', async () => {
    let late: string | undefined;
    const slow = new Promise<string>((resolve) => setTimeout(() => resolve('slow'), 30));
    await expect(within(slow, 5, 'it', (value) => (late = value))).rejects.toMatchObject({ code: 'timeout' });
    await slow;
    await Promise.resolve();
    expect(late).toBe('slow');
    await expect(within(Promise.resolve(1), 5, 'it')).resolves.toBe(1);
    await expect(within(Promise.reject(new Error('no')), 5, 'it')).rejects.toThrow('no');
  });
});

describe('holdInstanceLock', () => {
  let folder: string | undefined;
  afterEach(async () => {
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  });

  it('is had by one at a time, and by the next when its holder has ended', async () => {
    folder = await mkdtemp(join(tmpdir(), 'xdb-lock-'));
    const path = join(folder, 'lock');
    const first = await holdInstanceLock(path);
    await expect(holdInstanceLock(path)).rejects.toMatchObject({ code: 'conflict' });
    first.close();
    const second = await holdInstanceLock(path);
    await expect(holdInstanceLock(path)).rejects.toMatchObject({ code: 'conflict' });
    second.close();
  });
});

describe('countAgainMs', () => {
  it.each([
    ['at the limit', 0, 0],
    ['beyond it', -5e9, 0],
    ['one gigabyte below it', 1e9, 2000],
    ['far below it', 1e12, 60_000],
  ])('%s', (_, left, ms) => {
    expect(countAgainMs(left)).toBe(ms);
  });
});
