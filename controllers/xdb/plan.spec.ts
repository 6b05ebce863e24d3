import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { place } from '#pool/placement.ts';
import { Placement } from '#pool/placement-record.ts';
import { resized } from '#pool/placements.ts';
import { GRACE_MS } from '#pool/service-destroyed.ts';
import { memberToPlace } from '#pool/service-spec.ts';
import { placementOf } from '#pool/service-world.ts';
import { sayStep } from '#test/say-step.ts';
import { adb, ago, bare, gib, host, NOW, placement, report, settled, sidecar, sync } from '#test/xdb-world.ts';
import { memberSpec } from '#xdb/plan/member-spec.ts';
import type { Observed, Step } from '#xdb/plan/world.ts';
import { plan } from '#xdb/plan.ts';
import type { DbSpec, MemberStatus } from '#xdb/schema.ts';
import { fullMembers, memberIds, withMember, withoutMember } from '#xdb/spec.ts';

const said = (spec: DbSpec, observed: Observed) => plan(spec, observed, NOW).map(sayStep);

describe('making', () => {
  it('places both members together, then makes them', () => {
    expect(said(adb(), bare())).toEqual(['place adb-1 adb-2']);
    const spec = adb();
    const everything = [placement(spec, 'adb-1', host(1)), placement(spec, 'adb-2', host(2))];
    expect(said(spec, bare({ everything }))).toEqual(['ensure adb-1', 'ensure adb-2']);
  });

  it('has nothing to do when all is as wanted', () => {
    expect(said(adb(), settled())).toEqual([]);
    expect(said(adb({ role: 'single' }), settled(adb({ role: 'single' })))).toEqual([]);
  });

  it('hands over secrets that changed, and starts what does not run', () => {
    const world = settled();
    expect(said(adb(), { ...world, secrets: { ...world.secrets, 'adb-2': { wanted: 'new', handed: 'h' } } })).toEqual(['ensure adb-2']);
    const [one, two] = world.reports;
    expect(said(adb(), { ...world, reports: [one!, { ...two!, state: 'exited' }] })).toEqual(['ensure adb-2']);
  });

  it('gives a member what its own keys and no others allow, and publishes on each host once', () => {
    const spec = adb({ publish: [{ hostPort: 13306, port: 3306 }] });
    const both = [placement(spec, 'adb-1', host(1)), placement(spec, 'adb-2', host(1))];
    const world = bare({ everything: both });
    const [first, second] = both.map((each) => memberSpec(spec, each, world));
    expect(first?.publish).toEqual([{ hostPort: 13306, port: 3306, protocol: 'tcp' }]);
    expect(second?.publish).toEqual([]);
    expect(first?.consul.write).toContain('xcaas/db/adb/data/adb-1');
    expect(first?.consul.write.filter((key) => /spec|status|credentials|adb-2/.test(key))).toEqual([]);
  });
});

