import type { Host } from '#pool/host.ts';
import type { Placement } from '#pool/placement-record.ts';
import type { PlacedReport } from '#pool/service-members.ts';

/** What the controller of any service with data sees of hosts and containers, and small questions about it. All pure. */
export interface SeenService {
  hosts: Host[];
  /** Everything that is placed, of all services: whether a member would fit elsewhere depends on it. */
  everything: Placement[];
  /** Containers of its members on the hosts that answered. */
  reports: PlacedReport[];
  /** Ids of hosts whose agents did not answer. */
  silentHosts: string[];
}

/** Hashes of the secret files each member is to have (undefined: something must be made first), and was given where it is now. */
export type SeenSecrets = Readonly<Record<string, { wanted: string | undefined; handed: string | undefined }>>;

/** A set of hosts that a member may go to. */
export interface Tier {
  /** After a number of hosts: `outside group1`. */
  says: string;
  hosts: string[];
}

/** Services share one set of names, so a name is enough. */
export function placementsOf({ name }: { name: string }, observed: Pick<SeenService, 'everything'>): Placement[] {
  return observed.everything.filter((placement) => placement.service === name);
}

export function placementOf(member: string, observed: Pick<SeenService, 'everything'>): Placement | undefined {
  return observed.everything.find((placement) => placement.member === member);
}

export function hostOf(member: string, observed: Pick<SeenService, 'everything' | 'hosts'>): Host | undefined {
  const at = placementOf(member, observed)?.host;
  return observed.hosts.find((host) => host.spec.id === at);
}

/** True when the agent there can be told what to do. */
export function answers(host: Host | undefined, observed: Pick<SeenService, 'silentHosts'>): boolean {
  return host?.alive === true && !observed.silentHosts.includes(host.spec.id);
}

export function reportOf(member: string, observed: Pick<SeenService, 'everything' | 'reports'>): PlacedReport | undefined {
  const at = placementOf(member, observed)?.host;
  return observed.reports.find((report) => report.id === member && report.host === at);
}

/**
 * What the sidecar that runs now says. A record that is older than the container was written by its predecessor, whose session has not ended yet. (Both
 * times are of the same host's clock.)
 */
export function sidecarOf<Said extends { member: string; time: string }>(
  member: string,
  observed: Pick<SeenService, 'everything' | 'reports'> & { sidecars: readonly Said[] },
): Said | undefined {
  const sidecar = observed.sidecars.find((status) => status.member === member);
  const report = reportOf(member, observed);
  if (sidecar === undefined || report === undefined) return sidecar;
  if (report.state !== 'running') return undefined;
  return Date.parse(sidecar.time) >= Date.parse(report.startedAt) ? sidecar : undefined;
}

export function isPaused(spec: { pausedUntil?: string | undefined }, now: Date): boolean {
  return spec.pausedUntil !== undefined && Date.parse(spec.pausedUntil) > now.getTime();
}

/** `adb-3` is 3. */
export function memberNumber(member: string): number {
  return Number(member.slice(member.lastIndexOf('-') + 1));
}
