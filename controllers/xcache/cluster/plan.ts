import type { NodeLine } from './nodes.ts';
import { rebalanceMasters } from './placement.ts';
import { countOf, evenShares, planMoves, type SlotRange, unowned } from './slots.ts';

/** Pure: the next steps that make a cluster what it should be, whatever was begun before and whoever has crashed since. */

export interface ClusterMember {
  id: string;
  shard: number;
  group: string;
}

/** A member whose engine answered: who it is in the cluster, where it is now, and whom it knows. */
export interface SeenMember {
  id: string;
  address: string;
  port: number;
  nodes: readonly NodeLine[];
}

export interface ClusterWorld {
  /** Of the specification; those of a shard in the order of their making. Shards from `shards` on are to be emptied. */
  members: readonly ClusterMember[];
  shards: number;
  seen: readonly SeenMember[];
  /** Slots were given out once: they are never given out anew, whatever is there. */
  born: boolean;
  /** Node ids of members that were seen before, also of those who do not answer now. */
  known: Readonly<Record<string, string>>;
  /** A move of slots is under way. */
  moving: boolean;
}

export type ClusterStep = { reason: string } & (
  | { do: 'meet'; at: string; address: string; port: number }
  | { do: 'give'; at: string; slots: SlotRange[] }
  /** Every slot is somebody's: to be written down. */
  | { do: 'born' }
  | { do: 'replicate'; at: string; master: string }
  | { do: 'forget'; at: string; node: string }
  /** Asked of the replica that is to lead: planned, nothing is lost. */
  | { do: 'failover'; at: string }
  | { do: 'move'; from: string; to: string; node: string; slots: SlotRange }
  | { do: 'wait' }
);

/** The first kind of step that there is something to do of: each rests on the ones before. */
export function planCluster(world: ClusterWorld): ClusterStep[] {
  if (world.seen.length === 0) return [{ do: 'wait', reason: 'no member answers' }];
  for (const rule of [connect, replicate, give, forget, spread, move]) {
    const steps = rule(world);
    if (steps.length > 0) return steps;
  }
  return [];
}

const myself = (member: SeenMember) => member.nodes.find((node) => node.myself);

/** Who knows most: the others learn of each other from it. */
function hubOf({ seen }: ClusterWorld): SeenMember | undefined {
  const links = (member: SeenMember) => member.nodes.filter((node) => node.linkUp && !node.failed).length;
  return seen.toSorted((a, b) => links(b) - links(a) || (a.id < b.id ? -1 : 1))[0];
}

/** Members that came back with other addresses know each other's old ones only: they are introduced anew. */
function connect(world: ClusterWorld): ClusterStep[] {
  const hub = hubOf(world);
  if (hub === undefined) return [];
  return world.seen.flatMap((member): ClusterStep[] => {
    const id = myself(member)?.id;
    if (member.id === hub.id || id === undefined) return [];
    const line = hub.nodes.find((node) => node.id === id);
    if (line?.linkUp && line.address === member.address && line.port === member.port) return [];
    const { address, port } = member;
    return [{ do: 'meet', at: hub.id, address, port, reason: `${hub.id} does not know where ${member.id} is: it is told` }];
  });
}

/** Who owns slots of a shard is its master; of a new shard the first of its members that is nobody's replica. */
function masterOf(world: ClusterWorld, shard: number): SeenMember | undefined {
  const here = world.members
    .filter((member) => member.shard === shard)
    .flatMap(({ id }) => world.seen.find((seen) => seen.id === id) ?? []);
  const owner = here.find((member) => (myself(member)?.slots.length ?? 0) > 0);
  if (owner !== undefined) return owner;
  // Its owner is away and may come back, or is about to be succeeded: nobody else begins beside it.
  if (ownerAway(world, shard)) return undefined;
  return here.find((member) => myself(member)?.role === 'master');
}

function ownerAway({ members, known, seen }: ClusterWorld, shard: number): boolean {
  const ids = new Set(members.filter((member) => member.shard === shard).flatMap(({ id }) => known[id] ?? []));
  return seen.some(({ nodes }) => nodes.some((node) => ids.has(node.id) && node.slots.length > 0));
}

function replicate(world: ClusterWorld): ClusterStep[] {
  return world.members.flatMap(({ id, shard }): ClusterStep[] => {
    const member = world.seen.find((seen) => seen.id === id);
    const own = member === undefined ? undefined : myself(member);
    const master = masterOf(world, shard);
    const target = master === undefined ? undefined : myself(master)?.id;
    if (member === undefined || own === undefined || master === undefined || target === undefined || master.id === id) return [];
    // One that owns slots is emptied first, and nobody can follow whom it has not heard of.
    if (own.slots.length > 0 || own.master === target || !member.nodes.some((node) => node.id === target && !node.failed)) return [];
    return [{ do: 'replicate', at: id, master: target, reason: `${id} follows ${master.id}, the master of shard ${shard}` }];
  });
}

