import { describe, expect, it } from 'vitest';
import { sayStep } from '#test/say-step.ts';
import { acache, ago, bare, gib, host, lead, lose, NOW, report, said, seat, settled, withRunning } from '#test/xcache-world.ts';
import { memberSpec } from './plan/member-spec.ts';
import type { Observed } from './plan/world.ts';
import { plan } from './plan.ts';
import type { CacheSpec, ClusterRecord } from './schema.ts';
import { withMember, withoutMember } from './spec.ts';

const steps = (spec: CacheSpec, observed: Observed) => plan(spec, observed, NOW).map(sayStep);

describe('making', () => {
  it('places the members together, then makes them, and then has nothing to do', () => {
    expect(steps(acache(), bare())).toEqual(['place acache-1 acache-2']);
    const everything = [seat(acache(), 'acache-1', host(1)), seat(acache(), 'acache-2', host(2))];
    expect(steps(acache(), bare({ everything }))).toEqual(['ensure acache-1', 'ensure acache-2']);
    expect(steps(acache(), settled())).toEqual([]);
    const single = acache({ mode: 'standalone' });
    expect(steps(single, settled(single))).toEqual([]);
  });

  it('hands over secrets that changed, and starts what does not run', () => {
    const world = settled();
    expect(steps(acache(), { ...world, secrets: { ...world.secrets, 'acache-2': { wanted: 'new', handed: 'h' } } })).toEqual([
      'ensure acache-2',
    ]);
    const [one, two] = world.reports;
    expect(steps(acache(), { ...world, reports: [one!, { ...two!, state: 'exited' }] })).toEqual(['ensure acache-2']);
  });

  it('gives a member what its own keys and no others allow, its memory and its group', () => {
    const place = seat(acache(), 'acache-1', host(1));
    const spec = memberSpec(acache(), place, bare({ everything: [place] }));
    expect(spec.env).toMatchObject({ XCAAS_GROUP: 'group1', XCAAS_MEMORY_BYTES: String(gib(1)), XCAAS_NODE: 'host-1' });
    expect(spec.consul.write).toContain('xcaas/cache/acache/members/acache-1');
    expect(spec.consul.write.filter((key) => /spec|status|credentials|acache-2/.test(key))).toEqual([]);
  });
});

describe('a rolling change', () => {
  const spec = acache({ memoryBytes: gib(2), diskBytes: gib(2) });
  /** Reserved already, and still running with the old size. */
  const changed = (from = settled()): Observed => ({
    ...from,
    everything: from.everything.map((each) => ({ ...each, memoryBytes: gib(2) })),
  });
  /** …of which these were made anew, long enough ago to have spoken. */
  const replaced = (world: Observed, of: CacheSpec, ...members: string[]): Observed => ({
    ...world,
    reports: world.reports.map((each) =>
      members.includes(each.id)
        ? report(of, world.everything.find(({ member }) => member === each.id)!, world, { startedAt: ago(100) })
        : each,
    ),
  });

  it('reserves first, then replaces the replica, hands over, and replaces the old master', () => {
    expect(steps(spec, settled())).toEqual(['reserve acache-1', 'reserve acache-2']);
    const world = changed();
    expect(steps(spec, world)).toEqual(['replace acache-2']);
    const half = replaced(world, spec, 'acache-2');
    expect(steps(spec, half)).toEqual(['switchover acache-2']);
    const moved = {
      ...half,
      lead: lead('acache-2', ['acache-1'], { epoch: 2 }),
      sidecars: [said('acache-1', 'replica'), said('acache-2', 'master')],
    };
    expect(steps(spec, moved)).toEqual(['replace acache-1']);
  });

  it('waits while the replica is not in sync, while it is paused, or while the master is changing', () => {
    const half = replaced(changed(), spec, 'acache-2');
    expect(steps(spec, { ...half, lead: lead('acache-1', []) })).toEqual([]);
    expect(steps({ ...spec, pausedUntil: ago(-60) }, half)).toEqual([]);
    expect(steps(spec, { ...half, move: { v: 1, id: 'x', state: 'asked' } })).toEqual([]);
    expect(steps(spec, { ...half, lead: lead('acache-1', ['acache-2'], { state: 'handing' }) })).toEqual([]);
    const failed = (seconds: number) => ({ v: 1 as const, id: `rolling ${ago(seconds)}`, state: 'failed' as const });
    expect(steps(spec, { ...half, move: failed(10) })).toEqual([]);
    expect(steps(spec, { ...half, move: failed(100) })).toEqual(['switchover acache-2']);
  });

  it('of two replicas takes the second only while the first is in sync again', () => {
    const two = acache({ memoryBytes: gib(2), diskBytes: gib(2), replicas: 2 });
    const world = replaced(changed(settled(acache({ replicas: 2 }))), two, 'acache-2');
    expect(steps(two, { ...world, lead: lead('acache-1', ['acache-3']) })).toEqual([]);
    expect(steps(two, world)).toEqual(['replace acache-3']);
  });

  it('hands over once all replicas are in sync again, but for those that cannot be', () => {
    const two = acache({ memoryBytes: gib(2), diskBytes: gib(2), replicas: 2 });
    const world = replaced(changed(settled(acache({ replicas: 2 }))), two, 'acache-2', 'acache-3');
    expect(steps(two, world)).toEqual(['switchover acache-2']);
    const coming = { ...world, lead: lead('acache-1', ['acache-2']) };
    expect(steps(two, coming)).toEqual([]);
    const failed = {
      ...coming,
      sidecars: coming.sidecars.map((each) => (each.member === 'acache-3' ? { ...each, state: 'failed' as const } : each)),
    };
    expect(steps(two, failed)).toEqual(['switchover acache-2']);
  });

  it('restarts by making members anew, in the same order', () => {
    expect(steps({ ...acache(), restartSerial: 1 }, settled())).toEqual(['replace acache-2']);
    const single = acache({ mode: 'standalone' });
    expect(steps({ ...single, restartSerial: 1 }, settled(single))).toEqual(['replace acache-1']);
  });
});

