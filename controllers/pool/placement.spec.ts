import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { capacityOf, milliCpus, sumReserved } from '#pool/capacity.ts';
import { parseConstraint } from '#pool/constraints.ts';
import { parseCpuset } from '#pool/cpuset.ts';
import type { Host } from '#pool/host.ts';
import { type PlacementResult, type PlannedMember, place } from '#pool/placement.ts';
import type { Placement } from '#pool/placement-record.ts';
import type { MemberToPlace, PlacementRequest, Strategy } from '#pool/placement-request.ts';
import { testHost, testHostId } from '#test/pool-hosts.ts';

const GIB = 2 ** 30;

function member(id: string, changes: Partial<MemberToPlace> = {}): MemberToPlace {
  return { id, service: id.replace(/-\d+$/, ''), cpus: 0, memoryBytes: GIB, diskBytes: 0, ...changes };
}

function recordOf({ member: id, service, host, cpus, memoryBytes, diskBytes, cpuset, hostPorts }: PlannedMember): Placement {
  return { v: 1, member: id, service, kind: 'db', host, cpus, memoryBytes, diskBytes, cpuset, hostPorts, time: '2026-01-01T00:00:00.000Z' };
}

function placed(result: PlacementResult): PlannedMember[] {
  if (!result.ok) throw result.refusal;
  return result.placements;
}

function hostsOf(result: PlacementResult): string[] {
  return placed(result).map(({ host }) => `host-${Number(host.slice(-12))}`);
}

function refusal(request: PlacementRequest): { code: string; message: string; hint: string | undefined } {
  const result = place(request);
  if (result.ok) throw new Error('it was placed');
  const { code, message, hint } = result.refusal;
  return { code, message, hint };
}

