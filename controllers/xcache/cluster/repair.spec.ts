import { describe, expect, it } from 'vitest';
import type { NodeLine } from './nodes.ts';
import { mayLead, planCluster } from './plan.ts';
import { reportOf } from './report.ts';
import { evenShares } from './slots.ts';
import type { ClusterMember, ClusterWorld } from './world.ts';

const MEMBERS: ClusterMember[] = ['a', 'b', 'c', 'd', 'e', 'f'].map((id, index) => ({
  ...{ id, shard: index % 3, group: `g${((index % 3) + (index < 3 ? 0 : 1)) % 3}` },
}));
const SHARES = evenShares(['a', 'b', 'c']);
const MASTER_OF: Record<string, string> = { d: 'a', e: 'b', f: 'c' };
type Change = (id: string, by: string) => Partial<NodeLine> | undefined;

/** Every member sees every other one; a node that `gone` names answers nobody. */
function world(change: Change = () => undefined, more: Partial<ClusterWorld> & { gone?: string[] } = {}): ClusterWorld {
  const { gone = [], ...rest } = more;
  const line = (id: string, by: string): NodeLine => ({
    ...{ id: `n-${id}`, address: `10.0.0.${id.charCodeAt(0)}`, port: 6379, myself: id === by },
    ...{ role: MASTER_OF[id] === undefined ? 'master' : 'replica', master: MASTER_OF[id] === undefined ? undefined : `n-${MASTER_OF[id]}` },
    ...{ failed: gone.includes(id), linkUp: !gone.includes(id), slots: SHARES.get(id) ?? [], open: [] },
    ...change(id, by),
  });
  return {
    ...{ members: MEMBERS, shards: 3, replicas: 1, born: true, moving: false, resting: false, paused: false, awayForLong: false },
    known: Object.fromEntries(MEMBERS.map(({ id }) => [id, `n-${id}`])),
    seen: MEMBERS.filter(({ id }) => !gone.includes(id)).map(({ id }) => ({
      ...{ id, address: `10.0.0.${id.charCodeAt(0)}`, port: 6379, ok: true },
      nodes: MEMBERS.map((other) => line(other.id, id)),
    })),
    ...rest,
  };
}
/** `a` is lost for good: g is its shard's new member. */
const REPLACED = [...MEMBERS.filter(({ id }) => id !== 'a'), { id: 'g', shard: 0, group: 'g0' }];
const withFresh = (base: ClusterWorld): ClusterWorld => {
  const known = { ...base.known, g: 'n-g' };
  const fresh: NodeLine = {
    ...{ id: 'n-g', address: '10.0.0.103', port: 6379, myself: false, role: 'master', master: undefined },
    ...{ failed: false, linkUp: true, slots: [], open: [] },
  };
  const others = base.seen[0]?.nodes ?? [];
  return {
    ...{ ...base, known, members: REPLACED },
    seen: [
      ...base.seen.map((member) => ({ ...member, nodes: [...member.nodes, fresh] })),
      ...[
        {
          id: 'g',
          address: '10.0.0.103',
          port: 6379,
          ok: true,
          nodes: [...others.map((one) => ({ ...one, myself: false })), { ...fresh, myself: true }],
        },
      ],
    ],
  };
};

describe('a master that is lost for good', () => {
  it('is never succeeded by the empty member in its place while somebody has its data', () => {
    const steps = planCluster(withFresh(world(undefined, { gone: ['a'] })));
    expect(steps).toMatchObject([{ do: 'failover', at: 'd', takeover: true }]);
  });

  it('whose copies are all lost too is forgotten by all, and its slots begin anew', () => {
    const members = REPLACED.filter(({ id }) => id !== 'd');
    const lost = { ...withFresh(world(undefined, { gone: ['a', 'd'] })), members };
    const steps = planCluster(lost);
    expect(steps.map((step) => (step.do === 'forget' ? step.node : step.do))).toEqual(Array(5).fill('n-a'));
    const forgotten = { ...lost, seen: lost.seen.map((one) => ({ ...one, nodes: one.nodes.filter(({ id }) => id !== 'n-a') })) };
    expect(planCluster(forgotten)).toMatchObject([{ do: 'give', at: 'g', lost: true, slots: SHARES.get('a') }]);
    // The controller has added it beside those that it gave up.
    const beside = { ...lost, awayForLong: true, members: [...MEMBERS, { id: 'g', shard: 0, group: 'g0' }] };
    expect(planCluster(beside).filter((step) => step.do === 'forget' && step.node === 'n-a')).toHaveLength(5);
    // Not while anybody is only away.
    expect(planCluster({ ...beside, replicas: 2 }).some((step) => step.do === 'forget')).toBe(false);
    expect(planCluster({ ...beside, awayForLong: false }).some((step) => step.do === 'forget')).toBe(false);
    expect(planCluster({ ...lost, members: MEMBERS }).some((step) => step.do === 'forget' && step.node === 'n-a')).toBe(false);
  });
});