describe('a host that is lost', () => {
  const spec = acache();

  it('is remembered, then waited for, then its replica is replaced by a member with another id', () => {
    expect(steps(spec, lose(settled(), 'acache-2', undefined))).toEqual(['lost acache-2']);
    expect(steps(spec, lose(settled(), 'acache-2', 599))).toEqual([]);
    expect(steps(spec, lose(settled(), 'acache-2', 600))).toEqual(['grow 0']);
    expect(steps({ ...spec, replaceAfterSeconds: 60 }, lose(settled(), 'acache-2', 61))).toEqual(['grow 0']);
    expect(withMember(spec).id).toBe('acache-3');
  });

  it('is waited for while nobody takes writes, or nowhere else is room', () => {
    const world = lose(settled(), 'acache-2', 9999);
    expect(steps(spec, { ...world, lead: lead('acache-1', [], { state: 'promoting' }) })).toEqual([]);
    expect(steps(spec, { ...world, hosts: world.hosts.slice(0, 2) })).toEqual([]);
  });

  it('has its member dropped once the new one is in sync, and what it left is removed when it is back', () => {
    const grown = withMember(spec).spec;
    const alone = { ...lose(settled(), 'acache-2', 9999), lead: lead('acache-1', []) };
    const [step] = plan(grown, alone, NOW);
    expect(step).toMatchObject({ do: 'place', members: ['acache-3'], tiers: [{ hosts: [host(3).spec.id] }, {}, {}] });
    const joined = withRunning(grown, alone, 'acache-3', host(3));
    // What is lost holds nothing that the master lacks, so it is not waited for either.
    expect(steps(grown, joined)).toEqual(['drop acache-2']);
    const dropped = withoutMember(grown, 'acache-2');
    const back = { ...withRunning(dropped, settled(), 'acache-3', host(3)), lead: lead('acache-1', ['acache-3']) };
    expect(steps(dropped, back)).toEqual(['purge acache-2']);
    // The last copy beside the master is kept until another one has it.
    expect(steps(dropped, { ...back, lead: lead('acache-1', ['acache-2']) })).toEqual([]);
  });

  it('with the only member begins anew when nothing was on disk, and is waited for when something was', () => {
    const single = acache({ mode: 'standalone' });
    expect(steps(single, lose(settled(single), 'acache-1', 599))).toEqual([]);
    expect(steps(single, lose(settled(single), 'acache-1', 600))).toEqual(['grow 0']);
    const kept = acache({ mode: 'standalone', persistence: 'aof' });
    expect(steps(kept, lose(settled(kept), 'acache-1', 9999))).toEqual([]);
    const left = settled(kept);
    expect(steps(kept, { ...left, hosts: left.hosts.slice(1), reports: [], sidecars: [] })).toEqual(['grow 0']);
  });

  it('whose member was dropped and leads all the same makes it a member again', () => {
    expect(steps(withoutMember(spec, 'acache-2'), { ...settled(), lead: lead('acache-2', ['acache-1']) })).toContain('adopt acache-2');
  });
});

