import { describe, expect, it } from 'vitest';
import { type NodeLine, parseNodes } from './nodes.ts';
import { planCluster } from './plan.ts';
import { reportOf } from './report.ts';
import { evenShares } from './slots.ts';
import type { ClusterMember, ClusterWorld, SeenMember } from './world.ts';

const MEMBERS: ClusterMember[] = [
  ['a', 0, 'g1'],
  ['b', 1, 'g2'],
  ['c', 2, 'g3'],
  ['d', 0, 'g2'],
  ['e', 1, 'g3'],
  ['f', 2, 'g1'],
].map(([id, shard, group]) => ({ id: String(id), shard: Number(shard), group: String(group) }));
const SHARES = evenShares(['a', 'b', 'c']);
const MASTER_OF: Record<string, string> = { d: 'a', e: 'b', f: 'c' };

function line(id: string, more: Partial<NodeLine> = {}): NodeLine {
  const master = MASTER_OF[id];
  return {
    ...{
      id: `n-${id}`,
      address: `10.0.0.${id.charCodeAt(0)}`,
      port: 6379,
      myself: false,
      role: master === undefined ? 'master' : 'replica',
    },
    ...{ master: master === undefined ? undefined : `n-${master}`, failed: false, linkUp: true, slots: SHARES.get(id) ?? [], open: [] },
    ...more,
  };
}
/** Every member sees every other one as `line` says. */
function world(change: (seen: SeenMember[]) => SeenMember[] = (seen) => seen, more: Partial<ClusterWorld> = {}): ClusterWorld {
  const seen = MEMBERS.map(({ id }) => ({
    ...{ id, address: line(id).address, port: 6379, ok: true },
    nodes: MEMBERS.map((other) => line(other.id, { myself: other.id === id })),
  }));
  return {
    ...{
      members: MEMBERS,
      shards: 3,
      replicas: 1,
      seen: change(seen),
      born: true,
      moving: false,
      resting: false,
      paused: false,
      awayForLong: false,
    },
    known: Object.fromEntries(MEMBERS.map(({ id }) => [id, `n-${id}`])),
    ...more,
  };
}
const withoutSlots = (seen: SeenMember[]) =>
  seen.map((member) => ({ ...member, nodes: member.nodes.map((node) => ({ ...node, slots: [] })) }));
const fresh = (seen: SeenMember[]) =>
  withoutSlots(seen).map((member) => ({
    ...member,
    nodes: member.nodes.map((node) => ({ ...node, role: 'master' as const, master: undefined })),
  }));

describe('lines of CLUSTER NODES', () => {
  it('are read', () => {
    const text = [
      'aaa 10.0.0.1:7001@17001,host-a myself,master - 0 0 1 connected 0-5460 5462 [5461->-bbb]',
      'bbb 10.0.0.2:7002@17002 slave aaa 0 1 3 disconnected',
      'ccc :0@0 master,fail,noaddr - 0 1 2 disconnected 5461',
      '',
    ].join('\n');
    expect(parseNodes(text)).toEqual([
      {
        ...{
          id: 'aaa',
          address: '10.0.0.1',
          port: 7001,
          myself: true,
          role: 'master',
          master: undefined,
          failed: false,
          linkUp: true,
          open: [{ slot: 5461, way: 'to', node: 'bbb' }],
        },
        slots: [
          { first: 0, last: 5460 },
          { first: 5462, last: 5462 },
        ],
      },
      {
        id: 'bbb',
        address: '10.0.0.2',
        port: 7002,
        myself: false,
        role: 'replica',
        master: 'aaa',
        failed: false,
        linkUp: false,
        slots: [],
        open: [],
      },
      {
        id: 'ccc',
        address: '',
        port: 0,
        myself: false,
        role: 'master',
        master: undefined,
        failed: true,
        linkUp: false,
        slots: [{ first: 5461, last: 5461 }],
        open: [],
      },
    ]);
  });
});

