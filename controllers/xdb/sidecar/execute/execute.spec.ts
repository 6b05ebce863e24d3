import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Outcome } from '#xdb/protocol/types.ts';
import type { Moment, Tools } from './context.ts';
import { execute } from './execute.ts';

const DAY = 86_400_000;

/** A member whose engine is down, and in which whatever a step begins ends only when it is let go. */
function slow() {
  const begun: string[] = [];
  let drops = 0;
  let release: () => void = () => undefined;
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const take = (what: string) => async () => {
    begun.push(what);
    await released;
  };
  const nothing = async () => undefined;
  const tools = {
    config: { db: 'adb', member: 'adb-1', paths: { data: '/proc' } },
    credentials: { current: () => ({ agent: 'secret' }) },
    engine: { wipe: take('wipe'), initialise: take('initialise') },
    disk: { endGeneration: nothing, beginGeneration: nothing, markMaster: take('mark') },
    supervisor: { kill: nothing, engine: () => ({ state: 'none' }) },
    link: { drop: () => (drops += 1) },
    failpoints: { at: nothing },
    onClone: () => undefined,
    onFailedCopy: () => undefined,
    takeClone: take('clone'),
  } as unknown as Tools;
  const sync = { value: { leader: { id: 'adb-2', gen: 'g' }, epoch: 3 } };
  const moment = {
    view: { protocol: { sync }, spec: { value: { role: 'pair' } } },
    addressOf: () => '10.0.0.2',
    signal: new AbortController().signal,
  } as unknown as Moment;
  return { tools, moment, begun, release, drops: () => drops };
}

describe('the time of a step', () => {
  beforeEach(() => vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }));
  afterEach(() => vi.useRealTimers());

  it.each([
    { rule: 'R2', do: 'wipe', reason: 'its data are of another history' },
    { rule: 'R3', do: 'clone', leader: 'adb-2', reason: 'it has no data' },
    { rule: 'birth', do: 'initialise', reason: 'it is the first' },
  ] as const)('of $do is waited for to its end: the next try would work beside it in the same directory', async (step) => {
    const { tools, moment, release, begun } = slow();
    let outcome: Outcome | undefined;
    const running = execute(step, tools, moment).then((is) => {
      outcome = is;
    });
    await vi.advanceTimersByTimeAsync(5 * DAY);
    expect(begun).not.toEqual([]);
    expect(outcome).toBeUndefined();
    vi.useRealTimers();
    release();
    await running;
    expect(outcome).toEqual({ is: 'done' });
  });

  it('of one that an engine may hold up is over soon: its end is unknown, and what it was asked on is given up', async () => {
    const { tools, moment, drops } = slow();
    const running = execute({ rule: 'O3', do: 'mark_master', was: true, reason: 'it leads' }, tools, moment);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(await running).toMatchObject({ is: 'unknown' });
    expect(drops()).toBe(1);
  });
});