describe('a rolling change', () => {
  const spec = adb({ memoryBytes: gib(2) });
  /** Reserved already, and still running with the old size. */
  const changed = (): Observed => {
    const world = settled();
    return { ...world, everything: world.everything.map((each) => ({ ...each, memoryBytes: gib(2) })) };
  };

  it('reserves first', () => {
    expect(said(spec, settled())).toEqual(['reserve adb-1', 'reserve adb-2']);
  });

  it('replaces the slave first, then switches over, then replaces the old master', () => {
    const world = changed();
    expect(said(spec, world)).toEqual(['replace adb-2']);

    const fresh = { ...report(spec, world.everything[1]!, world), startedAt: ago(0) };
    const second = { ...world, reports: [world.reports[0]!, fresh] };
    // What the predecessor's sidecar said is no word of the new one.
    expect(said(spec, second)).toEqual([]);

    const back = { ...second, reports: [world.reports[0]!, { ...fresh, startedAt: ago(100) }] };
    expect(said(spec, back)).toEqual(['switchover adb-2']);

    const moved = {
      ...back,
      sync: sync('adb-2', 'adb-1', { epoch: 2 }),
      sidecars: [sidecar('adb-1', 'slave'), sidecar('adb-2', 'master')],
    };
    expect(said(spec, moved)).toEqual(['replace adb-1']);
  });

  it('waits while the slave is not in sync, is paused, or a switchover is under way', () => {
    const world = changed();
    const half = { ...world, reports: [world.reports[0]!, report(spec, world.everything[1]!, world)] };
    expect(said(spec, { ...half, sync: sync('adb-1', null) })).toEqual([]);
    expect(said({ ...spec, pausedUntil: ago(-60) }, half)).toEqual([]);
    const asked = { v: 1 as const, id: 'x', kind: 'switchover' as const, target: 'adb-2', state: 'asked' as const };
    expect(said(spec, { ...half, move: asked })).toEqual([]);
    expect(said(spec, half)).toEqual(['switchover adb-2']);
  });

  it('does not try a switchover that has just failed again at once', () => {
    const world = changed();
    const half = { ...world, reports: [world.reports[0]!, report(spec, world.everything[1]!, world)] };
    const failed = (seconds: number) => ({
      v: 1 as const,
      id: `rolling ${ago(seconds)}`,
      kind: 'switchover' as const,
      state: 'failed' as const,
    });
    expect(said(spec, { ...half, move: failed(10) })).toEqual([]);
    expect(said(spec, { ...half, move: failed(100) })).toEqual(['switchover adb-2']);
  });

  it('restarts engines in the same order', () => {
    const restarted = adb();
    restarted.restartSerial = 1;
    const world = settled();
    expect(said(restarted, world)).toEqual(['restart adb-2']);
    const second = [sidecar('adb-1', 'master'), sidecar('adb-2', 'slave', { restartSerial: 1 })];
    expect(said(restarted, { ...world, sidecars: second })).toEqual(['switchover adb-2']);
  });

  it('to another image (db upgrade) goes the same way', () => {
    const upgraded = { ...adb(), imageId: `sha256:${'e'.repeat(64)}` };
    const world = settled();
    expect(said(upgraded, world)).toEqual(['replace adb-2']);
    const half = { ...world, reports: [world.reports[0]!, report(upgraded, world.everything[1]!, world)] };
    expect(said(upgraded, half)).toEqual(['switchover adb-2']);
  });

  it('of a single member is its restart', () => {
    const single = adb({ role: 'single', memoryBytes: gib(2) });
    const world = settled(adb({ role: 'single' }));
    expect(said(single, { ...world, everything: world.everything.map((each) => ({ ...each, memoryBytes: gib(2) })) })).toEqual([
      'replace adb-1',
    ]);
  });
});

