import { planDestroyed } from '#pool/service-destroyed.ts';
import { planEnsure, planLost, planReserve, tiersApartFrom } from '#pool/service-plan.ts';
import { answers, hostOf, placementOf } from '#pool/service-world.ts';
import { memberSpec } from '#xdb/plan/member-spec.ts';
import { planMembership } from '#xdb/plan/membership.ts';
import { planRolling } from '#xdb/plan/rolling.ts';
import { planStrays } from '#xdb/plan/strays.ts';
import type { Observed, Step } from '#xdb/plan/world.ts';
import type { DbSpec } from '#xdb/schema.ts';
import { fullMembers, memberIds } from '#xdb/spec.ts';

/**
 * Pure: the steps that bring one database to its specification, all of which can be done now. An empty list = nothing to do. Who leads, who is in sync
 * and when a member may be believed is the sidecars' business (`protocol/`); this only decides which members exist, where, and made of what.
 *
 * Invariants (plan.spec.ts): at most one step takes a running member away; never the leader of a pair; data go only while another member leads and,
 * of a pair, a second one holds everything; applied again and again the plan becomes empty.
 */
export function plan(spec: DbSpec, observed: Observed, now: Date): Step[] {
  const lost = planLost(spec, observed, now);
  if (spec.destroyed !== undefined) return [...lost, ...planDestroyed(spec, observed, now)];
  const place = planPlace(spec, observed);
  // What runs follows what is reserved, not the specification: one that cannot be had keeps no other step back.
  const first = [...lost, ...(place === undefined ? [] : [place]), ...planReserve(spec, observed)];
  const ensures = memberIds(spec).flatMap(
    (member) => planEnsure(member, observed, (placement) => memberSpec(spec, placement, observed)) ?? [],
  );
  const one = planMembership(spec, observed, now) ?? planRolling(spec, observed, now);
  return [...first, ...ensures, ...(one === undefined ? [] : [one]), ...planStrays(spec, observed, now)];
}

/** The first members are placed together, all or none; a later one apart from those that are there. */
function planPlace(spec: DbSpec, observed: Observed): Step | undefined {
  const missing = memberIds(spec).filter((member) => placementOf(member, observed) === undefined);
  if (missing.length === 0) return undefined;
  const full = fullMembers(spec);
  const placed = full.filter((member) => !missing.includes(member));
  const reason = missing.length === 1 ? `${missing[0]} has no host yet` : `${missing.join(' and ')} have no host yet`;
  const everywhere = { says: 'of the pool', hosts: observed.hosts.map((host) => host.spec.id) };
  if (placed.length === 0) {
    // A slave of one of our databases is apart from its master.
    const { upstreamLeader } = observed;
    const apart = upstreamLeader === undefined ? [] : tiersApartFrom([upstreamLeader], observed, []);
    return { do: 'place', members: missing, tiers: [...apart.map(({ says, hosts }) => ({ says, hosts })), everywhere], reason };
  }
  const leader = observed.sync?.leader.id;
  const beside = leader !== undefined && placed.includes(leader) ? [leader] : placed;
  const gone = placed.filter((member) => !answers(hostOf(member, observed), observed));
  const tiers = missing.some((member) => full.includes(member)) ? tiersApartFrom(beside, observed, gone) : [];
  // A second member on the leader's own host is better than none, a third one beside the first is not.
  const last = placed.length > 1 ? [] : [everywhere];
  const all = [...tiers.map(({ says, hosts }) => ({ says, hosts })), ...last];
  return { do: 'place', members: missing, tiers: all.length === 0 ? [everywhere] : all, reason };
}
