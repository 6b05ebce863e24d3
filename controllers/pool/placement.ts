import { AppError } from '#core/errors.ts';
import { isBound } from '#pool/capacity.ts';
import { formatCpuset } from '#pool/cpuset.ts';
import type { Host } from '#pool/host.ts';
import { createBoard } from '#pool/placement-board.ts';
import type { Placement } from '#pool/placement-record.ts';
import { explainNoHost } from '#pool/placement-refusal.ts';
import type { MemberToPlace, PlacementRequest, Strategy } from '#pool/placement-request.ts';
import { search } from '#pool/placement-search.ts';
import { type Sharing, sharingOf } from '#pool/placement-sharing.ts';

export interface PlannedMember {
  member: string;
  service: string;
  host: string;
  cpus: number;
  memoryBytes: number;
  diskBytes: number;
  cpuset: string | undefined;
  hostPorts: string[];
  /** Why this host, for events and logs. */
  reason: string;
  /** False when the member had its place before. */
  fresh: boolean;
}

export type PlacementResult =
  | {
      ok: true;
      /** In the order of the request. */
      placements: PlannedMember[];
      /** What members of a service have in common, by service; absent when they share nothing. */
      sharing: Sharing[];
      /** `both members share host X`, when some do. */
      degraded: string | undefined;
    }
  | { ok: false; refusal: AppError };

/** More members than any service has; bounds the search and one Consul transaction. */
export const MAX_MEMBERS = 60;

/**
 * Chooses hosts for members. Pure: the same input gives the same answer, whatever the order of hosts and placements.
 *
 * Hard: hosts that live and are not drained, constraints, ports, CPUs, memory, disk; nothing is oversold and nothing is moved. Among all
 * ways to do that, members of one service share groups as little as possible, then racks, then hosts, then wishes are kept, then the
 * strategy decides. Small pools are searched to the end, so a place that exists is found and a further host never spoils one; large ones
 * up to a bound ({@link search}).
 */
export function place(request: PlacementRequest): PlacementResult {
  const { members, existing, strategy = 'spread', seed = 0 } = request;
  const invalid = findMistake(members);
  if (invalid !== undefined) return { ok: false, refusal: invalid };

  const hosts = [...request.hosts].sort((a, b) => compare(a.spec.id, b.spec.id));
  const known = new Map(existing.map((placement) => [placement.member, placement]));
  const wanted = members.filter((member) => !known.has(member.id));
  const board = createBoard(hosts, existing);
  const found = search({ board, members: wanted, strategy, seed });
  if (!found.ok) return { ok: false, refusal: explainNoHost(found.stuck, found.board) };

  const names = new Map(hosts.map((host) => [host.spec.id, host.spec.name]));
  const placements = members.map((member): PlannedMember => {
    const old = known.get(member.id);
    if (old !== undefined) return keep(old, names.get(old.host) ?? old.host);
    const seat = found.seats.get(member.id)!;
    return {
      member: member.id,
      service: member.service,
      host: seat.host.spec.id,
      cpus: member.cpus,
      memoryBytes: member.memoryBytes,
      diskBytes: member.diskBytes,
      cpuset: isBound(member.cpus) ? formatCpuset(seat.cpus) : undefined,
      hostPorts: [...(member.hostPorts ?? [])],
      reason: reasonFor(seat.host, seat.eligible, strategy),
      fresh: true,
    };
  });
  const services = [...new Set(members.map((member) => member.service))];
  const all = [...existing, ...placements.filter((placement) => placement.fresh)];
  const sharing = services.flatMap((service) =>
    sharingOf(
      all.filter((placement) => placement.service === service),
      hosts,
    ),
  );
  return { ok: true, placements, sharing, degraded: sharing.length === 0 ? undefined : sharing.map((each) => each.sentence).join('; ') };
}

function keep(old: Placement, hostName: string): PlannedMember {
  const { member, service, host, cpus, memoryBytes, diskBytes, cpuset, hostPorts } = old;
  return {
    member,
    service,
    host,
    cpus,
    memoryBytes,
    diskBytes,
    cpuset,
    hostPorts,
    reason: `it lives on ${hostName} already`,
    fresh: false,
  };
}

function reasonFor(host: Host, eligible: number, strategy: Strategy): string {
  const where = `${host.spec.name} (group ${host.spec.group}, rack ${host.spec.rack})`;
  if (eligible === 1) return `${where} is the only host that can take it`;
  const how = { spread: 'the emptiest', binpack: 'the fullest', random: 'drawn by lot' }[strategy];
  return `${where}: of ${eligible} hosts that can take it, farthest from the other members, then ${how}`;
}

function findMistake(members: readonly MemberToPlace[]): AppError | undefined {
  if (members.length > MAX_MEMBERS)
    return new AppError('invalid', `${members.length} members at once; at most ${MAX_MEMBERS} can be placed together`);
  const seen = new Set<string>();
  for (const { id, cpus, memoryBytes, diskBytes } of members) {
    if (seen.has(id)) return new AppError('invalid', `the member ${id} is asked for twice`);
    seen.add(id);
    for (const [what, amount] of Object.entries({ cpus, memoryBytes, diskBytes })) {
      if (!Number.isFinite(amount) || amount < 0) return new AppError('invalid', `${what} of ${id} must be 0 or more, not ${amount}`);
    }
  }
  return undefined;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