describe('a host that is lost', () => {
  const gone = (since: number | undefined, world = settled()): Observed => ({
    ...world,
    hosts: [host(1), host(2, { alive: false }), host(3)],
    silentHosts: [host(2).spec.id],
    everything: world.everything.map((each) =>
      each.member === 'adb-2' && since !== undefined ? { ...each, lostSince: ago(since) } : each,
    ),
    reports: world.reports.filter(({ id }) => id !== 'adb-2'),
    sidecars: world.sidecars.filter(({ member }) => member !== 'adb-2'),
  });

  it('is remembered, then waited for, then replaced by a member with another id', () => {
    const spec = adb();
    expect(said(spec, gone(undefined))).toEqual(['lost adb-2']);
    expect(said(spec, gone(599))).toEqual([]);
    expect(said(spec, gone(600))).toEqual(['grow']);
    expect(said({ ...spec, replaceAfterSeconds: 60 }, gone(61))).toEqual(['grow']);
    expect(withMember(spec, 'member').id).toBe('adb-3');
  });

  it('is waited for while the leader is on it, does not write, or nowhere else is room', () => {
    const spec = adb();
    const led = gone(9999);
    expect(said(spec, { ...led, sync: sync('adb-2', 'adb-1') })).toEqual([]);
    expect(said(spec, { ...led, sync: sync('adb-1', null, { state: 'promoting' }) })).toEqual([]);
    expect(said(spec, { ...led, hosts: led.hosts.slice(0, 2) })).toEqual([]);
    expect(said(spec, { ...led, hosts: [led.hosts[0]!, led.hosts[1]!, host(3, { memoryGib: 1 })] })).toEqual([]);
  });

  it('places the new member outside the group of the leader, and drops the lost one only once the new one is complete', () => {
    const grown = withMember(adb(), 'member').spec;
    const world = gone(9999);
    const [step] = plan(grown, world, NOW);
    expect(step).toMatchObject({ do: 'place', members: ['adb-3'], tiers: [{ hosts: [host(3).spec.id] }, { hosts: [host(3).spec.id] }] });

    const everything = [...world.everything, placement(grown, 'adb-3', host(3))];
    const made = { ...world, everything, secrets: { ...world.secrets, 'adb-3': { wanted: 'h', handed: 'h' } } };
    const running = { ...made, reports: [...made.reports, report(grown, everything[2]!, made)] };
    const copying = { ...running, sidecars: [...running.sidecars, sidecar('adb-3', 'slave', { state: 'cloning' })] };
    expect(said(grown, copying)).toEqual([]);
    const complete = { ...running, sync: sync('adb-1', 'adb-3'), sidecars: [...running.sidecars, sidecar('adb-3', 'slave')] };
    expect(said(grown, complete)).toEqual(['drop adb-2']);
  });

  it('that comes back has what it left stopped, and purged only when the pair is complete', () => {
    const spec = withoutMember(withMember(adb(), 'member').spec, 'adb-2');
    const world = settled();
    const everything = [...world.everything, placement(spec, 'adb-3', host(3))];
    const base = { ...world, everything, secrets: { ...world.secrets, 'adb-3': { wanted: 'h', handed: 'h' } } };
    const back: Observed = {
      ...base,
      reports: [...base.reports, report(spec, everything[2]!, base)],
      sync: sync('adb-1', 'adb-3'),
      sidecars: [sidecar('adb-1', 'master'), sidecar('adb-3', 'slave')],
    };
    expect(said(spec, back)).toEqual(['stop adb-2']);
    const stopped = { ...back, reports: back.reports.filter(({ id }) => id !== 'adb-2') };
    expect(said(spec, stopped)).toEqual(['purge adb-2']);
    expect(said(spec, { ...stopped, sync: sync('adb-1', null) })).toEqual([]);
  });

  it('whose member was dropped and led all the same makes it a member again', () => {
    expect(said(withoutMember(adb(), 'adb-2'), { ...settled(), sync: sync('adb-2', 'adb-1') })).toContain('adopt adb-2');
  });
});

describe('a better place', () => {
  const one = host(1);

  it('both on one host: a second group, when there is one, gets a new slave', () => {
    const spec = adb();
    const together = settled(spec, [one]);
    expect(said(spec, together)).toEqual([]);
    expect(said(spec, { ...together, hosts: [one, host(2)] })).toEqual(['grow']);
    expect(said(spec, { ...together, hosts: [one, host(2, { group: 'group1' })] })).toEqual(['grow']);
    expect(said(spec, { ...together, hosts: [one, host(2, { memoryGib: 1 })] })).toEqual([]);
    expect(said(spec, { ...together, hosts: [one, host(2)], sync: sync('adb-1', null) })).toEqual([]);
  });

  it('the old slave is dropped when the new one has its copy, and stopped when it is the sync slave no more', () => {
    const grown = withMember(adb(), 'member').spec;
    const together = settled(adb(), [one]);
    const everything = [...together.everything, placement(grown, 'adb-3', host(2))];
    const secrets = { ...together.secrets, 'adb-3': { wanted: 'h', handed: 'h' } };
    const base = { ...together, hosts: [one, host(2)], everything, secrets };
    const world = (state: MemberStatus['state'], copied: boolean): Observed => ({
      ...base,
      reports: [...base.reports, report(grown, everything[2]!, base)],
      data: { ...base.data, ...(copied ? { 'adb-3': { v: 1, gen: 'g', boot: 'b', ready: null } } : {}) },
      sidecars: [...base.sidecars, sidecar('adb-3', 'slave', { state })],
    });
    expect(said(grown, world('cloning', false))).toEqual([]);
    expect(said(grown, world('catching_up', false))).toEqual([]);
    // Its engine is away again: not now.
    expect(said(grown, world('down', true))).toEqual([]);
    expect(said(grown, world('catching_up', true))).toEqual(['drop adb-2']);
    const dropped = withoutMember(grown, 'adb-2');
    expect(said(dropped, world('catching_up', true))).toEqual([]);
    expect(said(dropped, { ...world('catching_up', true), sync: sync('adb-1', null) })).toEqual(['stop adb-2']);
  });

  it('both in one group: only another group is better', () => {
    const spec = adb();
    const pair = [one, host(2, { group: 'group1' })];
    expect(said(spec, { ...settled(spec, pair), hosts: [...pair, host(3, { group: 'group1' })] })).toEqual([]);
    expect(said(spec, { ...settled(spec, pair), hosts: [...pair, host(3)] })).toEqual(['grow']);
  });

  it('labels are hard', () => {
    const spec = adb({ labels: { storage: 'ssd' } });
    const together = settled(spec, [host(1, { labels: { storage: 'ssd' } })]);
    expect(said(spec, { ...together, hosts: [...together.hosts, host(2)] })).toEqual([]);
    expect(said(spec, { ...together, hosts: [...together.hosts, host(2, { labels: { storage: 'ssd' } })] })).toEqual(['grow']);
  });
});