describe('a move that was broken off', () => {
  const marked =
    (marks: Record<string, NodeLine['open']>): Change =>
    (id, by) =>
      id === by ? { open: marks[id] ?? [] } : undefined;

  it('goes on in ranges, to whoever leads now where it was going', () => {
    const open = [0, 1, 2].map((slot) => ({ slot, way: 'to' as const, node: 'n-b' }));
    expect(planCluster(world(marked({ a: open })))).toMatchObject([{ do: 'move', from: 'a', to: 'b', slots: { first: 0, last: 2 } }]);
    // b has failed over to e.
    const over: Change = (id, by) => ({
      ...(id === 'b' ? { role: 'replica', master: 'n-e', slots: [] } : {}),
      ...(id === 'e' ? { role: 'master', master: undefined, slots: SHARES.get('b') ?? [] } : {}),
      ...(id === 'a' && by === 'a' ? { open } : {}),
    });
    expect(planCluster(world(over))).toMatchObject([{ do: 'move', from: 'a', to: 'e', node: 'n-e' }]);
  });

  it('goes on from the other side’s mark where its own was lost, and marks that mean nothing are taken away', () => {
    expect(planCluster(world(marked({ b: [{ slot: 7, way: 'from', node: 'n-a' }] })))).toMatchObject([
      { do: 'move', from: 'a', to: 'b', slots: { first: 7, last: 7 } },
    ]);
    expect(planCluster(world(marked({ a: [{ slot: 6000, way: 'to', node: 'n-b' }] })))).toMatchObject([
      { do: 'unmark', at: 'a', slot: 6000 },
    ]);
  });
});

describe('what is left alone', () => {
  it('are slots that two masters claim, masters while it is paused, and targets that take no commands yet', () => {
    const both: Change = (id, by) =>
      id === 'd' && by === 'd' ? { role: 'master', master: undefined, slots: SHARES.get('a') ?? [] } : undefined;
    expect(planCluster(world(both, { shards: 2 })).some((step) => step.do === 'move')).toBe(false);
    expect(planCluster(world(undefined, { shards: 2 }))).toMatchObject([{ do: 'move', from: 'c' }]);
    expect(planCluster(world(undefined, { shards: 2, paused: true }))).toEqual([]);
    const base = world(undefined, { shards: 2 });
    expect(planCluster({ ...base, seen: base.seen.map((one) => ({ ...one, ok: one.id === 'c' })) })).toEqual([]);
  });

  it('is who leads, where another one would put two masters in one group', () => {
    expect(mayLead(world(), 'd')).toBe(false);
    const apart = MEMBERS.map((member) => (member.id === 'd' ? { ...member, group: 'g9' } : member));
    expect(mayLead(world(undefined, { members: apart }), 'd')).toBe(true);
  });
});

describe('what is said of a cluster', () => {
  const report = (seen: ClusterWorld) => reportOf(seen, planCluster(seen));

  it('is whole, moving, healing or down, and why', () => {
    expect(report(world())).toMatchObject({ state: 'whole', sentence: '6 members, 3 masters, every slot is served', left: 0, emptied: [] });
    expect(report(world(undefined, { shards: 2 }))).toMatchObject({ state: 'moving', left: 5461, sentence: '5461 slots are on their way' });
    expect(report(world(undefined, { gone: ['d'] }))).toMatchObject({ state: 'healing', sentence: 'd does not answer' });
    expect(report(world(undefined, { gone: ['a'] }))).toMatchObject({
      state: 'down',
      sentence: '5462 slots are served by nobody: a does not answer',
    });
    expect(report({ ...world(), born: false })).toMatchObject({ state: 'forming' });
  });

  it('names shards that are to go once they have nothing', () => {
    const moved: Change = (id) =>
      id === 'c' ? { slots: [] } : id === 'b' ? { slots: [...(SHARES.get('b') ?? []), ...(SHARES.get('c') ?? [])] } : undefined;
    expect(report(world(undefined, { shards: 2 })).emptied).toEqual([]);
    expect(report(world(moved, { shards: 2 })).emptied).toEqual([2]);
  });
});
