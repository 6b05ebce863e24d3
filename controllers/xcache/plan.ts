import { planDestroyed } from '#pool/service-destroyed.ts';
import { planEnsure, planLost, planReserve, type ServiceStep } from '#pool/service-plan.ts';
import { placementOf } from '#pool/service-world.ts';
import { memberSpec } from '#xcache/plan/member-spec.ts';
import { planMembership, tiersFor } from '#xcache/plan/membership.ts';
import { planRolling } from '#xcache/plan/rolling.ts';
import { planSeats } from '#xcache/plan/seats.ts';
import { planStrays } from '#xcache/plan/strays.ts';
import { memberIds, type Observed } from '#xcache/plan/world.ts';
import type { CacheSpec } from '#xcache/schema.ts';

/**
 * Pure: the steps that bring one cache to its specification, all of which can be done now. An empty list = nothing to do. Who leads and who is in sync is the sidecars' business
 * (`protocol/`, `cluster/`); this only decides which members exist, where, and made of what.
 *
 * Invariants (plan.spec.ts): at most one step takes a running member away; never the master that has replicas, but in a cluster; applied again and again the plan becomes empty.
 */
export function plan(spec: CacheSpec, observed: Observed, now: Date): ServiceStep[] {
  const lost = planLost(spec, observed, now);
  if (spec.destroyed !== undefined) return [...lost, ...planDestroyed(spec, observed, now)];
  // What runs follows what is reserved, not the specification: one that cannot be had keeps no other step back.
  const first = [...lost, ...planPlace(spec, observed), ...planReserve(spec, observed)];
  const ensures = memberIds(spec).flatMap(
    (member) => planEnsure(member, observed, (placement) => memberSpec(spec, placement, observed)) ?? [],
  );
  const one = planMembership(spec, observed, now) ?? planRolling(spec, observed, now);
  return [...first, ...ensures, ...(one === undefined ? [] : [one]), ...planStrays(spec, observed, now)];
}

/** The first members are placed together, all or none, those of a cluster by groups; a later one apart from those of its shard that are there. */
function planPlace(spec: CacheSpec, observed: Observed): ServiceStep[] {
  const missing = memberIds(spec).filter((member) => placementOf(member, observed) === undefined);
  const [first] = missing;
  if (first === undefined) return [];
  const reason = missing.length === 1 ? `${first} has no host yet` : `${missing.join(' and ')} have no host yet`;
  if (missing.length < spec.members.length || missing.length === 1)
    return missing.map((member) => ({
      do: 'place',
      members: [member],
      tiers: tiersFor(spec, member, observed),
      reason: `${member} has no host yet`,
    }));
  if (spec.mode === 'cluster') return planSeats(spec, missing, observed);
  return [{ do: 'place', members: missing, tiers: [{ says: 'of the pool', hosts: observed.hosts.map((host) => host.spec.id) }], reason }];
}
