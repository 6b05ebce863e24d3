/**
 * Pure: which fault groups masters and replicas of a cluster go to. A cluster decides by the majority of its masters, so no group may ever hold a majority of them, also after
 * every master of any one group has failed over to its replicas.
 */

export interface GroupRoom {
  group: string;
  /** Members that its hosts can still take. */
  room: number;
}

/** Groups of one shard's members: the master's first. */
export type ShardGroups = readonly string[];

export interface PlacementResult {
  shards: ShardGroups[];
  /** What cannot be kept, and what would be needed; empty when all is kept. */
  warnings: string[];
}

/** Most masters that one group may hold: fewer than a majority. */
export function mostPerGroup(shards: number): number {
  return Math.ceil(shards / 2) - 1;
}

/** Whether so many masters can be spread over so many groups that none of them holds a majority: four over three groups, for one, cannot. */
export function canBeSafe(shards: number, groups: number): boolean {
  return groups > 0 && Math.ceil(shards / groups) <= mostPerGroup(shards);
}

/**
 * Masters in turn over all groups, replicas in other groups than their masters, so that the loss of a group makes masters of replicas spread over the others.
 *
 * @throws never; what cannot be kept is said
 */
export function placeShards(count: number, replicas: number, groups: readonly GroupRoom[]): PlacementResult {
  const warnings: string[] = [];
  const room = new Map(groups.map(({ group, room: left }) => [group, left]));
  const masters = new Map(groups.map(({ group }) => [group, 0]));
  const members = new Map(groups.map(({ group }) => [group, 0]));
  const total = groups.reduce((sum, { room: left }) => sum + left, 0);
  const needed = count * (1 + replicas);
  if (total < needed) warnings.push(`${needed} members need a place, and there is room for ${total}`);
  const shards: string[][] = [];

  const take = (group: string) => {
    room.set(group, (room.get(group) ?? 0) - 1);
    members.set(group, (members.get(group) ?? 0) + 1);
  };
  const after = (from: string, to: string) => (groups.length + indexOf(to) - indexOf(from)) % groups.length;
  const indexOf = (wanted: string) => groups.findIndex(({ group }) => group === wanted);
  const free = () => groups.map(({ group }) => group).filter((group) => (room.get(group) ?? 0) > 0);

  for (let shard = 0; shard < count; shard += 1) {
    const master = free().toSorted(
      (a, b) => (masters.get(a) ?? 0) - (masters.get(b) ?? 0) || (members.get(a) ?? 0) - (members.get(b) ?? 0) || compare(a, b),
    )[0];
    if (master === undefined) break;
    masters.set(master, (masters.get(master) ?? 0) + 1);
    take(master);
    shards.push([master]);
  }
  for (let replica = 0; replica < replicas; replica += 1)
    for (const shard of shards) {
      const master = shard[0] ?? '';
      const others = free().filter((group) => !shard.includes(group));
      // Where the masters of this group would go if it were lost: evenly over the others.
      const heirs = (group: string) => shards.filter((other) => other[0] === master && other.slice(1).includes(group)).length;
      const best = (others.length > 0 ? others : free()).toSorted(
        (a, b) =>
          heirs(a) - heirs(b) ||
          (masters.get(a) ?? 0) + heirs(a) - (masters.get(b) ?? 0) - heirs(b) ||
          (members.get(a) ?? 0) - (members.get(b) ?? 0) ||
          // Around the ring of groups: the first in order for everybody would fill it twice.
          after(master, a) - after(master, b),
      )[0];
      if (best === undefined) break;
      take(best);
      shard.push(best);
    }
  return { shards, warnings: [...warnings, ...faultsOf(shards, replicas, groups.length)] };
}

/** What a placement does not survive, in sentences for people. */
export function faultsOf(shards: readonly ShardGroups[], replicas: number, groups: number): string[] {
  const found: string[] = [];
  const most = mostPerGroup(shards.length);
  const count = countBy(shards.map(([master]) => master ?? ''));
  const over = [...count]
    .filter(([, masters]) => masters > most)
    .map(([group, masters]) => `${group} holds ${masters} of ${shards.length} masters`);
  if (over.length > 0)
    found.push(`${over.join(', ')}: without that group no majority is left to fail over${groups < 3 ? '; three groups are needed' : ''}`);
  const together = shards.flatMap((shard, index) => (new Set(shard).size < shard.length ? [index] : []));
  if (together.length > 0)
    found.push(`${together.length === 1 ? 'a shard has' : `${together.length} shards have`} a master and a replica in one group`);
  if (replicas > 0 && over.length === 0)
    for (const lost of count.keys()) {
      const after = mastersAfter(shards, lost);
      const worst = [...countBy(after)].find(([, masters]) => masters > most);
      if (worst !== undefined)
        found.push(`after the loss of ${lost}, ${worst[0]} would hold ${worst[1]} of ${shards.length} masters until they are moved`);
    }
  return found;
}

/** Groups of the masters when one group is lost: the first replica elsewhere takes over. */
export function mastersAfter(shards: readonly ShardGroups[], lost: string): string[] {
  return shards.flatMap((shard) => shard.find((group) => group !== lost) ?? []);
}

/**
 * Which replicas should take over by a planned change so that masters are spread again after failovers: as few as it needs.
 *
 * @param shards groups as they are now, the master's first
 */
export function rebalanceMasters(shards: readonly ShardGroups[]): { shard: number; to: string }[] {
  const present = shards.map((shard) => [...shard]);
  const changes: { shard: number; to: string }[] = [];
  for (let turn = 0; turn < shards.length; turn += 1) {
    const count = countBy(present.map(([master]) => master ?? ''));
    const masters = (group: string) => count.get(group) ?? 0;
    const options = present.flatMap((shard, index) =>
      shard.slice(1).map((to) => ({ shard: index, to, gain: masters(shard[0] ?? '') - masters(to) - 1 })),
    );
    const best = options.filter(({ gain }) => gain > 0).toSorted((a, b) => b.gain - a.gain || a.shard - b.shard)[0];
    if (best === undefined) break;
    const shard = present[best.shard] ?? [];
    present[best.shard] = [best.to, ...shard.filter((_, index) => index !== shard.indexOf(best.to, 1))];
    changes.push({ shard: best.shard, to: best.to });
  }
  return changes;
}

function countBy(words: readonly string[]): Map<string, number> {
  const count = new Map<string, number>();
  for (const word of words) count.set(word, (count.get(word) ?? 0) + 1);
  return count;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
