import { describe, expect, it } from 'vitest';
import { type NodeLine, parseNodes } from './nodes.ts';
import { nodesFile } from './nodes-file.ts';
import { ownedShards, slotsText } from './owned-shards.ts';
import { SLOTS, type SlotRange } from './slots.ts';
import type { SeenMember } from './world.ts';

const HALF = SLOTS / 2;
const [LOW, HIGH]: [SlotRange, SlotRange] = [
  { first: 0, last: HALF - 1 },
  { first: HALF, last: SLOTS - 1 },
];
const MEMBERS = ['a', 'b', 'c', 'd'].map((id, index) => ({ id, shard: index % 2 }));
function member(id: string, own: Partial<NodeLine>): SeenMember {
  const node: NodeLine = {
    ...{ id: `n-${id}`, address: '10.0.0.1', port: 6379, myself: true, role: 'master', master: undefined, failed: false, linkUp: true },
    ...{ slots: [], open: [], ...own },
  };
  return { id, address: '10.0.0.1', port: 6379, nodes: [node], ok: true };
}
const follows = (master: string): Partial<NodeLine> => ({ role: 'replica', master: `n-${master}` });
const seen = (change: Record<string, Partial<NodeLine>> = {}) => {
  const own: Record<string, Partial<NodeLine>> = { a: { slots: [LOW] }, b: { slots: [HIGH] }, c: follows('a'), d: follows('b'), ...change };
  return MEMBERS.map(({ id }) => member(id, own[id] ?? {}));
};
const owned = (change?: Record<string, Partial<NodeLine>>, moving = false) => ownedShards({ members: MEMBERS, seen: seen(change), moving });
const shards = (change?: Record<string, Partial<NodeLine>>) => {
  const found = owned(change);
  if (typeof found === 'string') throw new Error(found);
  return found;
};

describe('whose each slot is', () => {
  it('is said by its masters, with who follows them', () => {
    expect(shards().map(({ shard, master, replicas }) => [shard, master.id, replicas.map(({ id }) => id)])).toEqual([
      [0, 'a', ['c']],
      [1, 'b', ['d']],
    ]);
  });

  it('is the same after a failover, and another after a move', () => {
    const failedOver = shards({ a: follows('c'), c: { slots: [LOW] } });
    expect(failedOver[0]?.master.id).toBe('c');
    expect(slotsText(failedOver)).toBe(slotsText(shards()));
    const moved = shards({ a: { slots: [{ first: 0, last: 99 }] }, b: { slots: [HIGH, { first: 100, last: HALF - 1 }] } });
    expect(slotsText(moved)).not.toBe(slotsText(shards()));
    expect(moved[1]?.slots).toEqual([{ first: 100, last: HALF - 1 }, HIGH]);
  });

  it('is nobody’s knowledge while slots are on their way, unserved, or claimed twice', () => {
    expect(owned(undefined, true)).toBe('slots are on their way');
    expect(owned({ a: { slots: [LOW], open: [{ slot: 5, way: 'to', node: 'n-b' }] } })).toBe('slots are on their way');
    expect(owned({ b: {} })).toBe(`slot ${HALF} is served by nobody who answers`);
    expect(owned({ c: { slots: [LOW] } })).toBe('two members claim the same slots');
    expect(ownedShards({ members: MEMBERS.slice(0, 1), seen: seen(), moving: false })).toBe(`slot ${HALF} is served by nobody who answers`);
  });
});

describe('the file that an engine begins with', () => {
  const of = (own: number, seed = 'bcache 2026') =>
    nodesFile({
      shards: [
        { shard: 0, slots: [LOW] },
        {
          shard: 1,
          slots: [
            { first: HALF, last: HALF },
            { first: HALF + 1, last: SLOTS - 1 },
          ],
        },
      ],
      own,
      seed,
      ...AT,
    });
  const AT = { address: '10.0.0.7', port: 6379, busPort: 16_379 };

  it('names all masters with their slots, and itself where it is', () => {
    const lines = parseNodes(of(1));
    expect(lines).toHaveLength(2);
    expect(lines.map(({ myself, role, slots, address }) => ({ myself, role, slots, address }))).toEqual([
      { myself: false, role: 'master', slots: [LOW], address: '127.0.0.1' },
      {
        myself: true,
        role: 'master',
        slots: [
          { first: HALF, last: HALF },
          { first: HALF + 1, last: SLOTS - 1 },
        ],
        address: '10.0.0.7',
      },
    ]);
    expect(of(1).trim().split('\n').at(-1)).toBe('vars currentEpoch 2 lastVoteEpoch 0');
  });

  it('is of the same cluster on each of its members, and of no other', () => {
    const ids = (text: string) => parseNodes(text).map(({ id }) => id);
    expect(ids(of(0))).toEqual(ids(of(1)));
    expect(ids(of(0))[0]).toMatch(/^[0-9a-f]{40}$/);
    expect(ids(of(0, 'bcache 2027'))).not.toContain(ids(of(0))[0]);
  });
});