describe('place', () => {
  const two = [member('adb-1'), member('adb-2')];

  it('puts members of a service into different groups, though other hosts are emptier', () => {
    const hosts = [testHost(1, { memoryGib: 64 }), testHost(2, { memoryGib: 64 }), testHost(3, { group: 'group2', memoryGib: 2 })];
    const result = place({ members: two, hosts, existing: [] });
    expect(new Set(placed(result).map(({ host }) => hosts.find((each) => each.spec.id === host)?.spec.group)).size).toBe(2);
    expect(result).toMatchObject({ degraded: undefined, sharing: [] });
  });

  it('leaves the group to the member that can go nowhere else', () => {
    const hosts = [testHost(1, { labels: { storage: 'ssd' }, memoryGib: 64 }), testHost(2, { group: 'group2' })];
    const picky = member('adb-2', { constraints: [parseConstraint('storage=ssd')] });
    expect(hostsOf(place({ members: [member('adb-1'), picky], hosts, existing: [] }))).toEqual(['host-2', 'host-1']);
  });

  it('says what the members share when there is one host, one rack, one group', () => {
    const said = (hosts: Host[]) => {
      const result = place({ members: two, hosts, existing: [] });
      return result.ok ? result.degraded : result.refusal.message;
    };
    expect(said([testHost(1)])).toBe('both members share host host-1');
    expect(said([testHost(1), testHost(2)])).toBe('both members share rack rack1');
    expect(said([testHost(1), testHost(2, { rack: 'rack2' })])).toBe('both members share group group1');
    expect(said([testHost(1), testHost(2, { group: 'group2' })])).toBeUndefined();
  });

  it('does not take equally named racks of two groups for one', () => {
    const hosts = [testHost(1), testHost(2, { group: 'group2' })];
    expect(place({ members: two, hosts, existing: [] })).toMatchObject({ degraded: undefined });
  });

  it('names the members that share a host among others that do not', () => {
    const hosts = [testHost(1), testHost(2, { group: 'group2' })];
    const members = [member('a-1'), member('a-2'), member('a-3')];
    const result = place({ members, hosts, existing: [] });
    expect(result.ok && result.degraded).toMatch(/^a-\d and a-\d share host host-\d$/);
  });

  it('counts members that are placed already and moves none', () => {
    const hosts = [testHost(1, { drained: true }), testHost(2), testHost(3, { group: 'group2' })];
    const before = recordOf(placed(place({ members: [member('adb-1')], hosts: [testHost(1)], existing: [] }))[0]!);
    const result = place({ members: two, hosts, existing: [before] });
    expect(hostsOf(result)).toEqual(['host-1', 'host-3']);
    expect(placed(result).map(({ fresh }) => fresh)).toEqual([false, true]);
  });

  it('binds whole CPUs, lowest first, and counts fractions', () => {
    const hosts = [testHost(1, { cpus: 4 })];
    const existing = [recordOf(placed(place({ members: [member('x-1', { cpus: 1 })], hosts, existing: [] }))[0]!)];
    expect(existing[0]?.cpuset).toBe('0');
    const result = placed(place({ members: [member('y-1', { cpus: 2 }), member('z-1', { cpus: 0.5 })], hosts, existing }));
    expect(result.map(({ cpuset }) => cpuset)).toEqual(['1-2', undefined]);
    const full = [...existing, ...result.map(recordOf)];
    expect(refusal({ members: [member('q-1', { cpus: 1 })], hosts, existing: full }).message).toBe(
      'no host for q-1: 1 host, 1 alive, 0 with 1 CPU free (host-1 has 0)',
    );
    expect(place({ members: [member('q-1', { cpus: 0.5 })], hosts, existing: full }).ok).toBe(true);
  });

  it('never gives a port of a host twice', () => {
    const web = (id: string) => member(id, { hostPorts: ['tcp/80'] });
    expect(refusal({ members: [web('a-1'), web('b-1')], hosts: [testHost(1)], existing: [] }).message).toBe(
      'no host for b-1: 1 host, 1 alive, 0 with port tcp/80 free',
    );
    expect(place({ members: [web('a-1'), member('b-1', { hostPorts: ['udp/80'] })], hosts: [testHost(1)], existing: [] }).ok).toBe(true);
  });

  it('keeps members away from those of other services, in either order', () => {
    const hosts = [testHost(1), testHost(2)];
    for (const members of [
      [member('a-1', { avoidMembersOf: ['b'] }), member('b-1')],
      [member('b-1'), member('a-1', { avoidMembersOf: ['b'] })],
    ]) {
      expect(new Set(hostsOf(place({ members, hosts, existing: [] }))).size).toBe(2);
      expect(refusal({ members, hosts: [testHost(1)], existing: [] }).code).toBe('no_host');
    }
  });

  it('keeps a wish while a host can keep it, and gives it up else', () => {
    const wish = member('a-1', { constraints: [parseConstraint('storage==~ssd')] });
    const hosts = [testHost(1), testHost(2, { labels: { storage: 'ssd' }, memoryGib: 2 })];
    expect(hostsOf(place({ members: [wish], hosts, existing: [] }))).toEqual(['host-2']);
    expect(hostsOf(place({ members: [wish], hosts: [testHost(1)], existing: [] }))).toEqual(['host-1']);
  });

  it('spreads, packs, or draws by lot', () => {
    const hosts = [testHost(1), testHost(2), testHost(3)];
    const existing = [recordOf(placed(place({ members: [member('x-1')], hosts: [testHost(2)], existing: [] }))[0]!)];
    const where = (strategy: Strategy, seed = 0) => hostsOf(place({ members: [member('a-1')], hosts, existing, strategy, seed }))[0];
    expect(where('spread')).toBe('host-1');
    expect(where('binpack')).toBe('host-2');
    const drawn = Array.from({ length: 30 }, (_, seed) => where('random', seed));
    expect(new Set(drawn).size).toBe(3);
    expect(drawn).toEqual(Array.from({ length: 30 }, (_, seed) => where('random', seed)));
  });

  it('refuses with each demand, how many hosts it left, and what the last had instead', () => {
    const ssd = { labels: { storage: 'ssd' } };
    const hosts = [testHost(1, { ...ssd, memoryGib: 2.35 }), testHost(2, { ...ssd, memoryGib: 3 }), testHost(3)];
    const wanted = member('adb-2', { memoryBytes: 4 * GIB, constraints: [parseConstraint('storage=ssd')] });
    expect(refusal({ members: [wanted], hosts, existing: [] })).toEqual({
      code: 'no_host',
      message:
        'no host for adb-2: 3 hosts, 3 alive, 2 with storage=ssd, 0 with 4 GiB of memory free (host-1 has 2.1 GiB, host-2 has 2.7 GiB)',
      hint: 'add a host (xcaas join-token), free one, or ask for less',
    });
  });

  it('counts dead, silent and drained hosts out, and says so', () => {
    const hosts = [testHost(1, { alive: false }), testHost(2, { facts: null }), testHost(3, { drained: true })];
    expect(refusal({ members: [member('a-1')], hosts, existing: [] })).toEqual({
      code: 'no_host',
      message: 'no host for a-1: 3 hosts, 1 alive, 0 not drained',
      hint: 'let a host take members again: xcaas node undrain host-3',
    });
    expect(refusal({ members: [member('a-1')], hosts: hosts.slice(0, 2), existing: [] }).message).toBe('no host for a-1: 2 hosts, 0 alive');
    expect(refusal({ members: [member('a-1')], hosts: [], existing: [] }).message).toContain('0 hosts');
  });

  it('says which demand fails beside the members of the same request', () => {
    const members = [member('a-1', { memoryBytes: 5 * GIB }), member('a-2', { memoryBytes: 5 * GIB })];
    expect(refusal({ members, hosts: [testHost(1)], existing: [] }).message).toBe(
      'no host for a-2: 1 host, 1 alive, 0 with 5 GiB of memory free (host-1 has 2.7 GiB)',
    );
  });

  it('refuses a member twice and sizes below nothing', () => {
    expect(refusal({ members: [member('a-1'), member('a-1')], hosts: [testHost(1)], existing: [] }).code).toBe('invalid');
    expect(refusal({ members: [member('a-1', { cpus: -1 })], hosts: [testHost(1)], existing: [] }).code).toBe('invalid');
  });

  it('is quick in a large pool, full or empty', () => {
    const hosts = Array.from({ length: 300 }, (_, n) => testHost(n + 1, { group: `group${n % 3}`, rack: `rack${n % 12}` }));
    const members = Array.from({ length: 16 }, (_, n) => member(`a-${n + 1}`, { cpus: 1, memoryBytes: (1 + (n % 3)) * GIB }));
    const started = performance.now();
    expect(place({ members, hosts, existing: [] }).ok).toBe(true);
    expect(place({ members: members.map((each) => ({ ...each, memoryBytes: 9 * GIB })), hosts, existing: [] }).ok).toBe(false);
    expect(performance.now() - started).toBeLessThan(5000);
  });
});

