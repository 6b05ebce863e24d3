import type { NodeLine } from './nodes.ts';
import { common, contains, countOf, SLOTS, type SlotRange, unowned } from './slots.ts';

/** Pure: what was seen of a cluster, and what follows from it. */

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
  /** It hears a majority of masters, and takes commands (`cluster_state:ok`). A master that was started waits for two seconds. */
  ok: boolean;
}

export interface ClusterWorld {
  /** Of the specification; those of a shard in the order of their making. Shards from `shards` on are to be emptied. */
  members: readonly ClusterMember[];
  shards: number;
  /** Of each master. */
  replicas: number;
  seen: readonly SeenMember[];
  /** Slots were given out once: they are never given out anew, whatever is there. */
  born: boolean;
  /** Node ids of members that were seen before, also of those who do not answer now. */
  known: Readonly<Record<string, string>>;
  /** A move of slots is under way. */
  moving: boolean;
  /** The next one waits: clients have the engines to themselves for a while. What was broken off does not. */
  resting: boolean;
  /** Nothing is moved that serves where it is. */
  paused: boolean;
  /** Backup that is being made of the cluster: no move begins meanwhile. */
  backup?: string | undefined;
  /** It begins with a backup: slots that nobody has yet wait for their data. */
  fromBackup?: boolean;
  /** The same members have been away for as long as is waited for a host. */
  awayForLong: boolean;
}

export type ClusterStep = { reason: string } & (
  | { do: 'meet'; at: string; address: string; port: number }
  | { do: 'give'; at: string; slots: SlotRange[]; lost: boolean }
  /** Every slot is somebody's: to be written down. */
  | { do: 'born' }
  | { do: 'replicate'; at: string; master: string }
  | { do: 'forget'; at: string; node: string }
  /** Asked of the replica that is to lead. Planned, nothing is lost; `takeover` without a vote, where those who would have to vote are no more. */
  | { do: 'failover'; at: string; takeover: boolean }
  | { do: 'move'; from: string; to: string; node: string; slots: SlotRange }
  /** A mark of a half-moved slot that means nothing any more. */
  | { do: 'unmark'; at: string; slot: number }
  | { do: 'wait' }
);

export const ownLine = (member: SeenMember) => member.nodes.find((node) => node.myself);

export function memberOfNode(world: ClusterWorld, node: string): SeenMember | undefined {
  return world.seen.find((member) => ownLine(member)?.id === node);
}

export const missingMembers = ({ members, seen }: ClusterWorld) => members.filter(({ id }) => !seen.some((one) => one.id === id));

/**
 * Members that do not answer and are not waited for any more: they have been away for long, their shard was given a member more than it is to have, and none of those who answer
 * has anything of its data. Whoever decides what exists does so only for members that are lost for good.
 */
export function givenUp(world: ClusterWorld, { shard }: ClusterMember): boolean {
  const here = world.members.filter((member) => member.shard === shard);
  const answering = world.seen.filter(({ id }) => here.some((member) => member.id === id));
  if (!world.awayForLong || here.length <= 1 + world.replicas || answering.length === 0) return false;
  return answering.every((member) => {
    const own = ownLine(member);
    return own !== undefined && own.slots.length === 0 && (own.master === undefined || !hasSlots(world, own.master));
  });
}

/** Slots of a node as anybody sees it. */
function hasSlots({ seen }: ClusterWorld, node: string): boolean {
  return seen.some(({ nodes }) => nodes.some((line) => line.id === node && line.slots.length > 0));
}

/** Who owns slots of a shard is its master; of a new shard the first of its members that is nobody's replica. */
export function masterOf(world: ClusterWorld, shard: number): SeenMember | undefined {
  const here = world.members
    .filter((member) => member.shard === shard)
    .flatMap(({ id }) => world.seen.find((seen) => seen.id === id) ?? []);
  const owner = here.find((member) => (ownLine(member)?.slots.length ?? 0) > 0);
  if (owner !== undefined) return owner;
  // Its owner is away and may come back, or is about to be succeeded: nobody else begins beside it.
  if (ownerAway(world, shard, here)) return undefined;
  return here.find((member) => ownLine(member)?.role === 'master');
}

/** By the names that its members had, and by the word of those who follow it, whether or not it is a member still. */
function ownerAway(world: ClusterWorld, shard: number, here: readonly SeenMember[]): boolean {
  const ids = [
    ...world.members.filter((member) => member.shard === shard).flatMap(({ id }) => world.known[id] ?? []),
    ...here.flatMap((member) => ownLine(member)?.master ?? []),
  ];
  return ids.some((id) => hasSlots(world, id));
}

export const mastersOf = (world: ClusterWorld) => Array.from({ length: world.shards }, (_, shard) => masterOf(world, shard)?.id ?? '');

/** By each master's own word. */
export function ownersOf({ seen }: ClusterWorld): Map<string, SlotRange[]> {
  return new Map(seen.flatMap((member) => (ownLine(member)?.role === 'master' ? [[member.id, ownLine(member)?.slots ?? []]] : [])));
}

export const ownerOf = (world: ClusterWorld, slot: number) =>
  [...ownersOf(world)].find(([, ranges]) => ranges.some((range) => contains(range, slot)))?.[0];

/** Nodes that nobody who answers is, and whose slots nobody else serves meanwhile. */
export function orphansOf(world: ClusterWorld): { node: string; slots: SlotRange[]; heirs: SeenMember[] }[] {
  const found = new Map<string, SlotRange[]>();
  // By their own word others may have them meanwhile.
  for (const { nodes } of world.seen)
    for (const { id, slots } of nodes)
      if (slots.length > 0 && memberOfNode(world, id) === undefined && !found.has(id)) found.set(id, slots);
  const free = unowned(ownersOf(world));
  return [...found].flatMap(([node, had]) => {
    const slots = had.flatMap((range) => common(range, free));
    return slots.length === 0 ? [] : [{ node, slots, heirs: world.seen.filter((member) => ownLine(member)?.master === node) }];
  });
}

/** Slots that are nobody's in anybody's eyes. */
export function ownerless({ seen }: ClusterWorld): SlotRange[] {
  return unowned(new Map(seen.map(({ id, nodes }) => [id, nodes.flatMap(({ slots }) => slots)])));
}

/** Slots that no member which answers serves. */
export function unserved(world: ClusterWorld): number {
  const refusing = new Set(world.seen.filter(({ ok }) => !ok).map(({ id }) => id));
  return countOf(unowned(new Map([...ownersOf(world)].filter(([id]) => !refusing.has(id)))));
}

/** By its masters' own words each slot is served by one of them. After a failover the former one claims them too, until it has heard of it. */
function agrees(world: ClusterWorld): boolean {
  const owners = ownersOf(world);
  return unowned(owners).length === 0 && countOf([...owners.values()].flat()) === SLOTS;
}

export function isWhole(world: ClusterWorld): boolean {
  return (
    world.born &&
    !world.moving &&
    missingMembers(world).length === 0 &&
    agrees(world) &&
    world.members.every(({ id }) => world.seen.some((seen) => seen.id === id && (ownLine(seen)?.open.length ?? 0) === 0))
  );
}
