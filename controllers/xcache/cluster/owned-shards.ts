import { SLOTS, type SlotRange, unowned } from './slots.ts';
import { type ClusterMember, ownLine, type SeenMember } from './world.ts';

/** A shard that owns slots: whose they are, and who follows. */
export interface OwnedShard {
  /** By the specification. */
  shard: number;
  slots: SlotRange[];
  master: SeenMember;
  replicas: SeenMember[];
}

/**
 * Pure: whose each slot is at the moment. Nobody can say while slots are on their way, or two claim the same ones: what one engine holds then is not what it will be asked for.
 *
 * @returns the shards in the order of their numbers; a sentence where nobody can say
 */
export function ownedShards({
  members,
  seen,
  moving,
}: {
  members: readonly Pick<ClusterMember, 'id' | 'shard'>[];
  seen: readonly SeenMember[];
  moving: boolean;
}): OwnedShard[] | string {
  if (moving || seen.some((member) => (ownLine(member)?.open.length ?? 0) > 0)) return 'slots are on their way';
  const owned = seen.flatMap((master): OwnedShard[] => {
    const own = ownLine(master);
    const shard = members.find(({ id }) => id === master.id)?.shard;
    if (own?.role !== 'master' || own.slots.length === 0 || shard === undefined) return [];
    const replicas = seen.filter((member) => ownLine(member)?.role === 'replica' && ownLine(member)?.master === own.id);
    return [{ shard, slots: own.slots.toSorted((a, b) => a.first - b.first), master, replicas }];
  });
  const holders = new Map(owned.map(({ master, slots }) => [master.id, slots]));
  const free = unowned(holders);
  if (free.length > 0) return `slot ${free[0]?.first} is served by nobody who answers`;
  const count = owned.flatMap(({ slots }) => slots).reduce((sum, { first, last }) => sum + last - first + 1, 0);
  if (count !== SLOTS || new Set(owned.map(({ shard }) => shard)).size !== owned.length) return 'two members claim the same slots';
  return owned.toSorted((a, b) => a.shard - b.shard);
}

/** Pure: the same text for the same slots of the same shards, whoever leads them. */
export function slotsText(shards: readonly Pick<OwnedShard, 'shard' | 'slots'>[]): string {
  return shards.map(({ shard, slots }) => `${shard}: ${slots.map(({ first, last }) => `${first}-${last}`).join(' ')}`).join('\n');
}
