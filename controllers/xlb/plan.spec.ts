import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Host } from '#pool/host.ts';
import { type MemberReport, specHash } from '#pool/member.ts';
import type { Placement } from '#pool/placement-record.ts';
import { HOST_LOST_AFTER_MS, memberIds, memberSpec, type Observed, plan, type Step, statusOf } from '#xlb/plan.ts';
import type { LbSpec, SidecarStatus } from '#xlb/schema.ts';
import { newSpec } from '#xlb/spec.ts';

const NOW = new Date('2026-01-01T12:00:00Z');
const IMAGE = `sha256:${'a'.repeat(64)}`;

const web = (replicas = 2): LbSpec =>
  newSpec({ name: 'web', replicas, network: 'xcaas', listeners: [{ proto: 'http', port: 80 }], publish: [{ hostPort: 8080, port: 80 }] });

const host = (id: string, alive = true): Host => ({
  spec: { v: 1, id, name: `host-${id}`, address: '10.0.0.1', group: id, rack: 'r', labels: {}, manager: true, drained: false },
  facts: undefined,
  alive,
  reserved: { cpus: 0, memoryBytes: 0, diskBytes: 0 },
});

const placement = (member: string, on: string, lostSince?: string): Placement => ({
  v: 1,
  member,
  service: 'web',
  kind: 'lb',
  host: on,
  cpus: 0,
  memoryBytes: 1,
  diskBytes: 0,
  hostPorts: [],
  time: NOW.toISOString(),
  ...(lostSince === undefined ? {} : { lostSince }),
});

const sidecar = (member: string, change: Partial<SidecarStatus> = {}): SidecarStatus => ({
  v: 1,
  member,
  node: 'n',
  sentence: '',
  generation: 'g',
  wantedGeneration: 'g',
  liveVersion: 1,
  specIndex: 5,
  consulReachable: true,
  engineUp: true,
  oldWorkers: 0,
  certsVersion: 0,
  ...change,
});

function world(change: Partial<Observed> = {}): Observed {
  return {
    specIndex: 5,
    hosts: [host('a'), host('b'), host('c')],
    placements: [],
    reports: [],
    silentHosts: [],
    sidecars: [],
    image: IMAGE,
    ...change,
  };
}

function report(
  spec: LbSpec,
  member: string,
  on: string,
  observed: Observed,
  change: Partial<MemberReport> = {},
): MemberReport & { host: string } {
  const record = observed.placements.find((candidate) => candidate.member === member) ?? placement(member, on);
  return {
    id: member,
    kind: 'lb',
    service: 'web',
    containerId: 'c',
    image: IMAGE,
    hash: specHash(memberSpec(spec, member, record, observed)),
    state: 'running',
    health: 'healthy',
    startedAt: NOW.toISOString(),
    host: on,
    ...change,
  };
}

/** Two members on a and b, as they are when all is well. */
function settled(spec = web()): Observed {
  const base = world({ placements: [placement('web-1', 'a'), placement('web-2', 'b')] });
  return {
    ...base,
    reports: [report(spec, 'web-1', 'a', base), report(spec, 'web-2', 'b', base)],
    sidecars: [sidecar('web-1'), sidecar('web-2')],
  };
}

const kinds = (steps: Step[]) => steps.map((step) => (step.do === 'forget' ? 'forget' : `${step.do} ${step.member}`));