/** Small pools whose hosts have room for a few members only, so that every demand matters. */
const hostArb = fc.record({
  group: fc.constantFrom('g1', 'g2', 'g3'),
  rack: fc.constantFrom('r1', 'r2'),
  labels: fc.constantFrom<Record<string, string>>({}, { storage: 'ssd' }),
  cpus: fc.integer({ min: 1, max: 4 }),
  memoryGib: fc.integer({ min: 1, max: 6 }),
  diskGib: fc.integer({ min: 1, max: 6 }),
  drained: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
});
const hostsArb = (max: number) =>
  fc.array(hostArb, { minLength: 1, maxLength: max }).map((all) => all.map((each, n) => testHost(n + 1, each)));
const memberArb = fc.record({
  service: fc.constantFrom('a', 'b'),
  cpus: fc.constantFrom(0, 0.5, 1, 2),
  memoryBytes: fc.integer({ min: 0, max: 3 }).map((n) => n * GIB),
  diskBytes: fc.integer({ min: 0, max: 3 }).map((n) => n * GIB),
  constraints: fc.constantFrom([], [], [parseConstraint('storage=ssd')], [parseConstraint('group!=g1')]),
  hostPorts: fc.constantFrom([], [], ['tcp/80']),
  avoidMembersOf: fc.constantFrom<string[]>([], [], ['c']),
});
const membersArb = (max: number) =>
  fc
    .array(memberArb, { minLength: 1, maxLength: max })
    .map((all) => all.map((each, n): MemberToPlace => ({ ...each, id: `${each.service}-${n + 1}` })));
const strategyArb = fc.constantFrom<Strategy>('spread', 'binpack', 'random');
const requestArb = fc
  .record({ hosts: hostsArb(5), first: membersArb(3), members: membersArb(4), strategy: strategyArb, seed: fc.nat(1000) })
  .map(({ hosts, first, members, strategy, seed }): PlacementRequest => {
    const early = place({ members: first.map((each) => ({ ...each, id: `old-${each.id}` })), hosts, existing: [] });
    return { hosts, members, strategy, seed, existing: early.ok ? early.placements.map(recordOf) : [] };
  });

function allOf(request: PlacementRequest, planned: readonly PlannedMember[]): Placement[] {
  return [...request.existing, ...planned.filter(({ fresh }) => fresh).map(recordOf)];
}

/** Pairs of members of one service in one group. */
function groupPairs(all: readonly Pick<Placement, 'service' | 'host'>[], hosts: readonly Host[]): number {
  const groupOf = new Map(hosts.map(({ spec }) => [spec.id, spec.group]));
  let pairs = 0;
  all.forEach((a, i) => {
    for (const b of all.slice(i + 1)) if (a.service === b.service && groupOf.get(a.host) === groupOf.get(b.host)) pairs += 1;
  });
  return pairs;
}

