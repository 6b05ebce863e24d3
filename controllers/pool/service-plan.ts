import type { Host } from '#pool/host.ts';
import { lossOf } from '#pool/lost-host.ts';
import { type MemberSpec, specHash } from '#pool/member.ts';
import type { Placement } from '#pool/placement-record.ts';
import {
  answers,
  hostOf,
  memberNumber,
  placementOf,
  placementsOf,
  reportOf,
  type SeenSecrets,
  type SeenService,
  type Tier,
} from '#pool/service-world.ts';

/** Steps that the controllers of all services with data have in common, and the pure decisions about them. */
export type ServiceStep =
  /** `tiers`: sets of hosts, the best first; the first in which all members find room is taken. */
  | { do: 'place'; members: string[]; tiers: Tier[]; reason: string }
  | { do: 'lost'; member: string; since: string | undefined; reason: string }
  | { do: 'reserve'; member: string; cpus: number; memoryBytes: number; diskBytes: number; reason: string }
  /** `replaces` = the container that runs has to make way; else it is made, started, or only given other secrets. */
  | { do: 'ensure'; member: string; host: string; spec: MemberSpec; replaces: boolean; reason: string }
  | { do: 'switchover'; target: string; reason: string }
  /** A further member, of a shard where the service has such, to take the place of another one. */
  | { do: 'grow'; shard?: number; reason: string }
  | { do: 'drop'; member: string; reason: string }
  /** A member that leads is one of the specification's. */
  | { do: 'adopt'; member: string; reason: string }
  /** `forGood`: its data and its place go too. */
  | { do: 'remove'; member: string; host: string; forGood: boolean; reason: string }
  | { do: 'release'; member: string; host: string; reason: string }
  | { do: 'forget'; reason: string };

interface Sized {
  name: string;
  cpus: number;
  memoryBytes: number;
  diskBytes: number;
  members: readonly { id: string }[];
}

/** Remembers since when a host is silent, and that it is back. */
export function planLost(spec: { name: string }, observed: SeenService, now: Date): ServiceStep[] {
  return placementsOf(spec, observed).flatMap((placement): ServiceStep[] => {
    const { member } = placement;
    const loss = lossOf(placement, observed, now);
    if (loss.state === 'back') return [{ do: 'lost', member, since: undefined, reason: `${loss.host.spec.name} is back` }];
    if (loss.state === 'silent')
      return [{ do: 'lost', member, since: now.toISOString(), reason: `${loss.host.spec.name} does not answer` }];
    return [];
  });
}

/** Members whose reservation is not what the specification says. */
export function resizedPlacements(spec: Sized, observed: Pick<SeenService, 'everything'>): Placement[] {
  const { cpus, memoryBytes, diskBytes } = spec;
  return placementsOf(spec, observed).filter(
    (placement) =>
      spec.members.some(({ id }) => id === placement.member) &&
      (placement.cpus !== cpus || placement.memoryBytes !== memoryBytes || placement.diskBytes !== diskBytes),
  );
}

/** What is reserved follows the specification before anything that runs does. */
export function planReserve(spec: Sized, observed: SeenService): ServiceStep[] {
  const { name, cpus, memoryBytes, diskBytes } = spec;
  return resizedPlacements(spec, observed).map(({ member }) => ({
    do: 'reserve',
    member,
    cpus,
    memoryBytes,
    diskBytes,
    reason: `${name} is to have another size`,
  }));
}

/** Makes and starts what does not run, and hands over secrets. What runs with another specification waits for its turn. */
export function planEnsure(
  member: string,
  observed: SeenService & { secrets: SeenSecrets },
  specOf: (placement: Placement) => MemberSpec,
): ServiceStep | undefined {
  const placement = placementOf(member, observed);
  const host = hostOf(member, observed);
  if (placement === undefined || host === undefined || !answers(host, observed)) return undefined;
  // Brought back from a destroyed service: first it has room again.
  if (placement.memoryBytes === 0) return undefined;
  const wanted = specOf(placement);
  const ensure = (reason: string): ServiceStep => ({ do: 'ensure', member, host: placement.host, spec: wanted, replaces: false, reason });
  const report = reportOf(member, observed);
  if (report === undefined) return ensure(`${member} does not exist on ${host.spec.name}`);
  // `restarting` is the engine's own doing; what it gave up on is started again here.
  if (report.state === 'exited' || report.state === 'created' || report.state === 'dead') return ensure(`${member} is ${report.state}`);
  if (report.hash !== specHash(wanted)) return undefined;
  const secrets = observed.secrets[member];
  return secrets === undefined || secrets.wanted === undefined || secrets.wanted !== secrets.handed
    ? ensure('it is to have other secrets')
    : undefined;
}

/** True while the container that runs was made from another specification than this. */
export function isOutdated(member: string, observed: SeenService, specOf: (placement: Placement) => MemberSpec): boolean {
  const placement = placementOf(member, observed);
  const report = reportOf(member, observed);
  return placement !== undefined && report?.state === 'running' && report.hash !== specHash(specOf(placement));
}

/** Members of one service on one host share its ports: the first of them by number has them. */
export function publishes(spec: Pick<Sized, 'name' | 'members'>, placement: Placement, observed: Pick<SeenService, 'everything'>): boolean {
  const here = placementsOf(spec, observed).filter(
    (other) => other.host === placement.host && spec.members.some(({ id }) => id === other.member),
  );
  return here.map((other) => other.member).toSorted((a, b) => memberNumber(a) - memberNumber(b))[0] === placement.member;
}

/** What two members have in common: the same host is worse than the same group. */
export const SHARED = { host: 2, group: 1 } as const;
export function sharing(a: Host, b: Host): number {
  if (a.spec.id === b.spec.id) return SHARED.host;
  return a.spec.group === b.spec.group ? SHARED.group : 0;
}

/**
 * Where a member may go that is to survive others: outside their groups, else outside their hosts.
 *
 * @param gone members whose hosts are no place for it either
 */
export function tiersApartFrom(members: readonly string[], observed: SeenService, gone: readonly string[]): (Tier & { level: number })[] {
  const hosts = members.flatMap((member) => hostOf(member, observed) ?? []);
  const barred = new Set([...members, ...gone].flatMap((member) => placementOf(member, observed)?.host ?? []));
  const usable = observed.hosts.filter((host) => answers(host, observed) && !barred.has(host.spec.id));
  const groups = new Set(hosts.map((host) => host.spec.group));
  const outside = usable.filter((host) => !groups.has(host.spec.group)).map((host) => host.spec.id);
  const beside = usable.map((host) => host.spec.id);
  return [
    { says: `outside ${[...groups].toSorted().join(' and ')}`, hosts: outside, level: 0 },
    { says: `other than ${hosts.map((host) => host.spec.name).join(' and ')}`, hosts: beside, level: SHARED.group },
  ].filter((tier) => tier.hosts.length > 0);
}
