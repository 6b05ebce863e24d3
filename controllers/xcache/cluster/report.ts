import { countOf, planMoves } from './slots.ts';
import { type ClusterStep, type ClusterWorld, mastersOf, missingMembers, ownersOf, ownLine, unserved } from './world.ts';

/** Pure: what is said of a cluster, from what was seen and what is to be done about it. */
export interface ClusterReport {
  state: 'forming' | 'whole' | 'moving' | 'healing' | 'down';
  sentence: string;
  /** Slots that are not yet where they are to be. */
  left: number;
  /** Slots of masters that answer. */
  slots: Record<string, number>;
  /** Shards that are to go and have no slots any more. */
  emptied: number[];
}

export function reportOf(world: ClusterWorld, steps: readonly ClusterStep[]): ClusterReport {
  const owners = ownersOf(world);
  const masters = mastersOf(world);
  const left =
    world.born && !masters.includes('') ? planMoves(owners, masters).reduce((sum, { first, last }) => sum + last - first + 1, 0) : 0;
  const slots = Object.fromEntries([...owners].map(([id, ranges]) => [id, countOf(ranges)] as const).filter(([, count]) => count > 0));
  return { ...stateOf(world, steps, left), left, slots, emptied: emptiedOf(world, slots) };
}

function stateOf(world: ClusterWorld, steps: readonly ClusterStep[], left: number): Pick<ClusterReport, 'state' | 'sentence'> {
  const first = steps[0];
  if (!world.born) return { state: 'forming', sentence: first?.reason ?? 'members are being introduced' };
  const missing = missingMembers(world).map(({ id }) => id);
  const free = unserved(world);
  const away = missing.length === 0 ? '' : `${missing.join(', ')} ${missing.length === 1 ? 'does' : 'do'} not answer`;
  if (free > 0) {
    const why = [first?.reason, away].filter((part) => part !== undefined && part !== '').join('; ');
    return { state: 'down', sentence: `${free} slots are served by nobody${why === '' ? '' : `: ${why}`}` };
  }
  // One that answers may be a replica still that has not heard of its master.
  const unlinked = world.seen.flatMap((member) => (isLinked(member.nodes) ? [] : [member.id]));
  if (away !== '') return { state: 'healing', sentence: first === undefined ? away : `${away}; ${first.reason}` };
  if (first !== undefined && first.do !== 'move') return { state: 'healing', sentence: first.reason };
  if (left > 0 && !world.moving && first === undefined && world.backup !== undefined)
    return { state: 'moving', sentence: `${left} slots wait until the backup ${world.backup} is made` };
  if (left > 0 || world.moving || first !== undefined)
    return { state: 'moving', sentence: left === 0 ? 'the last slots are on their way' : `${left} slots are on their way` };
  if (unlinked.length > 0) return { state: 'healing', sentence: `${unlinked.join(', ')} does not hear its master` };
  return { state: 'whole', sentence: `${world.members.length} members, ${world.shards} masters, every slot is served` };
}

/** A replica is linked to its master; masters are always. */
function isLinked(nodes: ClusterWorld['seen'][number]['nodes']): boolean {
  const own = nodes.find((node) => node.myself);
  if (own === undefined || own.role === 'master') return true;
  const master = nodes.find((node) => node.id === own.master);
  return master?.linkUp === true && !master.failed;
}

/** Only when all of its members answer, and none of them has a slot, nor half of one. */
function emptiedOf(world: ClusterWorld, slots: Readonly<Record<string, number>>): number[] {
  if (!world.born) return [];
  const beyond = [...new Set(world.members.map(({ shard }) => shard).filter((shard) => shard >= world.shards))];
  return beyond.filter((shard) =>
    world.members
      .filter((member) => member.shard === shard)
      .every(({ id }) => {
        const seen = world.seen.find((one) => one.id === id);
        return seen !== undefined && slots[id] === undefined && (ownLine(seen)?.open.length ?? 0) === 0;
      }),
  );
}