describe('destroying', () => {
  const destroyed = (change: Partial<NonNullable<DbSpec['destroyed']>> = {}): DbSpec => ({
    ...adb(),
    destroyed: { time: ago(60), keepData: false, purge: false, ...change },
  });

  it('stops the members, gives back CPUs and memory, and keeps data and records for a while', () => {
    const world = settled();
    expect(said(destroyed(), world)).toEqual(['stop adb-1', 'stop adb-2']);
    const stopped = { ...world, reports: [] };
    expect(said(destroyed(), stopped)).toEqual(['reserve adb-1', 'reserve adb-2']);
    const kept = { ...stopped, everything: world.everything.map((each) => ({ ...each, cpus: 0, memoryBytes: 0 })) };
    expect(said(destroyed(), kept)).toEqual([]);
    expect(said(destroyed({ time: ago(GRACE_MS / 1000) }), kept)).toEqual(['purge adb-1', 'purge adb-2']);
    expect(said(destroyed({ time: ago(GRACE_MS / 1000), keepData: true }), kept)).toEqual([]);
    expect(said(destroyed({ time: ago(GRACE_MS / 1000) }), { ...kept, everything: [] })).toEqual(['forget']);
  });

  it('waits for a host that does not answer before anything is forgotten', () => {
    const world = { ...settled(), reports: [], silentHosts: [host(2).spec.id] };
    expect(said(destroyed({ purge: true }), world)).toEqual(['lost adb-2', 'purge adb-1']);
    expect(said(destroyed({ purge: true }), { ...world, everything: world.everything.slice(1) })).toEqual(['lost adb-2']);
  });

  it('brought back it is made as it was', () => {
    const world = settled();
    const kept = { ...world, reports: [], everything: world.everything.map((each) => ({ ...each, cpus: 0, memoryBytes: 0 })) };
    expect(said(adb(), kept)).toEqual(['reserve adb-1', 'reserve adb-2']);
    expect(said(adb(), { ...world, reports: [] })).toEqual(['ensure adb-1', 'ensure adb-2']);
  });
});