describe('a better place', () => {
  const together = settled(acache(), [host(1)]);

  it('both on one host: a second host or group, when there is one, gets a new replica', () => {
    expect(steps(acache(), together)).toEqual([]);
    expect(steps(acache(), { ...together, hosts: [host(1), host(2)] })).toEqual(['grow 0']);
    expect(steps(acache(), { ...together, hosts: [host(1), host(2, { group: 'group1' })] })).toEqual(['grow 0']);
    expect(steps(acache(), { ...together, hosts: [host(1), host(2, { memoryGib: 1 })] })).toEqual([]);
    expect(steps(acache(), { ...together, hosts: [host(1), host(2)], lead: lead('acache-1', []) })).toEqual([]);
  });

  it('the old replica is dropped when the new one is in sync, and not before', () => {
    const grown = withMember(acache()).spec;
    const joined = withRunning(grown, { ...together, hosts: [host(1), host(2)] }, 'acache-3', host(2));
    expect(steps(grown, joined)).toEqual([]);
    expect(steps(grown, { ...joined, lead: lead('acache-1', ['acache-2', 'acache-3']) })).toEqual(['drop acache-2']);
    const dropped = withoutMember(grown, 'acache-2');
    expect(steps(dropped, { ...joined, lead: lead('acache-1', ['acache-2', 'acache-3']) })).toEqual(['purge acache-2']);
  });
});

describe('scaling', () => {
  it('adds replicas one by one, and takes the youngest away', () => {
    expect(steps({ ...acache(), replicas: 2 }, settled())).toEqual(['grow 0']);
    const two = acache({ replicas: 2 });
    expect(steps({ ...two, replicas: 1 }, settled(two))).toEqual(['drop acache-3']);
  });
});

describe('a cluster', () => {
  const spec = acache({ mode: 'cluster' });
  const record = (change: Partial<ClusterRecord> = {}): ClusterRecord => ({
    ...{ v: 1, born: true, nodes: {}, holder: 'acache-1', state: 'whole', sentence: 'all slots are served' },
    ...{ slots: { 'acache-1': 5462, 'acache-2': 5461, 'acache-3': 5461 }, emptied: [] },
    ...change,
  });
  const world = (): Observed => ({
    ...settled(spec),
    lead: undefined,
    cluster: record(),
    sidecars: spec.members.map(({ id }, index) => said(id, index < 3 ? 'master' : 'replica')),
  });

  it('has a third of its masters in each group, with their replicas in others', () => {
    const placed = plan(spec, bare(), NOW).filter((step) => step.do === 'place');
    expect(placed.map(({ members }) => members.length)).toEqual([2, 2, 2]);
    for (const { members } of placed)
      expect(new Set(members.map((member) => spec.members.find(({ id }) => id === member)?.shard)).size).toBe(2);
    expect(new Set(placed.map(({ tiers }) => tiers[0]?.hosts.join()))).toHaveLength(3);
  });

  it('replaces a lost replica in its shard, and drops a lost one when another is in sync', () => {
    const apart = { ...world(), everything: spec.members.map(({ id }, index) => seat(spec, id, host([1, 2, 3, 2, 3, 1][index]!))) };
    const reports = apart.everything.map((place) => report(spec, place, apart));
    expect(steps(spec, { ...apart, reports })).toEqual([]);
    expect(steps({ ...spec, replicas: 2 }, { ...apart, reports })).toEqual(['grow 0']);
  });

  it('keeps the members of a shard that is to go until it has no slots', () => {
    const fewer = { ...acache({ mode: 'cluster', shards: 5 }), shards: 3 };
    const hosts = [1, 2, 3, 4, 5].map((n) => host(n));
    const base = { ...settled(fewer, hosts), lead: undefined };
    const everything = fewer.members.map(({ id }, index) => seat(fewer, id, hosts[(index + (index < 5 ? 0 : 1)) % 5]!));
    const present = { ...base, everything, reports: everything.map((place) => report(fewer, place, { hosts, everything })) };
    const sidecars = fewer.members.map(({ id }, index) => said(id, index < 5 ? 'master' : 'replica'));
    const slots = { 'acache-1': 5462, 'acache-2': 5461, 'acache-3': 5461 };
    const moving = { ...present, sidecars, cluster: record({ state: 'moving', slots: { ...slots, 'acache-4': 10 } }) };
    expect(steps(fewer, moving).filter((step) => step.startsWith('drop'))).toEqual([]);
    const emptied = { ...moving, cluster: record({ slots, emptied: [3, 4] }) };
    expect(steps(fewer, emptied)).toEqual(['drop acache-4']);
    expect(steps(withoutMember(fewer, 'acache-4'), emptied)).toEqual(expect.arrayContaining(['purge acache-4', 'drop acache-9']));
  });
});

describe('destroyed', () => {
  it('stops the members, keeps what is on disk for its time, and forgets the rest', () => {
    const gone = (purge: boolean, seconds = 60) => ({ ...acache(), destroyed: { time: ago(seconds), keepData: false, purge } });
    expect(steps(gone(false), settled())).toEqual(['stop acache-1', 'stop acache-2']);
    expect(steps(gone(false), { ...settled(), reports: [] })).toEqual(['reserve acache-1', 'reserve acache-2']);
    expect(steps(gone(true), { ...settled(), reports: [] })).toEqual(['purge acache-1', 'purge acache-2']);
    expect(steps(gone(false, 8 * 86_400), bare())).toEqual(['forget']);
  });
});
