import type { Host } from '#pool/host.ts';
import { countBy } from '#pool/shape.ts';

export interface ManagersWanted {
  /** Ids of the hosts that should be managers (Consul servers, Swarm managers, control), sorted. */
  managers: string[];
  /** Of these, those that are none yet; to be promoted one at a time, in this order. */
  promote: string[];
  /** Managers whose demotion lets the pool survive the loss of any one group, which it cannot with them. Empty otherwise. */
  demote: string[];
  reason: string;
}

type ManagerHost = Pick<Host, 'spec' | 'alive'>;

/**
 * Which hosts should be managers: 1 below three hosts, 3 from three, 5 from five (a majority of more costs each write more and survives
 * no more than what pools of this size meet), spread over groups so that no group holds a majority if that can be had.
 *
 * Stable: a manager stays one, also while it is down or drained and when the pool shrinks; it goes only where staying would keep the
 * pool from surviving the loss of a group. A drained host may be a manager: that is what a witness is. Only living hosts are promoted.
 */
export function managersWanted(hosts: readonly ManagerHost[]): ManagersWanted {
  const sorted = [...hosts].sort((a, b) => (a.spec.id < b.spec.id ? -1 : 1));
  const current = sorted.filter(({ spec }) => spec.manager);
  const candidates = sorted.filter((host) => !host.spec.manager && host.alive);

  const grown = grow(current, candidates, sizeFor(sorted.length));
  if (survivesGroup(grown)) return answer(current, grown, 'every group may be lost: no group holds half of the managers');
  const spread = spreadSet(current, candidates, sizeFor(sorted.length));
  if (spread !== undefined) return answer(current, spread, 'fewer managers, so that no group holds half of them');
  const why =
    sorted.length < 3 ? 'two managers survive no more than one' : 'the groups do not allow a set without a group that holds half of it';
  return answer(current, grown, why);
}

/** 1, 3 or 5 managers for so many hosts. */
function sizeFor(hosts: number): number {
  return hosts >= 5 ? 5 : hosts >= 3 ? 3 : 1;
}

/** Adds living hosts, the emptiest group first, up to the largest odd number that can be reached; an even number survives no more. */
function grow(current: readonly ManagerHost[], candidates: readonly ManagerHost[], size: number): ManagerHost[] {
  const reachable = Math.min(size, current.length + candidates.length);
  const target = reachable % 2 === 1 ? reachable : reachable - 1;
  const chosen = [...current];
  const left = [...candidates];
  while (chosen.length < target) {
    const next = left.sort((a, b) => inGroup(chosen, a) - inGroup(chosen, b) || preference(a, b))[0]!;
    chosen.push(next);
    left.splice(left.indexOf(next), 1);
  }
  return chosen;
}

/** A set of 5 or 3 in which no group holds a majority, with as many present managers as possible; undefined when there is none. */
function spreadSet(current: readonly ManagerHost[], candidates: readonly ManagerHost[], largest: number): ManagerHost[] | undefined {
  for (const size of [5, 3]) {
    if (size > largest) continue;
    const limit = (size - 1) / 2;
    const chosen: ManagerHost[] = [];
    // Managers first, and of these the living: what works stays.
    const order = [...current]
      .sort((a, b) => Number(b.alive) - Number(a.alive) || preference(a, b))
      .concat([...candidates].sort(preference));
    for (const host of order) if (chosen.length < size && inGroup(chosen, host) < limit) chosen.push(host);
    if (chosen.length === size && survivesGroup(chosen)) return chosen;
  }
  return undefined;
}

function survivesGroup(managers: readonly ManagerHost[]): boolean {
  const most = Math.max(0, ...countBy(managers, ({ spec }) => spec.group).values());
  return managers.length > 0 && most < managers.length / 2;
}

function inGroup(chosen: readonly ManagerHost[], host: ManagerHost): number {
  return chosen.filter(({ spec }) => spec.group === host.spec.group).length;
}

/** Hosts that take members before those that are being emptied. */
function preference(a: ManagerHost, b: ManagerHost): number {
  return Number(a.spec.drained) - Number(b.spec.drained) || (a.spec.id < b.spec.id ? -1 : 1);
}

function answer(current: readonly ManagerHost[], wanted: readonly ManagerHost[], reason: string): ManagersWanted {
  const ids = (list: readonly ManagerHost[]) => list.map(({ spec }) => spec.id);
  return {
    managers: ids(wanted).sort(),
    promote: ids(wanted.filter((host) => !current.includes(host))),
    demote: ids(current.filter((host) => !wanted.includes(host))),
    reason,
  };
}