describe('plan', () => {
  it('places members first, then makes them', () => {
    expect(kinds(plan(web(), world(), NOW))).toEqual(['place web-1', 'place web-2']);

    const placed = world({ placements: [placement('web-1', 'a'), placement('web-2', 'b')] });
    expect(kinds(plan(web(), placed, NOW))).toEqual(['ensure web-1', 'ensure web-2']);
  });

  it('has nothing to do when all is as wanted', () => {
    expect(plan(web(), settled(), NOW)).toEqual([]);
  });

  it('lets the first member on a host have its published ports', () => {
    const observed = world({ placements: [placement('web-1', 'a'), placement('web-2', 'a')] });

    expect(memberSpec(web(), 'web-1', observed.placements[0]!, observed).publish).toHaveLength(1);
    expect(memberSpec(web(), 'web-2', observed.placements[1]!, observed).publish).toHaveLength(0);
  });

  it('moves a member only after its host has been gone for a while, and only where another host lives', () => {
    const spec = web();
    const gone = { ...settled(spec), hosts: [host('a', false), host('b'), host('c')], silentHosts: ['a'] };
    expect(kinds(plan(spec, gone, NOW))).toEqual(['lost web-1']);

    const since = (ms: number) => new Date(NOW.getTime() - ms).toISOString();
    const waiting = {
      ...gone,
      reports: gone.reports.slice(1),
      placements: [placement('web-1', 'a', since(1000)), placement('web-2', 'b')],
    };
    expect(plan(spec, waiting, NOW)).toEqual([]);

    const over = { ...waiting, placements: [placement('web-1', 'a', since(HOST_LOST_AFTER_MS)), placement('web-2', 'b')] };
    expect(kinds(plan(spec, over, NOW))).toEqual(['release web-1']);

    const alone = { ...over, hosts: [host('a', false), { ...host('b', false) }], silentHosts: ['a', 'b'] };
    expect(kinds(plan(spec, alone, NOW)).filter((step) => step.startsWith('release'))).toEqual([]);
  });

  it('forgets a loss when the host is back in time', () => {
    const observed = settled();
    observed.placements = [placement('web-1', 'a', NOW.toISOString()), placement('web-2', 'b')];

    expect(plan(web(), observed, NOW)).toEqual([{ do: 'lost', member: 'web-1', since: undefined, reason: 'host-a is back' }]);
  });

  it('removes what was left on a host that came back after its member had moved', () => {
    const spec = web();
    const observed = settled(spec);
    observed.reports.push(report(spec, 'web-1', 'c', observed));

    expect(plan(spec, observed, NOW)).toMatchObject([{ do: 'remove', member: 'web-1', host: 'c' }]);
  });

  it('replaces one member at a time, and none while the other is not healthy', () => {
    const spec = web();
    const observed = settled(spec);
    observed.image = `sha256:${'b'.repeat(64)}`;
    expect(kinds(plan(spec, observed, NOW))).toEqual(['ensure web-1']);

    observed.reports[1] = { ...observed.reports[1]!, health: 'starting' };
    expect(kinds(plan(spec, observed, NOW))).toEqual(['ensure web-2']);
  });

  it('gives a member the certificates that it does not hold, without replacing it', () => {
    const spec = { ...web(), certsVersion: 2 };
    const observed = { ...settled(spec), sidecars: [sidecar('web-1', { certsVersion: 3 }), sidecar('web-2', { certsVersion: 2 })] };

    expect(plan(spec, observed, NOW)).toMatchObject([{ do: 'ensure', member: 'web-2', replaces: false }]);
  });

  it('starts a member that the engine gave up on', () => {
    const observed = settled();
    observed.reports[0] = { ...observed.reports[0]!, state: 'exited' };

    expect(kinds(plan(web(), observed, NOW))).toEqual(['ensure web-1']);
  });

  it('takes a destroyed load balancer down in order: members, places, records', () => {
    const spec = { ...web(), destroyed: true };
    const observed = settled();

    expect(kinds(plan(spec, observed, NOW))).toEqual(['remove web-1', 'remove web-2']);
    expect(kinds(plan(spec, { ...observed, reports: [] }, NOW))).toEqual(['release web-1', 'release web-2']);
    expect(kinds(plan(spec, { ...observed, reports: [], placements: [] }, NOW))).toEqual(['forget']);
  });

  it('forgets nothing of a destroyed one while a host that may hold a member does not answer', () => {
    const observed = { ...settled(), reports: [], silentHosts: ['a'] };

    expect(kinds(plan({ ...web(), destroyed: true }, observed, NOW))).toEqual(['release web-2']);
    expect(plan({ ...web(), destroyed: true }, { ...observed, placements: [placement('web-1', 'a')] }, NOW)).toEqual([]);
  });

  const anyWorld = fc.record({
    replicas: fc.integer({ min: 1, max: 4 }),
    alive: fc.tuple(fc.boolean(), fc.boolean(), fc.boolean()),
    placed: fc.array(fc.record({ member: fc.integer({ min: 1, max: 5 }), host: fc.constantFrom('a', 'b', 'c') }), { maxLength: 5 }),
    reports: fc.array(
      fc.record({
        member: fc.integer({ min: 1, max: 5 }),
        host: fc.constantFrom('a', 'b', 'c'),
        state: fc.constantFrom('running' as const, 'exited' as const, 'restarting' as const),
        health: fc.constantFrom('healthy' as const, 'starting' as const, 'unhealthy' as const),
        stale: fc.boolean(),
      }),
      { maxLength: 6 },
    ),
  });

  function build({ replicas, alive, placed, reports }: typeof anyWorld extends fc.Arbitrary<infer T> ? T : never) {
    const spec = web(replicas);
    const ids = ['a', 'b', 'c'];
    const observed = world({
      hosts: ids.map((id, index) => host(id, alive[index])),
      silentHosts: ids.filter((_, index) => !alive[index]),
      placements: [...new Map(placed.map((each) => [each.member, placement(`web-${each.member}`, each.host)])).values()],
    });
    const unique = [...new Map(reports.map((each) => [`${each.member}@${each.host}`, each])).values()];
    observed.reports = unique
      .filter((each) => !observed.silentHosts.includes(each.host))
      .map((each) =>
        report(spec, `web-${each.member}`, each.host, observed, {
          state: each.state,
          health: each.health,
          ...(each.stale ? { hash: 'old' } : {}),
        }),
      );
    return { spec, observed };
  }

  it('never removes a wanted member from the host it is placed on, whatever the world looks like', () => {
    fc.assert(
      fc.property(anyWorld, (input) => {
        const { spec, observed } = build(input);
        for (const step of plan(spec, observed, NOW)) {
          if (step.do !== 'remove') continue;
          const healthy = observed.reports.filter(
            (each) => each.id === step.member && each.state === 'running' && each.health === 'healthy',
          );
          expect(memberIds(spec).includes(step.member) && healthy.every((each) => each.host === step.host) && healthy.length > 0).toBe(
            false,
          );
          const place = observed.placements.find((each) => each.member === step.member);
          expect(memberIds(spec).includes(step.member) && place?.host === step.host).toBe(false);
        }
      }),
    );
  });

  it('never replaces the only healthy running member while others exist', () => {
    fc.assert(
      fc.property(anyWorld, (input) => {
        const { spec, observed } = build(input);
        const healthy = observed.reports.filter((each) => each.state === 'running' && each.health === 'healthy');
        fc.pre(healthy.length === 1 && new Set(observed.placements.map((each) => each.member)).size > 1);
        const replaced = plan(spec, observed, NOW).some((step) => step.do === 'ensure' && step.replaces && step.member === healthy[0]?.id);
        expect(replaced).toBe(false);
      }),
    );
  });

  it('comes to rest: done step by step, the plan becomes empty', () => {
    fc.assert(
      fc.property(anyWorld, (input) => {
        const { spec, observed } = build({ ...input, alive: [true, true, true] });
        let now = NOW;
        for (let turn = 0; turn < 30; turn++) {
          const steps = plan(spec, observed, now);
          if (steps.length === 0) return;
          for (const step of steps) apply(spec, observed, step);
          now = new Date(now.getTime() + 1000);
        }
        expect.unreachable('the plan did not come to rest');
      }),
    );
  });

  /** What execute() does to the world. */
  function apply(spec: LbSpec, observed: Observed, step: Step): void {
    switch (step.do) {
      case 'place':
        observed.placements.push(placement(step.member, 'abc'[observed.placements.length % 3] ?? 'a'));
        return;
      case 'release':
        observed.placements = observed.placements.filter((each) => each.member !== step.member);
        return;
      case 'remove':
        observed.reports = observed.reports.filter((each) => !(each.id === step.member && each.host === step.host));
        return;
      case 'ensure': {
        const others = observed.reports.filter((each) => !(each.id === step.member && each.host === step.host));
        observed.reports = [...others, { ...report(spec, step.member, step.host, observed), hash: specHash(step.spec) }];
        return;
      }
      case 'lost':
        observed.placements = observed.placements.map((each) =>
          each.member === step.member ? placement(each.member, each.host, step.since) : each,
        );
    }
  }
});

