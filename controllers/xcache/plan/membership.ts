import { lossOf } from '#pool/lost-host.ts';
import { place } from '#pool/placement.ts';
import { type ServiceStep, SHARED, sharing, tiersApartFrom } from '#pool/service-plan.ts';
import { memberToPlace } from '#pool/service-spec.ts';
import { answers, hostOf, isPaused, memberNumber, placementOf, sidecarOf, type Tier } from '#pool/service-world.ts';
import { type Observed, type Shard, shardsOf } from '#xcache/plan/world.ts';
import type { CacheSpec } from '#xcache/schema.ts';
import { withMember } from '#xcache/spec.ts';

/**
 * Pure: who the members are to be. A member is replaced by a further one, with an id of its own: only when that one holds what the master holds, or when the old one holds nothing
 * either, the old one is dropped. Nothing of this happens in a shard without a master that takes writes, but for one whose members are all lost for good.
 *
 * Invariants (plan.spec.ts): the master of a shard is never dropped, nor the last replica in sync as long as one is asked for; one step a turn.
 */
export function planMembership(spec: CacheSpec, observed: Observed, now: Date): ServiceStep | undefined {
  const named = spec.mode === 'cluster' ? undefined : observed.lead?.master.id;
  if (named !== undefined && !spec.members.some(({ id }) => id === named))
    return { do: 'adopt', member: named, reason: `${named} leads by the record` };
  if (isPaused(spec, now)) return undefined;
  for (const shard of shardsOf(spec, observed)) {
    const step = planShard(spec, shard, observed, now);
    if (step !== undefined) return step;
  }
  return undefined;
}

function planShard(spec: CacheSpec, shard: Shard, observed: Observed, now: Date): ServiceStep | undefined {
  const { members, master } = shard;
  if (shard.shard >= spec.shards) return planEmptied(shard, observed);
  if (master === undefined) return planAllLost(spec, shard, observed, now);
  const wanted = 1 + spec.replicas;
  if (members.length > wanted) return planDrop(spec, shard, observed, now);
  if (members.length < wanted) return grow(spec, shard, `${spec.name} is to have ${spec.replicas} replicas`);
  return planReplacement(spec, shard, observed, now);
}

/** A shard that is to be no more keeps its members until it has no slots. */
function planEmptied({ shard, members }: Shard, { cluster }: Observed): ServiceStep | undefined {
  const [member] = members;
  if (member === undefined || cluster?.emptied.includes(shard) !== true) return undefined;
  return { do: 'drop', member, reason: `the shard ${shard} has no slots any more` };
}

function grow(spec: CacheSpec, { shard }: Shard, reason: string): ServiceStep {
  return { do: 'grow', shard, reason: `${withMember(spec, shard).id} is added: ${reason}` };
}

/** Gone for good: out of the pool, or silent for longer than is waited. */
function isLost(spec: CacheSpec, member: string, observed: Observed, now: Date): string | undefined {
  const placement = placementOf(member, observed);
  if (placement === undefined) return undefined;
  const loss = lossOf(placement, observed, now);
  if (loss.state === 'left') return 'its host is no longer in the pool';
  if (loss.state !== 'lost' || loss.ms < spec.replaceAfterSeconds * 1000) return undefined;
  return `${loss.host.spec.name} has been gone for ${Math.round(loss.ms / 1000)} s`;
}

/**
 * Nobody of a shard is left. What was in memory only is gone with its hosts, so it begins anew, empty; what was on disk is waited for as long as its host belongs to the pool.
 */
function planAllLost(spec: CacheSpec, shard: Shard, observed: Observed, now: Date): ServiceStep | undefined {
  const { members } = shard;
  const placed = members.filter((member) => placementOf(member, observed) !== undefined);
  if (placed.length < members.length || placed.length === 0 || observed.birth?.done !== true) return undefined;
  const stateOf = (member: string) => lossOf(placementOf(member, observed)!, observed, now).state;
  const keeps = spec.persistence !== 'none' && members.some((member) => stateOf(member) !== 'left');
  const reasons = members.map((member) => isLost(spec, member, observed, now));
  const [why] = reasons;
  if (keeps || why === undefined || reasons.includes(undefined)) return undefined;
  if (!fits(spec, withMember(spec, shard.shard).id, tiersApartFrom([], observed, members), observed)) return undefined;
  return grow(spec, shard, `nobody of ${members.join(' and ')} is left, and nothing of what they held (${why})`);
}