/** Any world, also one that cannot be. */
const anyWorld = fc
  .record({
    role: fc.constantFrom<DbSpec['role']>('pair', 'single'),
    ids: fc.uniqueArray(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 4 }),
    placedOn: fc.array(fc.option(fc.integer({ min: 1, max: 4 })), { minLength: 4, maxLength: 4 }),
    dead: fc.subarray([1, 2, 3, 4]),
    lostFor: fc.array(fc.option(fc.integer({ min: 0, max: 2000 })), { minLength: 4, maxLength: 4 }),
    states: fc.array(fc.constantFrom(undefined, 'running' as const, 'exited' as const), { minLength: 4, maxLength: 4 }),
    old: fc.subarray([1, 2, 3, 4]),
    record: fc.option(
      fc.record({
        leader: fc.integer({ min: 1, max: 4 }),
        slave: fc.option(fc.integer({ min: 1, max: 4 })),
        prev: fc.option(fc.integer({ min: 1, max: 4 })),
        open: fc.boolean(),
      }),
    ),
    live: fc.subarray([1, 2, 3, 4]),
    ready: fc.subarray([1, 2, 3, 4]),
    serial: fc.integer({ min: 0, max: 1 }),
    destroyed: fc.option(fc.record({ keepData: fc.boolean(), purge: fc.boolean(), age: fc.integer({ min: 0, max: 2_000_000 }) })),
    paused: fc.boolean(),
  })
  .map((w): { spec: DbSpec; observed: Observed } => {
    const base = adb({ role: w.role });
    const spec: DbSpec = {
      ...base,
      members: w.ids.map((n) => ({ id: `adb-${n}`, role: 'member', delaySeconds: 0 })),
      lastMember: 4,
      restartSerial: w.serial,
      ...(w.paused ? { pausedUntil: ago(-60) } : {}),
      ...(w.destroyed === null
        ? {}
        : { destroyed: { time: ago(w.destroyed.age), keepData: w.destroyed.keepData, purge: w.destroyed.purge } }),
    };
    const hosts = [1, 2, 3, 4].map((n) => host(n, { alive: !w.dead.includes(n) }));
    const silentHosts = hosts.filter(({ alive }) => !alive).map((each) => each.spec.id);
    const everything = w.placedOn.flatMap((on, index) => {
      if (on === null) return [];
      const lost = w.lostFor[index];
      return [placement(spec, `adb-${index + 1}`, hosts[on - 1]!, lost == null ? {} : { lostSince: ago(lost) })];
    });
    const world = bare({ hosts, everything, silentHosts, birth: { v: 1, member: 'adb-1', done: w.record !== null } });
    const reports = everything.flatMap((place) => {
      const n = Number(place.member.slice(4));
      const state = w.states[n - 1];
      if (state === undefined || silentHosts.includes(place.host)) return [];
      return [report(spec, place, world, { state, ...(w.old.includes(n) ? { hash: 'old' } : {}) })];
    });
    const record = w.record;
    const observed: Observed = {
      ...world,
      reports,
      sync:
        record === null
          ? undefined
          : sync(`adb-${record.leader}`, record.slave === null || record.slave === record.leader ? null : `adb-${record.slave}`, {
              state: record.open ? 'open' : 'promoting',
              prev: record.prev === null ? null : { id: `adb-${record.prev}`, gen: 'g' },
            }),
      data: Object.fromEntries(w.ready.map((n) => [`adb-${n}`, { v: 1, gen: `gen-adb-${n}`, boot: 'b', ready: 1 }])),
      sidecars: w.live.map((n) => sidecar(`adb-${n}`, record?.leader === n ? 'master' : 'slave')),
    };
    return { spec, observed };
  });

