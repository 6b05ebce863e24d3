import type { Host } from '#pool/host.ts';
import type { MemberSpec } from '#pool/member.ts';
import type { Refusal } from '#pool/pass.ts';
import type { Placement } from '#pool/placement-record.ts';
import type { PlacedReport } from '#pool/service-members.ts';
import type { BirthRecord } from '#pool/service-schema.ts';
import type { BackupRecord } from '#xdb/backup/schema.ts';
import type { DataRecord, DbSpec, DbStatus, MemberStatus, MoveOrder, SyncRecord } from '#xdb/schema.ts';

/** What the controller saw of one database, and small questions about it. All pure. */
export interface Observed {
  /** Modify index of the specification. */
  specIndex: number;
  hosts: Host[];
  /** Everything that is placed, of all services: whether a member would fit elsewhere depends on it. */
  everything: Placement[];
  /** Containers of its members on the hosts that answered. */
  reports: PlacedReport[];
  /** Ids of hosts whose agents did not answer. */
  silentHosts: string[];
  sync: SyncRecord | undefined;
  birth: BirthRecord | undefined;
  data: Readonly<Record<string, DataRecord>>;
  /** What sidecars say whose sessions live. */
  sidecars: MemberStatus[];
  move: MoveOrder | undefined;
  /** Hashes of the secret files each member is to have (undefined: something must be made first), and was given where it is now. */
  secrets: Readonly<Record<string, { wanted: string | undefined; handed: string | undefined }>>;
  /** Oldest first. */
  backups: readonly BackupRecord[];
  /** The status that was written last. */
  previous: DbStatus | undefined;
  /** Who leads the database of ours that this one follows. */
  upstreamLeader?: string | undefined;
  /** What could not be done in the turn before this one, and why. */
  refused?: Refusal | undefined;
}

export type Step =
  /** `tiers`: sets of hosts, the best first; the first in which all members find room is taken. */
  | { do: 'place'; members: string[]; tiers: Tier[]; reason: string }
  | { do: 'lost'; member: string; since: string | undefined; reason: string }
  | { do: 'reserve'; member: string; cpus: number; memoryBytes: number; diskBytes: number; reason: string }
  /** `replaces` = the container that runs has to make way; else it is made, started, or only given other secrets. */
  | { do: 'ensure'; member: string; host: string; spec: MemberSpec; replaces: boolean; reason: string }
  /** Of the engine alone, by the sidecar. */
  | { do: 'restart'; member: string; host: string; reason: string }
  | { do: 'switchover'; target: string; reason: string }
  /** A further member, to take the place of another one. */
  | { do: 'grow'; reason: string }
  | { do: 'drop'; member: string; reason: string }
  /** A member that leads is one of the specification's. */
  | { do: 'adopt'; member: string; reason: string }
  /** `forGood`: its data and its place go too. */
  | { do: 'remove'; member: string; host: string; forGood: boolean; reason: string }
  | { do: 'release'; member: string; host: string; reason: string }
  | { do: 'forget'; reason: string };

export interface Tier {
  /** After a number of hosts: `outside group1`. */
  says: string;
  hosts: string[];
}

export function placementsOf(spec: Pick<DbSpec, 'name'>, observed: Pick<Observed, 'everything'>): Placement[] {
  return observed.everything.filter((placement) => placement.kind === 'db' && placement.service === spec.name);
}

export function placementOf(member: string, observed: Pick<Observed, 'everything'>): Placement | undefined {
  return observed.everything.find((placement) => placement.kind === 'db' && placement.member === member);
}

export function hostOf(member: string, observed: Pick<Observed, 'everything' | 'hosts'>): Host | undefined {
  const at = placementOf(member, observed)?.host;
  return observed.hosts.find((host) => host.spec.id === at);
}

/** True when the agent there can be told what to do. */
export function answers(host: Host | undefined, observed: Pick<Observed, 'silentHosts'>): boolean {
  return host?.alive === true && !observed.silentHosts.includes(host.spec.id);
}

export function reportOf(member: string, observed: Pick<Observed, 'everything' | 'reports'>): PlacedReport | undefined {
  const at = placementOf(member, observed)?.host;
  return observed.reports.find((report) => report.id === member && report.host === at);
}

/**
 * What the sidecar that runs now says. A record that is older than the container was written by its predecessor, whose session has not ended yet. (Both
 * times are of the same host's clock.)
 */
export function sidecarOf(member: string, observed: Pick<Observed, 'everything' | 'reports' | 'sidecars'>): MemberStatus | undefined {
  const sidecar = observed.sidecars.find((status) => status.member === member);
  const report = reportOf(member, observed);
  if (sidecar === undefined || report === undefined) return sidecar;
  if (report.state !== 'running') return undefined;
  return Date.parse(sidecar.time) >= Date.parse(report.startedAt) ? sidecar : undefined;
}

/** The member that takes writes now, by the record and by its own word. */
export function writableLeader(observed: Observed): string | undefined {
  const { sync } = observed;
  if (sync === undefined || sync.state !== 'open') return undefined;
  const said = sidecarOf(sync.leader.id, observed);
  return said?.role === 'master' && said.state === 'running' && said.readOnly !== true ? sync.leader.id : undefined;
}

/** A slave that a switchover could go to at once. */
export function follows(member: string, observed: Observed): boolean {
  const said = sidecarOf(member, observed);
  return said?.state === 'running' && said.role !== 'master' && said.role !== 'none';
}

/** The one slave that holds everything, when it follows too. */
export function livingSlave(observed: Observed): string | undefined {
  const slave = observed.sync?.sync?.id;
  return slave !== undefined && follows(slave, observed) ? slave : undefined;
}

/** Holds all that the leader has, or is on the point of it: it lives, and was compared in this epoch. */
export function isReady(member: string, observed: Observed): boolean {
  const { sync, data } = observed;
  if (sync === undefined) return false;
  return sync.sync?.id === member || (data[member]?.ready === sync.epoch && follows(member, observed));
}

/** Has its copy and is let in as soon as another member is the sync slave no more. */
export function isCopied(member: string, observed: Observed): boolean {
  const named = observed.sync?.sync?.id;
  if (named === undefined || named === member || observed.data[member] === undefined) return false;
  return sidecarOf(member, observed)?.state === 'catching_up';
}

export function isPaused(spec: Pick<DbSpec, 'pausedUntil'>, now: Date): boolean {
  return spec.pausedUntil !== undefined && Date.parse(spec.pausedUntil) > now.getTime();
}

/** An order that was given and is neither done nor failed. */
export function isMoving(move: MoveOrder | undefined): move is MoveOrder {
  return move !== undefined && (move.state === 'asked' || move.state === 'blocked');
}