describe('place, whatever the pool', () => {
  it('never oversells, never shares a CPU or port, and keeps every demand', () => {
    fc.assert(
      fc.property(requestArb, (request) => {
        const result = place(request);
        if (!result.ok) return;
        const all = allOf(request, result.placements);
        for (const host of request.hosts) {
          const here = all.filter((each) => each.host === host.spec.id);
          const sum = sumReserved(here);
          const capacity = capacityOf(host.facts);
          expect(milliCpus(sum.cpus)).toBeLessThanOrEqual(milliCpus(capacity.cpus));
          expect(sum.memoryBytes).toBeLessThanOrEqual(capacity.memoryBytes);
          expect(sum.diskBytes).toBeLessThanOrEqual(capacity.diskBytes);
          const bound = here.flatMap(({ cpuset }) => (cpuset === undefined ? [] : parseCpuset(cpuset)));
          expect(new Set(bound).size).toBe(bound.length);
          expect(bound.every((cpu) => cpu < capacity.cpus)).toBe(true);
          const ports = here.flatMap(({ hostPorts }) => hostPorts);
          expect(new Set(ports).size).toBe(ports.length);
        }
        for (const [n, planned] of result.placements.entries()) {
          const host = request.hosts.find(({ spec }) => spec.id === planned.host)!;
          const wanted = request.members[n]!;
          expect(planned.member).toBe(wanted.id);
          expect(host.spec.drained).toBe(false);
          if (wanted.cpus >= 1) expect(parseCpuset(planned.cpuset!)).toHaveLength(wanted.cpus);
          for (const { key, operator } of wanted.constraints ?? []) {
            if (key === 'storage') expect(host.spec.labels.storage).toBe('ssd');
            else if (operator === '!=') expect(host.spec.group).not.toBe('g1');
          }
        }
      }),
      { numRuns: 400 },
    );
  });

  it('gives the same answer whatever the order of hosts and placements', () => {
    fc.assert(
      fc.property(requestArb, (request) => {
        const turned = { ...request, hosts: [...request.hosts].reverse(), existing: [...request.existing].reverse() };
        const [one, other] = [place(request), place(turned)];
        expect(other.ok).toBe(one.ok);
        if (one.ok && other.ok) expect(other).toEqual(one);
      }),
    );
  });

  it('moves nothing: placed again with what it placed, all stay', () => {
    fc.assert(
      fc.property(requestArb, (request) => {
        const first = place(request);
        if (!first.ok) return;
        const hosts = request.hosts.map((host) => ({ ...host, alive: false }));
        const again = placed(place({ ...request, hosts, existing: allOf(request, first.placements) }));
        expect(again.map(({ host, cpuset, fresh }) => ({ host, cpuset, fresh }))).toEqual(
          first.placements.map(({ host, cpuset }) => ({ host, cpuset, fresh: false })),
        );
      }),
    );
  });

  it('shares groups no more than any possible placement, and finds one if there is one', () => {
    fc.assert(
      fc.property(requestArb, (request) => {
        const best = fewestPairs(request);
        const result = place(request);
        expect(result.ok).toBe(best !== undefined);
        if (result.ok) expect(groupPairs(allOf(request, result.placements), request.hosts)).toBe(best);
      }),
      { numRuns: 300 },
    );
  });

  it('places two members of a service in one group only when no other group has room for either', () => {
    fc.assert(
      fc.property(hostsArb(6), membersArb(2), strategyArb, (hosts, pair, strategy) => {
        const members = pair.map((each): MemberToPlace => ({ ...each, service: 'a' }));
        const result = place({ members, hosts, existing: [], strategy });
        if (!result.ok || result.placements.length < 2) return;
        const groupOf = (id: string) => hosts.find(({ spec }) => spec.id === id)!.spec.group;
        const [one, two] = result.placements as [PlannedMember, PlannedMember];
        if (groupOf(one.host) !== groupOf(two.host)) return;
        for (const [mover, stayer] of [
          [members[0]!, two],
          [members[1]!, one],
        ] as const) {
          const elsewhere = hosts.filter(({ spec }) => spec.group !== groupOf(stayer.host));
          expect(place({ members: [mover], hosts: elsewhere, existing: [] }).ok).toBe(false);
        }
      }),
      { numRuns: 400 },
    );
  });

  it('stays possible when a host is added', () => {
    fc.assert(
      fc.property(requestArb, hostArb, (request, extra) => {
        if (!place(request).ok) return;
        const id = testHostId(99);
        for (const name of ['aaa', 'zzz'])
          expect(place({ ...request, hosts: [...request.hosts, testHost(99, { ...extra, id, name })] }).ok).toBe(true);
      }),
      { numRuns: 300 },
    );
  });
});

/** Every assignment, tried one by one through single placements: slow, and nothing to do with how {@link place} searches. */
function fewestPairs(request: PlacementRequest): number | undefined {
  let best: number | undefined;
  const go = (at: number, existing: readonly Placement[]): void => {
    const wanted = request.members[at];
    if (wanted === undefined) {
      const pairs = groupPairs(existing, request.hosts);
      if (best === undefined || pairs < best) best = pairs;
      return;
    }
    for (const host of request.hosts) {
      const one = place({ members: [wanted], hosts: [host], existing });
      if (one.ok) go(at + 1, [...existing, recordOf(one.placements[0]!)]);
    }
  };
  go(0, request.existing);
  return best;
}