/** Once in a cluster's life. A crash in the middle leaves some given: the rest goes to whom it was meant for. */
function give(world: ClusterWorld): ClusterStep[] {
  if (world.born) return [];
  const missing = world.members.filter(({ id }) => !world.seen.some((seen) => seen.id === id));
  if (missing.length > 0)
    return [{ do: 'wait', reason: `${missing.map(({ id }) => id).join(', ')} must answer before slots are given out` }];
  const strangers = world.seen.filter(({ nodes }) => nodes.filter((node) => !node.failed).length < world.members.length);
  if (strangers.length > 0) return [{ do: 'wait', reason: `${strangers.map(({ id }) => id).join(', ')} must hear of the others` }];
  const masters = Array.from({ length: world.shards }, (_, shard) => masterOf(world, shard)?.id ?? '');
  if (masters.includes('')) return [{ do: 'wait', reason: 'a shard has no master yet' }];
  const owners = ownersOf(world);
  const free = unowned(owners);
  if (free.length === 0) return [{ do: 'born', reason: 'every slot is somebody’s' }];
  const shares = evenShares(masters);
  const steps = masters.flatMap((at): ClusterStep[] => {
    const slots = (shares.get(at) ?? []).flatMap((share) => common(share, free));
    return slots.length === 0 ? [] : [{ do: 'give', at, slots, reason: `${at} gets its ${countOf(slots)} slots` }];
  });
  return steps;
}

function common(share: SlotRange, ranges: readonly SlotRange[]): SlotRange[] {
  return ranges.flatMap(({ first, last }) => {
    const both = { first: Math.max(first, share.first), last: Math.min(last, share.last) };
    return both.first <= both.last ? [both] : [];
  });
}

/** By each master's own word. */
function ownersOf({ seen }: ClusterWorld): Map<string, SlotRange[]> {
  return new Map(seen.flatMap((member) => (myself(member)?.role === 'master' ? [[member.id, myself(member)?.slots ?? []]] : [])));
}

/** Nodes of members that are no more, or were made anew. One that owns slots is never forgotten: its data may come back. */
function forget(world: ClusterWorld): ClusterStep[] {
  if (!world.born) return [];
  const kept = new Set<string>(world.seen.flatMap((member) => myself(member)?.id ?? []));
  for (const { id } of world.members)
    if (!world.seen.some((seen) => seen.id === id) && world.known[id] !== undefined) kept.add(world.known[id]);
  return world.seen.flatMap(({ id: at, nodes }) =>
    nodes
      .filter((node) => !kept.has(node.id) && node.slots.length === 0)
      // A replica does not forget its master, and one in a handshake is about to have its right name.
      .filter((node) => nodes.find((one) => one.myself)?.master !== node.id && (node.failed || !node.linkUp))
      .map(
        (node): ClusterStep => ({
          do: 'forget',
          at,
          node: node.id,
          reason: `${at} forgets ${node.id.slice(0, 8)}, which is no member any more`,
        }),
      ),
  );
}

function isWhole(world: ClusterWorld): boolean {
  return (
    world.born &&
    !world.moving &&
    world.members.every(({ id }) => world.seen.some((seen) => seen.id === id && (myself(seen)?.open.length ?? 0) === 0))
  );
}

/** After failovers masters may have gathered in one group: replicas elsewhere take over, one at a time. */
function spread(world: ClusterWorld): ClusterStep[] {
  if (!isWhole(world)) return [];
  const shards = Array.from({ length: world.shards }, (_, shard) => {
    const master = masterOf(world, shard);
    const here = world.members.filter((member) => member.shard === shard);
    return [...here.filter(({ id }) => id === master?.id), ...here.filter(({ id }) => id !== master?.id)];
  });
  const [first] = rebalanceMasters(shards.map((shard) => shard.map(({ group }) => group)));
  if (first === undefined) return [];
  const heir = shards[first.shard]?.slice(1).find(({ group }) => group === first.to);
  const seen = world.seen.find(({ id }) => id === heir?.id);
  if (heir === undefined || seen === undefined || myself(seen)?.role !== 'replica') return [];
  return [{ do: 'failover', at: heir.id, reason: `${heir.id} is to lead shard ${first.shard}: too many masters are in one group` }];
}

/** Even shares for the shards that there are to be; those of others are emptied. One range of each giver at a time. */
function move(world: ClusterWorld): ClusterStep[] {
  if (!isWhole(world)) return [];
  const masters = Array.from({ length: world.shards }, (_, shard) => masterOf(world, shard)?.id ?? '');
  if (masters.includes('')) return [];
  const first = new Map<string, ClusterStep>();
  for (const { from, to, ...slots } of planMoves(ownersOf(world), masters)) {
    const target = world.seen.find(({ id }) => id === to);
    const node = target === undefined ? undefined : myself(target)?.id;
    if (node === undefined || first.has(from)) continue;
    first.set(from, { do: 'move', from, to, node, slots, reason: `${slots.last - slots.first + 1} slots move from ${from} to ${to}` });
  }
  return [...first.values()];
}
