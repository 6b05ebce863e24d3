import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canBeSafe, faultsOf, mastersAfter, mostPerGroup, placeShards, rebalanceMasters } from './placement.ts';
import { applyMoves, countOf, evenShares, planMoves, SLOTS, unowned } from './slots.ts';

const ids = (count: number) => Array.from({ length: count }, (_, index) => `m-${index + 1}`);

describe('slots', () => {
  it('are all given out at the beginning, in even shares', () => {
    for (const count of [1, 3, 5, 7, 500]) {
      const shares = evenShares(ids(count));
      expect(unowned(shares)).toEqual([]);
      const sizes = [...shares.values()].map(countOf);
      expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
    }
  });

  it('move as little as can be, end in even shares, and none is lost or given twice', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 12 }),
        fc.integer({ min: 1, max: 12 }),
        fc.integer({ min: 0, max: 11 }),
        (before, after, offset) => {
          const old = ids(before);
          const wanted = Array.from({ length: after }, (_, index) => `m-${index + 1 + (offset % before)}`);
          const owners = evenShares(old);
          const moves = planMoves(owners, wanted);
          const result = applyMoves(owners, moves);
          expect(unowned(result)).toEqual([]);
          const sizes = wanted.map((master) => countOf(result.get(master) ?? []));
          expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
          for (const master of old) if (!wanted.includes(master)) expect(countOf(result.get(master) ?? [])).toBe(0);
          // No slot moves twice, none to whom had it, and nobody both gives and gets.
          const moved = moves.flatMap(({ first, last }) => Array.from({ length: last - first + 1 }, (_, index) => first + index));
          expect(new Set(moved).size).toBe(moved.length);
          const givers = new Set(moves.map(({ from }) => from));
          expect(moves.some(({ to }) => givers.has(to))).toBe(false);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('that are even already do not move, and planning goes on after a crash in the middle', () => {
    const owners = evenShares(ids(4));
    expect(planMoves(owners, ids(4))).toEqual([]);
    const moves = planMoves(owners, ids(5));
    for (let done = 0; done <= moves.length; done += 1) {
      const half = applyMoves(owners, moves.slice(0, done));
      const rest = planMoves(half, ids(5));
      expect(countOf(moves.slice(0, done)) + countOf(rest)).toBe(countOf(moves));
    }
  });

  it('that nobody has are found', () => {
    expect(
      unowned(
        new Map([
          [
            'a',
            [
              { first: 0, last: 99 },
              { first: 200, last: SLOTS - 1 },
            ],
          ],
        ]),
      ),
    ).toEqual([{ first: 100, last: 199 }]);
    expect(unowned(new Map())).toEqual([{ first: 0, last: SLOTS - 1 }]);
  });
});

describe('groups', () => {
  const rooms = (count: number, room = 100) => Array.from({ length: count }, (_, index) => ({ group: `g${index + 1}`, room }));

  it('three or more: none ever holds a majority of the masters, also when any one of them is lost', () => {
    for (let groups = 3; groups <= 6; groups += 1)
      for (let shards = 3; shards <= 13; shards += 1) {
        if (!canBeSafe(shards, groups)) continue;
        const { shards: placed, warnings } = placeShards(shards, 1, rooms(groups));
        expect(placed).toHaveLength(shards);
        for (const shard of placed) expect(new Set(shard).size).toBe(2);
        for (const lost of rooms(groups)) {
          const here = placed.filter(([master]) => master === lost.group).length;
          expect(here).toBeLessThanOrEqual(mostPerGroup(shards));
          expect(mastersAfter(placed, lost.group)).toHaveLength(shards);
        }
        // With three groups, two that are left share all masters: one of them has a majority of an odd number until it is moved.
        if (groups > 3 && shards > 4) expect(warnings).toEqual([]);
      }
  });

  it('two: says that a third is needed', () => {
    const { warnings } = placeShards(3, 1, rooms(2));
    expect(warnings[0]).toBe('g1 holds 2 of 3 masters: without that group no majority is left to fail over; three groups are needed');
  });

  it('four masters over three of them: says that one has half of them', () => {
    expect([canBeSafe(4, 3), canBeSafe(3, 3), canBeSafe(5, 3), canBeSafe(4, 4), canBeSafe(3, 2)]).toEqual([false, true, true, true, false]);
    expect(placeShards(4, 1, rooms(3)).warnings[0]).toBe('g1 holds 2 of 4 masters: without that group no majority is left to fail over');
  });

  it('one: says that master and replica share it', () => {
    expect(placeShards(3, 1, rooms(1)).warnings).toContain('3 shards have a master and a replica in one group');
  });

  it('with too little room say how much is missing', () => {
    expect(placeShards(3, 1, rooms(3, 1)).warnings[0]).toBe('6 members need a place, and there is room for 3');
  });

  it('that have all masters after a failover give some back, by as few changes as it needs', () => {
    const after = [
      ['g2', 'g1'],
      ['g2', 'g3'],
      ['g3', 'g1'],
    ];
    expect(rebalanceMasters(after)).toEqual([{ shard: 0, to: 'g1' }]);
    fc.assert(
      fc.property(
        fc.integer({ min: 3, max: 6 }),
        fc.integer({ min: 3, max: 12 }),
        fc.integer({ min: 0, max: 5 }),
        (groups, shards, lost) => {
          fc.pre(canBeSafe(shards, groups));
          const placed = placeShards(shards, 1, rooms(groups)).shards;
          const gone = `g${(lost % groups) + 1}`;
          const failedOver = placed.map((shard) => (shard[0] === gone ? [...shard].reverse() : [...shard]));
          const now = failedOver.map((shard) => [...shard]);
          for (const { shard, to } of rebalanceMasters(failedOver))
            now[shard] = [to, ...(now[shard] ?? []).filter((group) => group !== to)];
          expect(faultsOf(now, 1, groups).filter((fault) => fault.includes('no majority'))).toEqual([]);
          expect(rebalanceMasters(now)).toEqual([]);
        },
      ),
      { numRuns: 100 },
    );
  });
});