function planReplacement(spec: CacheSpec, shard: Shard, observed: Observed, now: Date): ServiceStep | undefined {
  const others = shard.members.filter((member) => member !== shard.master);
  const { id } = withMember(spec, shard.shard);
  for (const other of others) {
    const why = isLost(spec, other, observed, now);
    if (why === undefined) continue;
    const rest = shard.members.filter((member) => member !== other);
    if (!fits(spec, id, tiersApartFrom(rest, observed, [other]), observed)) continue;
    return grow(spec, shard, `it is to take the place of ${other}, ${why}`);
  }
  // A member is moved for a better place only while nothing is amiss.
  if (shard.insync.length < others.length) return undefined;
  for (const other of others.toSorted((a, b) => memberNumber(b) - memberNumber(a))) {
    const rest = shard.members.filter((member) => member !== other);
    const level = sharingWith(other, rest, observed);
    const tiers = tiersApartFrom(rest, observed, []).filter((tier) => tier.level < level);
    if (level === 0 || tiers.length === 0 || !fits(spec, id, tiers, observed)) continue;
    const where =
      level === SHARED.host ? `shares host ${hostOf(other, observed)?.spec.name}` : `shares ${hostOf(other, observed)?.spec.group}`;
    return grow(spec, shard, `it is to take the place of ${other}, which ${where} with another member, and another place is free`);
  }
  return undefined;
}

/** One too many: the worst goes, once what is asked for is there without it. */
function planDrop(spec: CacheSpec, shard: Shard, observed: Observed, now: Date): ServiceStep | undefined {
  const { members, master, insync } = shard;
  const rank = (member: string) => badness(spec, shard, member, observed, now);
  const [worst, ...rest] = members.filter((member) => member !== master).toSorted((a, b) => rank(b) - rank(a));
  if (worst === undefined) return undefined;
  const left = rest.filter((member) => insync.includes(member));
  if (left.length < Math.min(spec.replicas, insync.length)) return undefined;
  const reason =
    rest.length === spec.replicas && left.length > 0
      ? `${left.join(' and ')} ${left.length === 1 ? 'is' : 'are'} in its place`
      : 'it is one too many';
  return { do: 'drop', member: worst, reason };
}

/** Higher = sooner dropped: without its host, beside others, without the data, the youngest. One that has no place counts by the place it would get. */
function badness(spec: CacheSpec, { members, insync }: Shard, member: string, observed: Observed, now: Date): number {
  const rest = members.filter((other) => other !== member);
  const placement = placementOf(member, observed);
  if (placement === undefined) return (fits(spec, member, tiersApartFrom(rest, observed, []), observed) ? 2e6 : 1e9) + memberNumber(member);
  const loss = lossOf(placement, observed, now);
  const gone = loss.state === 'left' || loss.state === 'lost' || loss.state === 'silent';
  const behind = insync.includes(member) ? 0 : sidecarOf(member, observed) === undefined ? 2 : 1;
  return (gone ? 1e8 : 0) + sharingWith(member, rest, observed) * 1e7 + behind * 1e6 + memberNumber(member);
}

function sharingWith(member: string, others: readonly string[], observed: Observed): number {
  const mine = hostOf(member, observed);
  const theirs = others.flatMap((other) => hostOf(other, observed) ?? []);
  return mine === undefined ? 0 : Math.max(0, ...theirs.map((host) => sharing(mine, host)));
}

/** Where new members of a shard go, apart from those of it that have a place. */
export function tiersFor(spec: CacheSpec, member: string, observed: Observed): Tier[] {
  const shard = spec.members.find(({ id }) => id === member)?.shard;
  const others = spec.members.filter((other) => other.shard === shard && other.id !== member).map(({ id }) => id);
  const placed = others.filter((other) => placementOf(other, observed) !== undefined);
  const gone = placed.filter((other) => !answers(hostOf(other, observed), observed));
  const beside = placed.filter((other) => !gone.includes(other));
  const tiers: Tier[] = tiersApartFrom(beside, observed, gone).map(({ says, hosts }) => ({ says, hosts }));
  const everywhere = { says: 'of the pool', hosts: observed.hosts.map((host) => host.spec.id) };
  // A replica on its master's own host is better than none.
  return others.length > 1 && tiers.length > 0 && beside.length > 1 ? tiers : [...tiers, everywhere];
}

function fits(spec: CacheSpec, id: string, tiers: readonly Tier[], observed: Observed): boolean {
  return tiers.some((tier) => {
    const member = { ...memberToPlace(spec, id), filters: [{ says: tier.says, hosts: new Set(tier.hosts) }] };
    return place({ members: [member], hosts: observed.hosts, existing: observed.everything }).ok;
  });
}
