import { freeOf } from '#pool/capacity.ts';
import type { Resources } from '#pool/host.ts';
import type { ServiceStep } from '#pool/service-plan.ts';
import { answers, type SeenService } from '#pool/service-world.ts';
import { type GroupRoom, placeShards } from '#xcache/cluster/placement.ts';
import type { CacheSpec } from '#xcache/schema.ts';

/** Pure: where the members of a new cluster go: no group may hold a majority of the masters. */
export function planSeats(spec: CacheSpec, missing: readonly string[], observed: SeenService): ServiceStep[] {
  const { shards } = placeShards(spec.shards, spec.replicas, groupRooms(spec, observed));
  const seats = new Map<string, string[]>();
  for (const [shard, groups] of shards.entries()) {
    const members = spec.members.filter((member) => member.shard === shard).map(({ id }) => id);
    for (const [index, group] of groups.entries()) {
      const member = members[index];
      if (member !== undefined && missing.includes(member)) seats.set(group, [...(seats.get(group) ?? []), member]);
    }
  }
  const everywhere = { says: 'of the pool', hosts: observed.hosts.map((host) => host.spec.id) };
  const seated = new Set([...seats.values()].flat());
  const rest = missing.filter((member) => !seated.has(member));
  return [...seats, ...(rest.length === 0 ? [] : [['', rest] as const])].map(([group, members]) => {
    const hosts = observed.hosts.filter((host) => host.spec.group === group).map((host) => host.spec.id);
    const tiers = hosts.length === 0 ? [everywhere] : [{ says: `in ${group}`, hosts }, everywhere];
    return {
      do: 'place',
      members: [...members],
      tiers,
      reason: `${members.join(' and ')} ${members.length === 1 ? 'has' : 'have'} no host yet`,
    };
  });
}

/** How many members the hosts of each group can still take. */
export function groupRooms(spec: Resources & Pick<CacheSpec, 'shards' | 'replicas'>, observed: SeenService): GroupRoom[] {
  const rooms = new Map<string, number>();
  for (const host of observed.hosts) {
    if (!answers(host, observed) || host.spec.drained) continue;
    const free = freeOf(host);
    const takes = (what: keyof Resources) => (spec[what] > 0 ? Math.floor(free[what] / spec[what]) : Number.POSITIVE_INFINITY);
    const room = Math.min(takes('cpus'), takes('memoryBytes'), takes('diskBytes'), spec.shards * (1 + spec.replicas));
    rooms.set(host.spec.group, (rooms.get(host.spec.group) ?? 0) + room);
  }
  return [...rooms].map(([group, room]) => ({ group, room }));
}
