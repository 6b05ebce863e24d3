import { rebalanceMasters } from './placement.ts';
import { forget, reclaim, resume } from './repair.ts';
import { common, countOf, evenShares, planMoves, unowned } from './slots.ts';
import {
  type ClusterStep,
  type ClusterWorld,
  isWhole,
  masterOf,
  mastersOf,
  missingMembers,
  ownersOf,
  ownLine,
  type SeenMember,
} from './world.ts';

/** Pure: the next steps that make a cluster what it should be, whatever was begun before and whoever has crashed since. */

/** Slots that one step moves: so often progress is seen, and so much is done again when it fails. */
const MOST_A_STEP = 1024;

/** The first kind of step that there is something to do of: each rests on the ones before. */
export function planCluster(world: ClusterWorld): ClusterStep[] {
  if (world.seen.length === 0) return [{ do: 'wait', reason: 'no member answers' }];
  for (const rule of [connect, replicate, give, reclaim, forget, resume, spread, move]) {
    const steps = rule(world);
    if (steps.length > 0) return steps;
  }
  return [];
}

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
    const id = ownLine(member)?.id;
    if (member.id === hub.id || id === undefined) return [];
    const line = hub.nodes.find((node) => node.id === id);
    if (line?.linkUp && line.address === member.address && line.port === member.port) return [];
    const { address, port } = member;
    return [{ do: 'meet', at: hub.id, address, port, reason: `${hub.id} does not know where ${member.id} is: it is told` }];
  });
}

function replicate(world: ClusterWorld): ClusterStep[] {
  return world.members.flatMap(({ id, shard }): ClusterStep[] => {
    const member = world.seen.find((seen) => seen.id === id);
    const own = member === undefined ? undefined : ownLine(member);
    const master = masterOf(world, shard);
    const target = master === undefined ? undefined : ownLine(master);
    if (member === undefined || own === undefined || master === undefined || target === undefined || master.id === id) return [];
    // One that owns slots is emptied first, and nobody can follow whom it has not heard of.
    if (own.slots.length > 0 || own.master === target.id || !member.nodes.some((node) => node.id === target.id && !node.failed)) return [];
    return [{ do: 'replicate', at: id, master: target.id, reason: `${id} follows ${master.id}, the master of shard ${shard}` }];
  });
}

/** Once in a cluster's life. A crash in the middle leaves some given: the rest goes to whom it was meant for. */
function give(world: ClusterWorld): ClusterStep[] {
  if (world.born) return [];
  const missing = missingMembers(world);
  if (missing.length > 0)
    return [{ do: 'wait', reason: `${missing.map(({ id }) => id).join(', ')} must answer before slots are given out` }];
  const strangers = world.seen.filter((member) => !world.seen.every((other) => knows(member, other)));
  if (strangers.length > 0) return [{ do: 'wait', reason: `${strangers.map(({ id }) => id).join(', ')} must hear of the others` }];
  const masters = mastersOf(world);
  if (masters.includes('')) return [{ do: 'wait', reason: 'a shard has no master yet' }];
  const free = unowned(ownersOf(world));
  if (free.length === 0) return [{ do: 'born', reason: 'every slot is somebody’s' }];
  if (world.fromBackup === true) return [{ do: 'wait', reason: `${countOf(free)} slots wait for their data, which are being restored` }];
  const shares = evenShares(masters);
  return masters.flatMap((at): ClusterStep[] => {
    const slots = (shares.get(at) ?? []).flatMap((share) => common(share, free));
    return slots.length === 0 ? [] : [{ do: 'give', at, slots, lost: false, reason: `${at} gets its ${countOf(slots)} slots` }];
  });
}

/** It has heard of the other one, and would send clients to where that one is. */
function knows(member: SeenMember, other: SeenMember): boolean {
  const line = member.nodes.find((node) => node.id === ownLine(other)?.id);
  return line !== undefined && !line.failed && (line.myself || (line.address === other.address && line.port === other.port));
}

/** After failovers masters may have gathered in one group: replicas elsewhere take over, one at a time. */
function spread(world: ClusterWorld): ClusterStep[] {
  if (!isWhole(world) || world.paused) return [];
  const shards = shardsOf(world);
  const [first] = rebalanceMasters(shards.map((shard) => shard.map(({ group }) => group)));
  if (first === undefined) return [];
  const heir = shards[first.shard]?.slice(1).find(({ group }) => group === first.to);
  const seen = world.seen.find(({ id }) => id === heir?.id);
  if (heir === undefined || seen === undefined || ownLine(seen)?.role !== 'replica') return [];
  const reason = `${heir.id} is to lead shard ${first.shard}: too many masters are in one group`;
  return [{ do: 'failover', at: heir.id, takeover: false, reason }];
}

/** Members of each shard that is to be, its master first. */
function shardsOf(world: ClusterWorld) {
  return Array.from({ length: world.shards }, (_, shard) => {
    const master = masterOf(world, shard);
    const here = world.members.filter((member) => member.shard === shard);
    return [...here.filter(({ id }) => id === master?.id), ...here.filter(({ id }) => id !== master?.id)];
  });
}

/** Whether this replica could lead its shard and stay: not where masters would have to be spread again. */
export function mayLead(world: ClusterWorld, member: string): boolean {
  const after = shardsOf(world).map((shard) => shard.toSorted((a, b) => Number(b.id === member) - Number(a.id === member)));
  return rebalanceMasters(after.map((shard) => shard.map(({ group }) => group))).length === 0;
}

/**
 * Even shares for the shards that there are to be; those of others are emptied. A part of one range at a time: moves beside each other end sooner, and leave clients half as much of
 * the machine meanwhile (measured: 0.4 of their throughput, not 0.7).
 */
function move(world: ClusterWorld): ClusterStep[] {
  if (!isWhole(world) || world.paused || world.resting || world.backup !== undefined) return [];
  const masters = mastersOf(world);
  if (masters.includes('')) return [];
  for (const { from, to, first, last: end } of planMoves(ownersOf(world), masters)) {
    const target = world.seen.find(({ id }) => id === to);
    const node = target === undefined ? undefined : ownLine(target)?.id;
    // Clients that follow the slots to one that takes no commands yet would be refused.
    if (target?.ok !== true || node === undefined) continue;
    const slots = { first, last: Math.min(end, first + MOST_A_STEP - 1) };
    return [{ do: 'move', from, to, node, slots, reason: `${slots.last - slots.first + 1} slots move from ${from} to ${to}` }];
  }
  return [];
}
