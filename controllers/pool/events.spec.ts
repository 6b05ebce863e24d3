import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { AppError } from '#core/errors.ts';
import { silentLogger } from '#core/log.ts';
import { createEvents, EVENTS_PREFIX, listEvents, type NewEvent, pruneEvents } from '#pool/events.ts';
import { createFakeKv } from '#test/fake-kv.ts';

const down: NewEvent = { object: 'host/host-a', kind: 'host_lost', reason: 'its session ended', sentence: 'host-a does not answer' };

describe('events', () => {
  beforeEach(() => void vi.useFakeTimers({ now: Date.parse('2026-01-01T00:00:00Z') }));
  afterEach(() => void vi.useRealTimers());

  const setUp = () => {
    const consul = createFakeKv();
    return { consul, events: createEvents({ consul, log: silentLogger() }) };
  };

  it('lists what was recorded in the order of time, from a time or an id on', async () => {
    const { consul, events } = setUp();
    for (const object of ['a', 'b', 'c']) {
      await events.record({ ...down, object });
      vi.advanceTimersByTime(1000);
    }
    const all = await listEvents(consul);
    expect(all.map(({ object, time }) => [object, time])).toEqual([
      ['a', '2026-01-01T00:00:00.000Z'],
      ['b', '2026-01-01T00:00:01.000Z'],
      ['c', '2026-01-01T00:00:02.000Z'],
    ]);
    expect((await listEvents(consul, { since: '2026-01-01T01:00:01+01:00' })).map(({ object }) => object)).toEqual(['b', 'c']);
    expect((await listEvents(consul, { after: all[1]!.id })).map(({ object }) => object)).toEqual(['c']);
    expect((await listEvents(consul, { object: 'b' })).map(({ object }) => object)).toEqual(['b']);
  });

  it('counts a repetition within a minute, with few writes, and writes a new one after it', async () => {
    const { consul, events } = setUp();
    await Promise.all(Array.from({ length: 100 }, () => events.record(down)));
    expect(consul.writes).toBe(1);
    await vi.advanceTimersByTimeAsync(5000);
    expect(consul.writes).toBe(2);
    expect(await listEvents(consul)).toMatchObject([{ count: 100 }]);
    await vi.advanceTimersByTimeAsync(54_000);
    await events.record(down);
    await vi.advanceTimersByTimeAsync(1000);
    await events.record(down);
    expect(await listEvents(consul)).toMatchObject([{ count: 101, last: '2026-01-01T00:00:59.000Z' }, { count: 1 }]);
  });

  it('does not mix objects or sentences', async () => {
    const { consul, events } = setUp();
    await events.record(down);
    await events.record({ ...down, object: 'host/host-b' });
    await events.record({ ...down, sentence: 'host-a answers again' });
    expect(await listEvents(consul)).toHaveLength(3);
  });

  it('does not bring back what was pruned', async () => {
    const { consul, events } = setUp();
    await events.record(down);
    await events.record(down);
    await consul.kv.deleteTree(EVENTS_PREFIX);
    await events.flush();
    expect(consul.keys()).toEqual([]);
  });

  it('stops nobody when Consul is away, and writes the next one', async () => {
    const { consul, events } = setUp();
    consul.before = () => {
      throw new AppError('unavailable', 'no leader');
    };
    await events.record(down);
    consul.before = undefined;
    await events.record(down);
    expect(await listEvents(consul)).toMatchObject([{ count: 1 }]);
  });

  it('keeps the newest, and reads past what it does not understand', async () => {
    const { consul, events } = setUp();
    await consul.kv.put(`${EVENTS_PREFIX}2025`, 'not ours');
    for (let n = 0; n < 150; n += 1) {
      await events.record({ ...down, object: `o${n}` });
      vi.advanceTimersByTime(10);
    }
    expect(await pruneEvents(consul, 20)).toBe(131);
    const left = await listEvents(consul);
    expect(left.map(({ object }) => object)).toEqual(Array.from({ length: 20 }, (_, n) => `o${n + 130}`));
    expect(await pruneEvents(consul, 20)).toBe(0);
  });
});