describe('whatever the world looks like', () => {
  const takesAway = (step: Step) => (step.do === 'ensure' && step.replaces) || step.do === 'restart';

  it('at most one running member is taken away at a time, and never the leader of several', () => {
    fc.assert(
      fc.property(anyWorld, ({ spec, observed }) => {
        const steps = plan(spec, observed, NOW).filter(takesAway) as (Step & { member: string })[];
        expect(steps.length).toBeLessThanOrEqual(1);
        const [step] = steps;
        if (step === undefined) return;
        expect(spec.pausedUntil).toBeUndefined();
        if (fullMembers(spec).length > 1) expect(step.member).not.toBe(observed.sync?.leader.id);
      }),
      { numRuns: 500 },
    );
  });

  it('the slave that holds everything is taken away only while the leader takes writes', () => {
    fc.assert(
      fc.property(anyWorld, ({ spec, observed }) => {
        const taken = plan(spec, observed, NOW).find(takesAway) as (Step & { member: string }) | undefined;
        if (taken === undefined || observed.sync?.sync?.id !== taken.member) return;
        expect(observed.sync.state).toBe('open');
        expect(observed.sidecars.some(({ member, role }) => member === observed.sync?.leader.id && role === 'master')).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  it('data go only while another member leads and, of a pair, a second one holds everything, or when it is destroyed for good', () => {
    fc.assert(
      fc.property(anyWorld, ({ spec, observed }) => {
        for (const step of plan(spec, observed, NOW)) {
          if (step.do !== 'remove') continue;
          const { destroyed } = spec;
          if (destroyed !== undefined) {
            const age = NOW.getTime() - Date.parse(destroyed.time);
            if (step.forGood) expect(destroyed.purge || (!destroyed.keepData && age >= GRACE_MS)).toBe(true);
            continue;
          }
          expect(memberIds(spec)).not.toContain(step.member);
          expect(observed.sync?.leader.id).not.toBe(step.member);
          expect(observed.sync?.state).toBe('open');
          if (!step.forGood) continue;
          expect(memberIds(spec)).toContain(observed.sync?.leader.id);
          if (spec.role === 'pair') expect(memberIds(spec)).toContain(observed.sync?.sync?.id);
          expect(observed.sync?.sync?.id).not.toBe(step.member);
        }
      }),
      { numRuns: 500 },
    );
  });

  it('a place is given back only when its host left the pool, or with the data', () => {
    fc.assert(
      fc.property(anyWorld, ({ spec, observed }) => {
        for (const step of plan(spec, observed, NOW)) {
          if (step.do === 'release') expect(observed.hosts.some((each) => each.spec.id === step.host)).toBe(false);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('a plan that is carried out comes to an end, with a pair in different groups where there are any', () => {
    const events = fc.array(
      fc.oneof(
        fc.record({ do: fc.constant('kill' as const), host: fc.integer({ min: 0, max: 3 }) }),
        fc.record({ do: fc.constant('heal' as const) }),
        fc.record({ do: fc.constant('resize' as const), memory: fc.constantFrom(gib(1), gib(2)) }),
        fc.record({ do: fc.constant('restart' as const) }),
        fc.record({ do: fc.constant('join' as const) }),
      ),
      { maxLength: 6 },
    );
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 3 }), events, (hosts, happenings) => {
        const life = startLife(hosts);
        life.settle();
        for (const happening of happenings) {
          life.happen(happening);
          life.settle();
        }
        life.happen({ do: 'heal' });
        life.settle();
        const { spec, observed } = life.now();
        expect(plan(spec, observed, life.time())).toEqual([]);
        expect(fullMembers(spec)).toHaveLength(2);
        expect(observed.reports.map(({ id }) => id).sort()).toEqual(memberIds(spec).toSorted());
        expect(observed.everything.map(({ member }) => member).sort()).toEqual(memberIds(spec).toSorted());
        const groups = new Set(observed.everything.map((each) => observed.hosts.find(({ spec: { id } }) => id === each.host)?.spec.group));
        expect(groups.size).toBe(Math.min(2, observed.hosts.length));
      }),
      { numRuns: 25 },
    );
  });
});

type Happening = { do: 'kill'; host: number } | { do: 'heal' } | { do: 'resize'; memory: number } | { do: 'restart' } | { do: 'join' };

/**
 * A pool whose steps take effect at once, and sidecars that do what the protocol ends in: a leader that is gone is succeeded by the slave that holds
 * everything, whoever lives follows and gets in sync. It counts what must never be.
 */
function startLife(count: number) {
  let spec = adb();
  let time = NOW.getTime();
  let hosts = Array.from({ length: count }, (_, index) => host(index + 1));
  let everything: Placement[] = [];
  let reports: Observed['reports'] = [];
  let record: Observed['sync'];
  let move: Observed['move'];
  let serials: Record<string, number> = {};

  const alive = (id: string) => hosts.some((each) => each.spec.id === id && each.alive);
  const runs = (member: string) => reports.some(({ id, state, host: at }) => id === member && state === 'running' && alive(at));
  /** While one member is the sync slave, no other may follow (O1). */
  const isShutOut = (member: string) =>
    record !== undefined && record.sync !== null && record.sync.id !== member && record.leader.id !== member;
  const observed = (): Observed => ({
    ...bare({ hosts, everything, birth: { v: 1, member: 'adb-1', done: record !== undefined } }),
    silentHosts: hosts.filter((each) => !each.alive).map((each) => each.spec.id),
    reports: reports.filter(({ host: at }) => alive(at)),
    sync: record,
    move,
    data: Object.fromEntries(
      reports.map(({ id }) => [id, { v: 1, gen: `gen-${id}`, boot: 'b', ready: isShutOut(id) ? null : (record?.epoch ?? null) }]),
    ),
    sidecars: reports
      .filter(({ id }) => runs(id))
      .map(({ id }) =>
        sidecar(id, record?.leader.id === id ? 'master' : 'slave', {
          state: isShutOut(id) ? 'catching_up' : 'running',
          restartSerial: serials[id] ?? 0,
          time: new Date(time).toISOString(),
        }),
      ),
    secrets: Object.fromEntries(memberIds(spec).map((id) => [id, { wanted: 'h', handed: 'h' }])),
  });

  function sidecars(): void {
    if (record === undefined) {
      if (runs('adb-1')) record = sync('adb-1', null);
      return;
    }
    const { leader, sync: slave } = record;
    if (move !== undefined && move.state === 'asked') {
      const done = slave?.id === move.target && runs(slave?.id ?? '');
      if (done && slave !== null) record = sync(slave.id, null, { epoch: record.epoch + 1 });
      move = { ...move, state: done ? 'done' : 'failed' };
      return;
    }
    if (!runs(leader.id)) {
      if (slave !== null && runs(slave.id)) record = sync(slave.id, null, { epoch: record.epoch + 1 });
      return;
    }
    if (slave !== null && runs(slave.id) && memberIds(spec).includes(slave.id)) return;
    const next = fullMembers(spec).find((member) => member !== leader.id && runs(member));
    record = sync(leader.id, next ?? null, { epoch: record.epoch });
  }

  function carryOut(step: Step): void {
    const world = observed();
    const make = (member: string) => {
      const at = placementOf(member, world)!;
      reports = [...reports.filter(({ id }) => id !== member), report(spec, at, world, { startedAt: new Date(time).toISOString() })];
      serials[member] = spec.restartSerial;
    };
    switch (step.do) {
      case 'place': {
        for (const tier of step.tiers) {
          const members = step.members.map((id) => ({
            ...memberToPlace(spec, id),
            filters: [{ says: tier.says, hosts: new Set(tier.hosts) }],
          }));
          const result = place({ members, hosts, existing: everything });
          if (!result.ok) continue;
          const made = result.placements.map(({ reason: _, fresh: __, ...each }) =>
            Placement.parse({ v: 1, kind: 'db', time: ago(0), ...each }),
          );
          everything = [...everything, ...made];
          return;
        }
        return;
      }
      case 'lost':
        everything = everything.map(({ lostSince: _, ...each }) =>
          each.member === step.member && step.since !== undefined
            ? { ...each, lostSince: step.since }
            : each.member === step.member
              ? each
              : { ...each, ...(_ === undefined ? {} : { lostSince: _ }) },
        );
        return;
      case 'reserve':
        everything = everything.map((each) => (each.member === step.member ? resized(hosts, everything, each, step) : each));
        return;
      case 'ensure':
        if (step.replaces) expect(record?.leader.id).not.toBe(step.member);
        make(step.member);
        return;
      case 'restart':
        expect(record?.leader.id).not.toBe(step.member);
        serials = { ...serials, [step.member]: spec.restartSerial };
        return;
      case 'switchover':
        move = { v: 1, id: `rolling ${new Date(time).toISOString()}`, kind: 'switchover', target: step.target, state: 'asked' };
        return;
      case 'grow':
        spec = withMember(spec, 'member').spec;
        return;
      case 'drop':
        expect(record?.leader.id).not.toBe(step.member);
        spec = withoutMember(spec, step.member);
        return;
      case 'adopt':
        spec = { ...spec, members: [...spec.members, { id: step.member, role: 'member', delaySeconds: 0 }] };
        return;
      case 'remove':
        expect(record?.leader.id).not.toBe(step.member);
        reports = reports.filter(({ id }) => id !== step.member);
        if (step.forGood) {
          expect(record?.sync?.id).not.toBe(step.member);
          everything = everything.filter(({ member }) => member !== step.member);
        }
        return;
      case 'release':
        everything = everything.filter(({ member }) => member !== step.member);
        return;
      case 'forget':
        throw new Error('nothing was destroyed');
    }
  }

  return {
    time: () => new Date(time),
    now: () => ({ spec, observed: observed() }),
    happen(what: Happening) {
      if (what.do === 'kill') hosts = hosts.map((each, index) => (index === what.host ? { ...each, alive: false } : each));
      if (what.do === 'heal') hosts = hosts.map((each) => ({ ...each, alive: true }));
      if (what.do === 'resize') spec = { ...spec, memoryBytes: what.memory };
      if (what.do === 'restart') spec = { ...spec, restartSerial: spec.restartSerial + 1 };
      if (what.do === 'join' && hosts.length < 4) hosts = [...hosts, host(hosts.length + 1)];
    },
    settle() {
      // Long enough for everything that waits for time: a lost host is replaced after 600 s.
      for (let turn = 0; turn < 24; turn++) {
        time += 120_000;
        sidecars();
        for (const step of plan(spec, observed(), new Date(time))) carryOut(step);
        sidecars();
      }
    },
  };
}
