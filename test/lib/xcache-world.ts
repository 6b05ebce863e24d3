import type { Host } from '#pool/host.ts';
import { type MemberReport, specHash } from '#pool/member.ts';
import type { Placement } from '#pool/placement-record.ts';
import { testHost } from '#test/pool-hosts.ts';
import { memberSpec } from '#xcache/plan/member-spec.ts';
import { memberIds, type Observed } from '#xcache/plan/world.ts';
import type { CacheMemberStatus, CacheSpec, LeadRecord } from '#xcache/schema.ts';
import { type NewCache, newSpec } from '#xcache/spec.ts';

/** A cache as the controller sees it, made up for tests of its plan and status. */
export const NOW = new Date('2026-01-01T12:00:00Z');
export const ago = (seconds: number) => new Date(NOW.getTime() - seconds * 1000).toISOString();
const GIB = 2 ** 30;
export const gib = (n: number) => n * GIB;

export const acache = (change: Partial<NewCache> = {}): CacheSpec =>
  newSpec({ name: 'acache', network: 'xcaas', imageId: `sha256:${'a'.repeat(64)}`, created: ago(3600), ...change });

/** Host `n` in a group of its own. */
export const host = (n: number, change: Parameters<typeof testHost>[1] = {}): Host => testHost(n, { group: `group${n}`, ...change });

export const seat = (spec: CacheSpec, member: string, on: Host, change: Partial<Placement> = {}): Placement => ({
  ...{ v: 1, member, service: spec.name, kind: 'cache', host: on.spec.id },
  ...{ cpus: spec.cpus, memoryBytes: spec.memoryBytes, diskBytes: spec.diskBytes, hostPorts: [], time: ago(3600) },
  ...change,
});

const copy = (id: string) => ({ id, run: `run-${id}` });

export const lead = (master: string, insync: string[], change: Partial<LeadRecord> = {}): LeadRecord => ({
  ...{ v: 1, master: copy(master), insync: insync.map(copy), prev: null, target: null, state: 'open', clear: false },
  ...{ epoch: 1, rev: 3, nonce: 'n' },
  ...change,
});

export const said = (member: string, role: CacheMemberStatus['role'], change: Partial<CacheMemberStatus> = {}): CacheMemberStatus => ({
  ...{ v: 1, member, node: 'host', address: '10.0.0.1', enginePort: 6378, role, state: 'running' },
  ...{ sentence: `${member} does what it should`, rule: 'idle', specIndex: 5, restartSerial: 0, epoch: 1, rev: 3, beat: 0, time: ago(1) },
  ...change,
});

export function report(
  spec: CacheSpec,
  place: Placement,
  observed: Pick<Observed, 'everything' | 'hosts'>,
  change: Partial<MemberReport> = {},
): MemberReport & { host: string } {
  return {
    ...{ id: place.member, kind: 'cache', service: spec.name, containerId: 'c', image: spec.imageId ?? '' },
    ...{ hash: specHash(memberSpec(spec, place, observed)), state: 'running', health: 'healthy', startedAt: ago(600), host: place.host },
    ...change,
  };
}

/** Nothing has been done yet. */
export function bare(change: Partial<Observed> = {}): Observed {
  return {
    ...{ specIndex: 5, hosts: [host(1), host(2), host(3)], everything: [], reports: [], silentHosts: [] },
    ...{ lead: undefined, cluster: undefined, birth: { v: 1, member: 'acache-1', done: false }, sidecars: [], move: undefined },
    ...{ secrets: {}, previous: undefined },
    ...change,
  };
}

/** Each member on a host of its own, as far as there are any; acache-1 leads, the others are in sync. */
export function settled(spec: CacheSpec = acache(), hosts: Host[] = [host(1), host(2), host(3)]): Observed {
  const everything = memberIds(spec).map((member, index) => seat(spec, member, hosts[index % hosts.length]!));
  const world = bare({ hosts, everything, birth: { v: 1, member: 'acache-1', done: true } });
  const [first = '', ...rest] = memberIds(spec);
  return {
    ...world,
    reports: everything.map((place) => report(spec, place, world)),
    lead: lead(first, rest),
    sidecars: [said(first, 'master'), ...rest.map((member) => said(member, 'replica'))],
    secrets: Object.fromEntries(everything.map(({ member }) => [member, { wanted: 'h', handed: 'h' }])),
    previous: { v: 1, status: 'READY', sentence: '', next: [], specIndex: 5, time: ago(60), firstReady: ago(3000) },
  };
}

/** The same world with one member more, on a host, that runs. */
export function withRunning(spec: CacheSpec, world: Observed, member: string, on: Host, status: Partial<CacheMemberStatus> = {}): Observed {
  const place = seat(spec, member, on);
  const next = {
    ...world,
    everything: [...world.everything, place],
    secrets: { ...world.secrets, [member]: { wanted: 'h', handed: 'h' } },
    sidecars: [...world.sidecars, said(member, 'replica', status)],
  };
  return { ...next, reports: [...next.reports, report(spec, place, next)] };
}

/** The host of a member does not answer. @param since seconds for which that is known; undefined = not remembered yet */
export function lose(world: Observed, member: string, since: number | undefined): Observed {
  const at = world.everything.find((place) => place.member === member)?.host ?? '';
  const gone = new Set(world.everything.filter((place) => place.host === at).map((place) => place.member));
  return {
    ...world,
    hosts: world.hosts.map((each) => (each.spec.id === at ? { ...each, alive: false } : each)),
    silentHosts: [...world.silentHosts, at],
    everything: world.everything.map((place) =>
      gone.has(place.member) && since !== undefined ? { ...place, lostSince: ago(since) } : place,
    ),
    reports: world.reports.filter(({ id }) => !gone.has(id)),
    sidecars: world.sidecars.filter((status) => !gone.has(status.member)),
  };
}
