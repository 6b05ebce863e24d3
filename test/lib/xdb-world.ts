import type { Host } from '#pool/host.ts';
import { type MemberReport, specHash } from '#pool/member.ts';
import type { Placement } from '#pool/placement-record.ts';
import { testHost } from '#test/pool-hosts.ts';
import { memberSpec } from '#xdb/plan/member-spec.ts';
import type { Observed } from '#xdb/plan/world.ts';
import type { DbSpec, MemberStatus, SyncRecord } from '#xdb/schema.ts';
import { type NewDb, newSpec } from '#xdb/spec.ts';

/** A database as the controller sees it, made up for tests of its plan and status. */
export const NOW = new Date('2026-01-01T12:00:00Z');
export const ago = (seconds: number) => new Date(NOW.getTime() - seconds * 1000).toISOString();
const GIB = 2 ** 30;

export const adb = (change: Partial<NewDb> = {}): DbSpec =>
  newSpec({ name: 'adb', network: 'xcaas', imageId: `sha256:${'a'.repeat(64)}`, created: ago(3600), ...change });

/** Host `n` in a group of its own. */
export const host = (n: number, change: Parameters<typeof testHost>[1] = {}): Host => testHost(n, { group: `group${n}`, ...change });

export const placement = (spec: DbSpec, member: string, on: Host, change: Partial<Placement> = {}): Placement => ({
  v: 1,
  member,
  service: spec.name,
  kind: 'db',
  host: on.spec.id,
  cpus: spec.cpus,
  memoryBytes: spec.memoryBytes,
  diskBytes: spec.diskBytes,
  hostPorts: [],
  time: ago(3600),
  ...change,
});

export const sync = (leader: string, slave: string | null, change: Partial<SyncRecord> = {}): SyncRecord => ({
  v: 1,
  leader: { id: leader, gen: `gen-${leader}` },
  sync: slave === null ? null : { id: slave, gen: `gen-${slave}` },
  cand: null,
  prev: null,
  state: 'open',
  epoch: 1,
  rev: 3,
  nonce: 'n',
  ...change,
});

export const sidecar = (member: string, role: MemberStatus['role'], change: Partial<MemberStatus> = {}): MemberStatus => ({
  v: 1,
  member,
  node: 'host',
  address: '10.0.0.1',
  enginePort: 3305,
  role,
  state: 'running',
  sentence: `${member} does what it should`,
  rule: 'idle',
  lagSeconds: 0,
  specIndex: 5,
  restartSerial: 0,
  pendingRestart: [],
  epoch: 1,
  rev: 3,
  readOnly: role !== 'master',
  time: ago(1),
  ...change,
});

export function report(
  spec: DbSpec,
  place: Placement,
  observed: Pick<Observed, 'everything' | 'hosts'>,
  change: Partial<MemberReport> = {},
): MemberReport & { host: string } {
  return {
    id: place.member,
    kind: 'db',
    service: spec.name,
    containerId: 'c',
    image: spec.imageId ?? '',
    hash: specHash(memberSpec(spec, place, observed)),
    state: 'running',
    health: 'healthy',
    startedAt: ago(600),
    host: place.host,
    ...change,
  };
}

/** Nothing has been done yet. */
export function bare(change: Partial<Observed> = {}): Observed {
  return {
    specIndex: 5,
    hosts: [host(1), host(2), host(3)],
    everything: [],
    reports: [],
    silentHosts: [],
    sync: undefined,
    birth: { v: 1, member: 'adb-1', done: false },
    data: {},
    sidecars: [],
    move: undefined,
    secrets: {},
    backups: [],
    previous: undefined,
    ...change,
  };
}

/** adb-1 leads on host 1, adb-2 is in sync on host 2. */
export function settled(spec: DbSpec = adb(), hosts: Host[] = [host(1), host(2), host(3)]): Observed {
  const [first, second] = hosts;
  const two = spec.members.length > 1;
  const everything = [placement(spec, 'adb-1', first!), ...(two ? [placement(spec, 'adb-2', second ?? first!)] : [])];
  const world = bare({ hosts, everything, birth: { v: 1, member: 'adb-1', done: true } });
  return {
    ...world,
    reports: everything.map((place) => report(spec, place, world)),
    sync: sync('adb-1', two ? 'adb-2' : null),
    data: Object.fromEntries(everything.map(({ member }) => [member, { v: 1, gen: `gen-${member}`, boot: 'b', ready: 1 }])),
    sidecars: [sidecar('adb-1', 'master'), ...(two ? [sidecar('adb-2', 'slave')] : [])],
    secrets: Object.fromEntries(everything.map(({ member }) => [member, { wanted: 'h', handed: 'h' }])),
    previous: { v: 1, status: 'READY', sentence: '', next: [], specIndex: 5, time: ago(60), firstReady: ago(3000) },
  };
}

export const gib = (n: number) => n * GIB;
