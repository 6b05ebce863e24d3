import { afterEach, describe, expect, it } from 'vitest';
import type { ConsulClient } from '#core/consul/client.ts';
import { AppError } from '#core/errors.ts';
import { holdLeaderLock, type Leadership } from '#core/lock.ts';
import { silentLogger } from '#core/log.ts';
import { sleep, waitFor } from '#core/sleep.ts';
import { createFakeKv, type FakeKv } from '#test/fake-kv.ts';

const KEY = 'xcaas/control/leader';
/** Seconds. */
const TTL = 0.4;

const running: (() => Promise<void>)[] = [];
afterEach(async () => {
  await Promise.all(running.splice(0).map((stop) => stop()));
});

interface Contender {
  leading: Leadership | undefined;
  fences: number[];
  ended: number;
  stop(): Promise<void>;
}

function contend(kv: FakeKv, lead?: (leadership: Leadership) => Promise<void>, now?: () => number): Contender {
  const stopping = new AbortController();
  const contender: Contender = {
    leading: undefined,
    fences: [],
    ended: 0,
    async stop() {
      stopping.abort();
      await done;
    },
  };
  const done = holdLeaderLock({
    consul: kv as unknown as ConsulClient,
    key: KEY,
    value: '{"host":"a"}',
    name: 'test',
    log: silentLogger(),
    signal: stopping.signal,
    ttlSeconds: TTL,
    ...(now === undefined ? {} : { now }),
    async lead(leadership) {
      contender.leading = leadership;
      contender.fences.push(leadership.fence);
      try {
        if (lead === undefined) await sleep(60_000, leadership.signal);
        else await lead(leadership);
      } finally {
        contender.leading = undefined;
        contender.ended += 1;
      }
    },
  });
  running.push(contender.stop);
  return contender;
}
const until = async (condition: () => boolean) =>
  expect(await waitFor(async () => condition() || undefined, { timeoutMs: 5000, intervalMs: 2 })).toBe(true);

describe('holdLeaderLock', () => {
  it('one of several leads, and the next has a higher fence', async () => {
    const kv = createFakeKv();
    const contenders = [contend(kv), contend(kv), contend(kv)];
    const leaders = () => contenders.filter(({ leading }) => leading !== undefined);
    await until(() => leaders().length === 1);
    await sleep(50);
    expect(leaders()).toHaveLength(1);
    const [first] = leaders();
    const fence = first!.leading!.fence;
    expect(() => first!.leading!.check()).not.toThrow();
    await first!.stop();
    await until(() => leaders().length === 1);
    expect(leaders()[0]!.leading!.fence).toBeGreaterThan(fence);
  });

  it('gives the lock back at once when told to stop, with no session left', async () => {
    const kv = createFakeKv();
    const contender = contend(kv);
    await until(() => contender.leading !== undefined);
    await contender.stop();
    expect(await kv.kv.get(KEY)).toMatchObject({ value: '', session: undefined });
  });

  it('stops leading when its session is ended by somebody else', async () => {
    const kv = createFakeKv();
    const contender = contend(kv);
    await until(() => contender.leading !== undefined);
    const { signal, check } = contender.leading!;
    await kv.session.destroy((await kv.kv.get(KEY))!.session!);
    await until(() => signal.aborted);
    expect(check).toThrow(expect.objectContaining({ code: 'fenced' }));
    await until(() => contender.fences.length === 2);
    expect(contender.fences[1]).toBeGreaterThan(contender.fences[0]!);
  });

  it('stops by itself within its TTL when renewals go unanswered, also when each hangs', async () => {
    const kv = createFakeKv();
    const contender = contend(kv);
    await until(() => contender.leading !== undefined);
    const { signal, check } = contender.leading!;
    kv.before = (operation) => (operation === 'renew' ? sleep(60_000, AbortSignal.timeout(3000)) : undefined);
    const start = performance.now();
    await until(() => signal.aborted);
    // The TTL, and room for a busy machine; the hanging renewal takes 3 s.
    expect(performance.now() - start).toBeLessThan(TTL * 1000 + 1000);
    expect(check).toThrow();
    kv.before = undefined;
  });

  it('survives renewals that fail for less than its TTL', async () => {
    const kv = createFakeKv();
    const contender = contend(kv);
    await until(() => contender.leading !== undefined);
    let failures = 0;
    kv.before = (operation) => {
      if (operation === 'renew' && ++failures <= 2) throw new AppError('unavailable', 'no leader');
    };
    await sleep(TTL * 1000);
    expect(failures).toBeGreaterThan(2);
    expect(contender.fences).toHaveLength(1);
    expect(contender.leading).toBeDefined();
  });

  it('an acquisition whose answer was lost is not lost', async () => {
    const kv = createFakeKv();
    let lost = 0;
    kv.after = (operation) => {
      if (operation === 'acquire' && ++lost <= 2) throw new AppError('timeout', 'lost');
    };
    const contender = contend(kv);
    await until(() => contender.leading !== undefined);
    expect(lost).toBeGreaterThan(2);
    // The same session all along: the lock changed hands once.
    expect(contender.fences).toEqual([1]);
  });

  it('believes nobody but the key itself that it leads', async () => {
    const kv = createFakeKv();
    const acquire = kv.kv.acquire;
    kv.kv.acquire = async () => true;
    const contender = contend(kv);
    await sleep(150);
    expect(contender.leading).toBeUndefined();
    kv.kv.acquire = acquire;
    await until(() => contender.leading !== undefined);
  });

  it('a leader that was frozen is refused by check before any of its timers fired', async () => {
    const kv = createFakeKv();
    let frozen = 0;
    const contender = contend(kv, undefined, () => performance.now() + frozen);
    await until(() => contender.leading !== undefined);
    const { check, signal } = contender.leading!;
    frozen = 60_000;
    expect(check).toThrow(expect.objectContaining({ code: 'fenced' }));
    await until(() => signal.aborted);
  });

  it('what the leader does may fail: it stands again', async () => {
    const kv = createFakeKv();
    let calls = 0;
    const contender = contend(kv, async ({ signal }) => {
      calls += 1;
      if (calls === 1) throw new Error('boom');
      await sleep(60_000, signal);
    });
    await until(() => calls === 2);
    expect(contender.fences[1]).toBeGreaterThan(contender.fences[0]!);
  });

  it('waits for a Consul that is not there yet', async () => {
    const kv = createFakeKv();
    const { create } = kv.session;
    let tries = 0;
    kv.session.create = (options) => {
      tries += 1;
      return tries < 3 ? Promise.reject(new AppError('unavailable', 'no leader')) : create(options);
    };
    const contender = contend(kv);
    await until(() => contender.leading !== undefined);
  });
});
