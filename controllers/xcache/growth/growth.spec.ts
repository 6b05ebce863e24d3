import { describe, expect, it } from 'vitest';
import { decideGrowth, type GrowthRecord, rateOf } from './decide.ts';
import { type Replay, replay } from './simulate.ts';

const GIB = 2 ** 30;
const HOUR = 3_600_000;
const run = (load: (at: number) => number, more: Partial<Replay> = {}) =>
  replay({ load, durationMs: 24 * HOUR, shards: 3, shardBytes: GIB, limits: { minShards: 3, maxShards: 12, roomFor: 100 }, ...more });

describe('a load curve', () => {
  it('that is flat changes nothing, at whatever height is neither full nor empty', () => {
    for (const share of [0.3, 0.45, 0.6, 0.75]) expect(run(() => share * 3 * GIB).changes).toEqual([]);
  });

  it('that rises steadily is met before there is no room', () => {
    const result = run((at) => (1 + (at / HOUR) * 0.35) * GIB);
    expect(result.overfullMs).toBe(0);
    expect(result.shards).toBeGreaterThan(10);
    expect(result.changes.every(({ to, from }) => to > from)).toBe(true);
  });

  it('that rises fast is met at once rather than by one shard after another', () => {
    const result = run((at) => Math.min(7, 1.5 + (at / HOUR) * 6) * GIB, { durationMs: 3 * HOUR });
    expect(result.changes[0]).toMatchObject({ from: 3 });
    expect(result.changes[0]?.to).toBeGreaterThan(4);
    expect(result.overfullMs).toBeLessThan(10 * 60_000);
  });

  it('that has a short peak changes nothing, and one that goes up and down every day does not make it flap', () => {
    expect(run((at) => (at % HOUR < 60_000 ? 2.6 : 1.5) * GIB).changes).toEqual([]);
    const daily = run((at) => (1.7 + 1.2 * Math.sin((at / (24 * HOUR)) * 2 * Math.PI)) * GIB, { durationMs: 5 * 24 * HOUR });
    expect(daily.overfullMs).toBe(0);
    expect(daily.changes.length).toBeLessThanOrEqual(15);
    for (const [index, change] of daily.changes.entries()) {
      const before = daily.changes[index - 1];
      if (before !== undefined) expect(change.at - before.at).toBeGreaterThanOrEqual(10 * 60_000);
    }
  });

  it('that falls gives back one shard after another, and never more than leaves room', () => {
    const result = run((at) => (at < HOUR ? 7 : 1) * GIB, { shards: 10, durationMs: 48 * HOUR });
    expect(result.shards).toBe(3);
    expect(result.changes.every(({ from, to }) => from - to === 1)).toBe(true);
    expect(result.overfullMs).toBe(0);
    const low = run((at) => (at < HOUR ? 7 : 2.3) * GIB, { shards: 10, durationMs: 48 * HOUR });
    expect(low.shards * 0.6).toBeGreaterThanOrEqual(2.2);
  });

  it('never stops at a number of masters that cannot be spread safely', () => {
    const safe = (shards: number) => shards !== 4;
    const up = run((at) => (1.5 + (at / HOUR) * 0.1) * GIB, { limits: { minShards: 3, maxShards: 12, roomFor: 100, safe } });
    expect(up.changes.map(({ to }) => to)).not.toContain(4);
    expect(up.changes[0]).toMatchObject({ from: 3, to: 5 });
    const down = run(() => GIB, { shards: 6, durationMs: 48 * HOUR, limits: { minShards: 3, maxShards: 12, roomFor: 100, safe } });
    expect(down.changes.map(({ to }) => to)).toEqual([5, 3]);
  });

  it('stops at its ceiling and where there is no room for masters apart, and says so', () => {
    const rise = (at: number) => (1 + at / HOUR) * GIB;
    const ceiling = run(rise, { limits: { minShards: 3, maxShards: 5, roomFor: 100 } });
    expect([ceiling.most, ceiling.blocked > 0]).toEqual([5, true]);
    const room = run(rise, { limits: { minShards: 3, maxShards: 50, roomFor: 4 } });
    expect([room.most, room.blocked > 0]).toEqual([4, true]);
  });

  it('with one shard that is fuller than the others is met by that shard', () => {
    const result = run(() => 1.7 * GIB, { skew: 1.7, durationMs: HOUR });
    expect(result.changes[0]?.reason).toMatch(/^one shard is 9\d % full: from 3 to \d shards$/);
  });
});

describe('a decision', () => {
  const shards = (used: number, count = 3) => Array.from({ length: count }, () => ({ usedBytes: used * GIB, maxBytes: GIB }));
  const limits = { minShards: 3, maxShards: 12, roomFor: 12 };
  const full: GrowthRecord = { history: [], fullSince: 0 };

  it('is one sentence with its figures', () => {
    const { decision } = decideGrowth({ at: 120_000, shards: shards(0.85) }, full, limits);
    expect(decision).toEqual({ do: 'grow', shards: 5, reason: '85 % of 3.0 GiB are used: from 3 to 5 shards' });
    const blocked = decideGrowth({ at: 120_000, shards: shards(0.85) }, full, { ...limits, maxShards: 3 });
    expect(blocked.decision).toEqual({ do: 'blocked', reason: '85 % of 3.0 GiB are used; it cannot grow: its ceiling is 3 shards' });
  });

  it('waits while it rests, but not while writes are about to be refused', () => {
    const rests = { ...full, changedAt: 60_000 };
    expect(decideGrowth({ at: 120_000, shards: shards(0.85) }, rests, limits).decision.do).toBe('nothing');
    expect(decideGrowth({ at: 120_000, shards: shards(0.97) }, rests, limits).decision.do).toBe('grow');
  });

  it('never asks for more than twice as many, nor for fewer than it has when it is full', () => {
    for (let used = 0.81; used < 1; used += 0.02)
      for (let count = 3; count < 12; count += 1) {
        const { decision } = decideGrowth({ at: 120_000, shards: shards(used, count) }, full, limits);
        if (decision.do !== 'grow') throw new Error(decision.reason);
        expect(decision.shards).toBeGreaterThan(count);
        expect(decision.shards).toBeLessThanOrEqual(Math.min(12, 2 * count));
      }
  });

  it('sees a trend, not a peak', () => {
    const line = Array.from({ length: 20 }, (_, index) => ({ at: index * 1000, usedBytes: index * 500 }));
    expect(rateOf(line)).toBeCloseTo(0.5);
    expect(rateOf(line.slice(0, 2))).toBe(0);
  });
});