describe('status', () => {
  const status = (observed: Observed, spec = web()) => statusOf(spec, observed, NOW);

  it('is READY when every member serves what was asked for', () => {
    expect(status(settled())).toMatchObject({ status: 'READY', sentence: '2 of 2 members serve on 2 hosts' });
  });

  it('is PENDING before any member has spoken, and DOWN when those that had do not serve', () => {
    expect(status(world()).status).toBe('PENDING');
    expect(status({ ...settled(), sidecars: [sidecar('web-1', { engineUp: false })] }).status).toBe('DOWN');
  });

  it('is PENDING while a member that was placed a moment ago is on its way', () => {
    expect(status({ ...settled(), sidecars: [sidecar('web-1')] })).toMatchObject({
      status: 'PENDING',
      sentence: '1 of 2 members serve; web-2 is being started',
    });
  });

  it('is DEGRADED with fewer members, and says which are awaited', () => {
    const settledLongAgo = settled();
    settledLongAgo.placements = settledLongAgo.placements.map((each) => ({ ...each, time: '2025-12-31T12:00:00Z' }));
    expect(status({ ...settledLongAgo, sidecars: [sidecar('web-1')] })).toMatchObject({
      status: 'DEGRADED',
      sentence: '1 of 2 members serve; waiting for web-2',
    });
  });

  it('is FAILED when no host can take it, with the reason', () => {
    const refused = { code: 'port_taken' as const, message: 'the tcp port 80 is taken by the container other' };
    expect(status(world({ refused }))).toMatchObject({ status: 'FAILED', sentence: refused.message, code: 'port_taken' });
  });

  it('tells a refused configuration', () => {
    const observed = { ...settled(), sidecars: [sidecar('web-1', { rejected: 'nginx says no' }), sidecar('web-2')] };

    expect(status(observed)).toMatchObject({
      status: 'DEGRADED',
      sentence: '2 of 2 members serve with their last good configuration: nginx says no',
    });
  });

  it('is PENDING while a change is on its way', () => {
    expect(status({ ...settled(), sidecars: [sidecar('web-1'), sidecar('web-2', { specIndex: 4 })] }).status).toBe('PENDING');
  });

  it('names the one host that all members share', () => {
    const spec = web();
    const base = world({ placements: [placement('web-1', 'a'), placement('web-2', 'a')] });
    const shared = {
      ...base,
      reports: [report(spec, 'web-1', 'a', base), report(spec, 'web-2', 'a', base)],
      sidecars: [sidecar('web-1'), sidecar('web-2')],
    };

    expect(status(shared)).toMatchObject({ status: 'DEGRADED', sentence: '2 of 2 members serve, all on host-a' });
    expect(status({ ...shared, hosts: [host('a')] }).status).toBe('READY');
  });
});