describe('the plan of a cluster', () => {
  it('that is as it should be is nothing', () => {
    expect(planCluster(world())).toEqual([]);
    expect(planCluster(world(undefined, { seen: [] }))).toEqual([{ do: 'wait', reason: 'no member answers' }]);
  });

  it('gives slots out once: never where they were given before, never beside a member that does not answer', () => {
    const born = planCluster(world(fresh));
    expect(born.some((step) => step.do === 'give')).toBe(false);
    const lone = MEMBERS.map((member) => ({ ...member }));
    const begun = planCluster(world((seen) => fresh(seen).slice(0, 5), { born: false, members: lone }));
    expect(begun.some((step) => step.do === 'give')).toBe(false);
  });

  it('gives no slot out empty that waits for its data, and none to others while a backup is made', () => {
    const half = (seen: SeenMember[]) =>
      seen.map((member) => ({ ...member, nodes: member.nodes.map((node) => ({ ...node, slots: node.id === 'n-b' ? [] : node.slots })) }));
    expect(planCluster(world(half, { born: false, fromBackup: true }))).toEqual([
      { do: 'wait', reason: '5461 slots wait for their data, which are being restored' },
    ]);
    expect(planCluster(world(undefined, { born: false, fromBackup: true }))).toMatchObject([{ do: 'born' }]);
    // One of them does not know yet where another is, whose name it was given with the data.
    const elsewhere = (node: NodeLine): NodeLine => (node.id === 'n-b' ? { ...node, address: '127.0.0.1', port: 1 } : node);
    const unheard = (seen: SeenMember[]) =>
      seen.map((member) => (member.id === 'c' ? { ...member, nodes: member.nodes.map(elsewhere) } : member));
    expect(planCluster(world(unheard, { born: false, fromBackup: true }))).toEqual([{ do: 'wait', reason: 'c must hear of the others' }]);
    const grown = world(undefined, { shards: 2 });
    expect(planCluster(grown)).toMatchObject([{ do: 'move' }]);
    const held = { ...grown, backup: '20260101-000000-abcd' };
    expect(planCluster(held)).toEqual([]);
    expect(reportOf(held, [])).toMatchObject({
      ...{ state: 'moving', sentence: '5461 slots wait until the backup 20260101-000000-abcd is made' },
    });
  });

  it('goes on with what a crash has left half given', () => {
    const half = (seen: SeenMember[]) =>
      seen.map((member) => ({ ...member, nodes: member.nodes.map((node) => ({ ...node, slots: node.id === 'n-a' ? node.slots : [] })) }));
    const steps = planCluster(world(half, { born: false }));
    expect(steps.map((step) => (step.do === 'give' ? [step.at, step.slots] : step.do))).toEqual([
      ['b', SHARES.get('b')],
      ['c', SHARES.get('c')],
    ]);
    expect(planCluster(world(undefined, { born: false }))).toMatchObject([{ do: 'born' }]);
  });

  it('introduces members that came back elsewhere, and does nothing else before', () => {
    const moved = (seen: SeenMember[]) =>
      seen.map((member) => ({
        ...member,
        ...(member.id === 'a' ? {} : { address: `10.9.9.${member.id.charCodeAt(0)}` }),
        nodes: member.nodes.map((node) => (node.myself ? node : { ...node, linkUp: false, failed: true })),
      }));
    const steps = planCluster(world(moved));
    expect(steps).toHaveLength(5);
    for (const step of steps) expect(step).toMatchObject({ do: 'meet', at: 'a' });
  });

  it('makes a member that came back empty a replica of its shard, and forgets who it was', () => {
    const anew = (seen: SeenMember[]) =>
      seen.map((member) => ({
        ...member,
        nodes: [
          ...member.nodes.map((node) => (node.id === 'n-d' ? { ...node, id: 'n-new', role: 'master' as const, master: undefined } : node)),
          ...(member.id === 'd' ? [] : [line('d', { failed: true, linkUp: false })]),
        ],
      }));
    expect(planCluster(world(anew))).toEqual([{ do: 'replicate', at: 'd', master: 'n-a', reason: 'd follows a, the master of shard 0' }]);
    const following = (seen: SeenMember[]) =>
      anew(seen).map((member) => ({
        ...member,
        nodes: member.nodes.map((node) => (node.id === 'n-new' ? { ...node, role: 'replica' as const, master: 'n-a' } : node)),
      }));
    const steps = planCluster(world(following));
    expect(steps.every((step) => step.do === 'forget' && step.node === 'n-d')).toBe(true);
    expect(steps).toHaveLength(5);
  });

  it('never forgets who owns slots, nor a member that is only away', () => {
    const away = (seen: SeenMember[]) =>
      seen
        .filter(({ id }) => id !== 'a')
        .map((member) => ({
          ...member,
          nodes: member.nodes.map((node) => (node.id === 'n-a' ? { ...node, failed: true, linkUp: false } : node)),
        }));
    expect(planCluster(world(away))).toEqual([]);
    // Even when its member is no more.
    expect(
      planCluster(world(away, { known: {}, members: MEMBERS.filter(({ id }) => id !== 'a') })).some((step) => step.do === 'forget'),
    ).toBe(false);
  });

  it('lets nobody begin a shard anew whose owner is away', () => {
    const lost = (seen: SeenMember[]) =>
      seen
        .filter(({ id }) => id !== 'a')
        .map((member) => ({
          ...member,
          nodes: member.nodes.map((node) => {
            if (node.id === 'n-a') return { ...node, failed: true, linkUp: false };
            return node.id === 'n-d' ? { ...node, role: 'master' as const, master: undefined } : node;
          }),
        }));
    expect(planCluster(world(lost))).toEqual([]);
  });

  it('empties shards that are to go, and moves nothing while something moves or somebody is away', () => {
    const steps = planCluster(world(undefined, { shards: 2 }));
    expect(steps).toMatchObject([{ do: 'move', from: 'c' }]);
    expect(planCluster(world(undefined, { shards: 2, moving: true }))).toEqual([]);
    const resting = world(undefined, { shards: 2, resting: true });
    expect(planCluster(resting)).toEqual([]);
    expect(reportOf(resting, [])).toMatchObject({ state: 'moving', left: 5461 });
    expect(planCluster(world((seen) => seen.slice(0, 5), { shards: 2 }))).toEqual([]);
  });
});
