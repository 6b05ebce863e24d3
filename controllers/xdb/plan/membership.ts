import { lossOf } from '#pool/lost-host.ts';
import { place } from '#pool/placement.ts';
import { SHARED, sharing, tiersApartFrom } from '#pool/service-plan.ts';
import { memberToPlace } from '#pool/service-spec.ts';
import { hostOf, isPaused, memberNumber, placementOf, sidecarOf, type Tier } from '#pool/service-world.ts';
import { isCopied, isReady, livingSlave, type Observed, type Step, writableLeader } from '#xdb/plan/world.ts';
import type { DbSpec } from '#xdb/schema.ts';
import { fullMembers, withMember } from '#xdb/spec.ts';

/** How many members, read replicas aside, a database is to have. */
export function wantedMembers(spec: Pick<DbSpec, 'role'>): number {
  return spec.role === 'pair' ? 2 : 1;
}

/**
 * Pure: who the members are to be. A member is replaced by a further one, with an id of its own: it takes its copy while the old one goes on protecting
 * what is written, and only when it has it is the old one dropped. Two members never acknowledge at the same time, so what was written since the copy
 * began is fetched after that, for seconds in which the record names no slave. Nothing of this happens without a leader that takes writes.
 */
export function planMembership(spec: DbSpec, observed: Observed, now: Date): Step | undefined {
  const full = fullMembers(spec);
  const named = observed.sync?.leader.id;
  if (named !== undefined && !full.includes(named)) {
    return { do: 'adopt', member: named, reason: `${named} leads by the record` };
  }
  const leader = writableLeader(observed);
  if (leader === undefined || isPaused(spec, now)) return undefined;
  const wanted = wantedMembers(spec);
  if (full.length > wanted) return planDrop(spec, { full, wanted, leader }, observed, now);
  if (full.length < wanted) return { do: 'grow', reason: `${spec.name} is to have ${wanted} members` };
  const other = full.find((member) => member !== leader);
  return other === undefined ? undefined : planReplacement(spec, { leader, other }, observed, now);
}

function planReplacement(
  spec: DbSpec,
  { leader, other }: { leader: string; other: string },
  observed: Observed,
  now: Date,
): Step | undefined {
  const placement = placementOf(other, observed);
  if (placement === undefined) return undefined;
  const loss = lossOf(placement, observed, now);
  const { id } = withMember(spec, 'member');
  if (loss.state === 'left' || (loss.state === 'lost' && loss.ms >= spec.replaceAfterSeconds * 1000)) {
    if (!fits(spec, id, tiersApartFrom([leader], observed, [other]), observed)) return undefined;
    const why =
      loss.state === 'left'
        ? 'its host is no longer in the pool'
        : `${loss.host.spec.name} has been gone for ${Math.round(loss.ms / 1000)} s`;
    return { do: 'grow', reason: `${id} is to take the place of ${other}: ${why}` };
  }
  // A member is moved for a better place only while nothing is amiss.
  if (loss.state !== 'fine' || livingSlave(observed) !== other) return undefined;
  const [mine, theirs] = [hostOf(leader, observed), hostOf(other, observed)];
  if (mine === undefined || theirs === undefined) return undefined;
  const level = sharing(mine, theirs);
  const tiers = tiersApartFrom([leader], observed, []).filter((tier) => tier.level < level);
  if (tiers.length === 0 || !fits(spec, id, tiers, observed)) return undefined;
  const what = level === SHARED.host ? `share host ${mine.spec.name}` : `are both in ${mine.spec.group}`;
  return { do: 'grow', reason: `${id} is to take the place of ${other}: ${leader} and ${other} ${what}, and another place is free` };
}

/** One too many: the worst goes, once another one than it and the leader has everything. */
function planDrop(
  spec: DbSpec,
  { full, wanted, leader }: { full: string[]; wanted: number; leader: string },
  observed: Observed,
  now: Date,
): Step | undefined {
  const rank = (member: string) => badness(spec, member, leader, observed, now);
  const [worst, ...rest] = full.filter((member) => member !== leader).toSorted((a, b) => rank(b) - rank(a));
  if (worst === undefined) return undefined;
  const heir = rest.find((member) => isReady(member, observed) || isCopied(member, observed));
  if (wanted > 1 && heir === undefined) return undefined;
  return { do: 'drop', member: worst, reason: heir === undefined ? 'one member is asked for' : `${heir} is in its place` };
}

/** Higher = sooner dropped: without its host, beside the leader, without the data, the youngest. One that has no place counts by the place it would get. */
function badness(spec: DbSpec, member: string, leader: string, observed: Observed, now: Date): number {
  const placement = placementOf(member, observed);
  if (placement === undefined)
    return (fits(spec, member, tiersApartFrom([leader], observed, []), observed) ? 2e6 : 1e9) + memberNumber(member);
  const loss = lossOf(placement, observed, now);
  const gone = loss.state === 'left' || loss.state === 'lost' || loss.state === 'silent';
  const [mine, theirs] = [hostOf(leader, observed), hostOf(member, observed)];
  const level = mine === undefined || theirs === undefined ? 0 : sharing(mine, theirs);
  const behind = observed.sync?.sync?.id === member ? 0 : sidecarOf(member, observed) === undefined ? 2 : 1;
  return (gone ? 1e8 : 0) + level * 1e7 + behind * 1e6 + memberNumber(member);
}

function fits(spec: DbSpec, id: string, tiers: Tier[], observed: Observed): boolean {
  return tiers.some((tier) => {
    const member = { ...memberToPlace(spec, id), filters: [{ says: tier.says, hosts: new Set(tier.hosts) }] };
    return place({ members: [member], hosts: observed.hosts, existing: observed.everything }).ok;
  });
}
