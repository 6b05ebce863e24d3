import { describe, expect, it } from 'vitest';
import { decideMember, type MemberWorld } from './member.ts';
import type { NodeLine } from './nodes.ts';

const node = (id: string, more: Partial<NodeLine> = {}): NodeLine => ({
  ...{ id, address: `10.0.0.${id.length}`, port: 6379, myself: false, role: 'master', master: undefined, failed: false, linkUp: true },
  ...{ slots: [], open: [] },
  ...more,
});
const SLOTS = [{ first: 0, last: 5460 }];
const MASTER = node('m', { myself: true, slots: SLOTS });
const REPLICA = node('r', { role: 'replica', master: 'm' });
const world = (more: Partial<MemberWorld> = {}): MemberWorld => ({
  ...{
    me: 'c-1',
    address: '10.0.0.9',
    engine: { state: 'down' },
    known: true,
    appendOnly: false,
    nodes: [MASTER, REPLICA],
    downMs: 0,
    others: [],
    endingMs: undefined,
  },
  ...more,
});
const asReplica = (upMs: number) => ({ nodes: [node('m', { slots: SLOTS }), { ...REPLICA, myself: true }], upMs });

describe('an engine that is down', () => {
  it('is started at once where it loses nothing by it: with each command on disk, as a replica, without replicas, and new', () => {
    expect(decideMember(world({ appendOnly: true }))).toMatchObject({ do: 'start' });
    expect(
      decideMember(
        world({
          nodes: [
            { ...REPLICA, myself: true },
            { ...MASTER, myself: false },
          ],
        }),
      ),
    ).toMatchObject({ do: 'start' });
    expect(decideMember(world({ nodes: [MASTER] }))).toMatchObject({ do: 'start' });
    expect(decideMember(world({ nodes: [] }))).toMatchObject({ do: 'start' });
    expect(decideMember(world({ nodes: [], known: false }))).toMatchObject({ do: 'wait' });
  });

  it('that was a master with data in memory only waits for its replica, which is asked to lead', () => {
    const others = [asReplica(60_000)];
    expect(decideMember(world({ others }))).toMatchObject({ do: 'succeed', force: true, address: REPLICA.address });
    const succeeded = [{ nodes: [node('m'), node('r', { myself: true, slots: SLOTS })], upMs: 60_000 }];
    expect(decideMember(world({ others: succeeded }))).toMatchObject({ do: 'start' });
    expect(decideMember(world({ others, downMs: 8000 }))).toMatchObject({ do: 'start' });
  });

  it('does not wait for one that was restarted too and has nothing, and for nobody longer than an election takes', () => {
    expect(decideMember(world({ others: [asReplica(0)] }))).toMatchObject({ do: 'start' });
    expect(decideMember(world())).toMatchObject({ do: 'wait' });
    expect(decideMember(world({ downMs: 5000 }))).toMatchObject({ do: 'start' });
  });
});

describe('a new engine where a master was lost', () => {
  const others = [
    { nodes: [node('m', { slots: SLOTS, address: '10.0.0.9', failed: true, linkUp: false }), { ...REPLICA, myself: true }], upMs: 60_000 },
  ];

  it('is not started before its replicas have stopped following the address: they would copy nothing from it', () => {
    expect(decideMember(world({ nodes: [], others }))).toMatchObject({ do: 'wait', rule: 'C6' });
    const succeeded = [
      { nodes: [node('m', { address: '10.0.0.9', failed: true }), node('r', { myself: true, slots: SLOTS })], upMs: 60_000 },
    ];
    expect(decideMember(world({ nodes: [], others: succeeded }))).toMatchObject({ do: 'start' });
    expect(decideMember(world({ nodes: [], others, downMs: 30_000 }))).toMatchObject({ do: 'start' });
  });
});

describe('an engine', () => {
  it('that says nothing is killed when others can lead, and left alone for long when it is the only one', () => {
    const hung = (ageMs: number, nodes: NodeLine[]) => decideMember(world({ engine: { state: 'unreachable', ageMs }, nodes })).do;
    expect([hung(3000, [MASTER, REPLICA]), hung(4000, [MASTER, REPLICA])]).toEqual(['wait', 'kill']);
    expect([hung(30_000, [MASTER]), hung(60_000, [MASTER])]).toEqual(['wait', 'kill']);
  });

  it('whose member is to end hands its slots over first, if somebody can take them in time', () => {
    const end = (more: Partial<MemberWorld>) => decideMember(world({ engine: { state: 'running' }, endingMs: 0, ...more }));
    expect(end({})).toMatchObject({ do: 'succeed', force: false });
    expect(end({ endingMs: 10_000 })).toMatchObject({ do: 'leave' });
    expect(end({ nodes: [MASTER, { ...REPLICA, linkUp: false }] })).toMatchObject({ do: 'leave' });
    const nodes = [{ ...REPLICA, myself: true }];
    expect(end({ nodes })).toMatchObject({ do: 'wait', reason: expect.stringContaining('sends clients on') });
    expect(end({ nodes, endingMs: 2000 })).toMatchObject({ do: 'leave' });
  });
});
