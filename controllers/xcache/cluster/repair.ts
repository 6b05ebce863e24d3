import { common, countOf, evenShares } from './slots.ts';
import {
  type ClusterStep,
  type ClusterWorld,
  givenUp,
  masterOf,
  mastersOf,
  memberOfNode,
  missingMembers,
  orphansOf,
  ownerless,
  ownerOf,
  ownersOf,
  ownLine,
  type SeenMember,
} from './world.ts';

/** Pure: what is done about members that are lost for good, and about moves of slots that were broken off. */

/**
 * Slots of a node that is no member's any more: its host was lost for good, or its volume. Who has its data leads without a vote, since those who would have to vote may be lost
 * as well; where nobody has, its slots begin anew, empty. Only when all members answer that are not given up: nobody who is merely away loses anything by it.
 */
export function reclaim(world: ClusterWorld): ClusterStep[] {
  if (!world.born || missingMembers(world).some((member) => !givenUp(world, member))) return [];
  const orphans = orphansOf(world);
  const heir = orphans.flatMap(({ heirs }) => heirs)[0];
  if (heir !== undefined)
    return [
      { do: 'failover', at: heir.id, takeover: true, reason: `${heir.id} leads: its master is no member any more, and it has the data` },
    ];
  const forgotten = orphans.flatMap(({ node }) =>
    world.seen
      .filter(({ nodes }) => nodes.some(({ id }) => id === node))
      .map(
        ({ id: at }): ClusterStep => ({
          do: 'forget',
          at,
          node,
          reason: `${at} forgets ${short(node)}, whose data is lost with all its copies`,
        }),
      ),
  );
  if (forgotten.length > 0) return forgotten;
  const free = ownerless(world);
  if (free.length === 0) return [];
  const masters = mastersOf(world);
  if (masters.includes('')) return [];
  const owners = ownersOf(world);
  const idle = masters.filter((id) => countOf(owners.get(id) ?? []) === 0);
  const to = idle.length > 0 ? idle : masters;
  const shares = evenShares(to);
  return to.flatMap((at): ClusterStep[] => {
    // A slot goes to whom an even share of all slots would give it.
    const slots = (shares.get(at) ?? []).flatMap((one) => common(one, free));
    if (slots.length === 0) return [];
    return [{ do: 'give', at, slots, lost: true, reason: `${at} begins ${countOf(slots)} slots anew: every copy of them was lost` }];
  });
}

/** Nodes of members that are no more, or were made anew. One that owns slots is never forgotten here: its data may come back. */
export function forget(world: ClusterWorld): ClusterStep[] {
  if (!world.born) return [];
  const kept = new Set<string>(world.seen.flatMap((member) => ownLine(member)?.id ?? []));
  for (const { id } of missingMembers(world)) if (world.known[id] !== undefined) kept.add(world.known[id]);
  return world.seen.flatMap(({ id: at, nodes }) =>
    nodes
      .filter((node) => !kept.has(node.id) && node.slots.length === 0)
      // A replica does not forget its master.
      .filter((node) => nodes.find((one) => one.myself)?.master !== node.id && (node.failed || !node.linkUp))
      .map(
        ({ id: node }): ClusterStep => ({ do: 'forget', at, node, reason: `${at} forgets ${short(node)}, which is no member any more` }),
      ),
  );
}

/**
 * Moves of the older way that were broken off, whoever has crashed or failed over since: keys of the slot may be on either side, so it goes on to where it was going. The marks
 * name nodes of the time of their making; who leads those shards now goes on for them.
 */
export function resume(world: ClusterWorld): ClusterStep[] {
  if (!world.born || world.moving) return [];
  const steps = world.seen.flatMap((member): ClusterStep[] =>
    (ownLine(member)?.open ?? []).flatMap(({ slot, way, node }): ClusterStep[] => {
      const owner = ownerOf(world, slot);
      const to = way === 'to' ? leaderFor(world, node) : leaderFor(world, ownLine(member)?.id ?? '');
      if (owner === undefined || to?.ok !== true) return [];
      // The owner's own mark says it all; the other side's is looked at where that one was lost.
      if (way === 'from' && world.seen.some((one) => one.id === owner && ownLine(one)?.open.some((mark) => mark.slot === slot))) return [];
      const target = ownLine(to)?.id ?? '';
      if (owner === to.id || member.id !== (way === 'to' ? owner : to.id))
        return [{ do: 'unmark', at: member.id, slot, reason: `slot ${slot} is not on its way at ${member.id} any more` }];
      return [{ do: 'move', from: owner, to: to.id, node: target, slots: { first: slot, last: slot }, reason: '' }];
    }),
  );
  return joined(steps);
}

/** Slots beside each other go on together. */
function joined(steps: readonly ClusterStep[]): ClusterStep[] {
  const moves: Extract<ClusterStep, { do: 'move' }>[] = [];
  const sorted = steps.filter((step) => step.do === 'move').toSorted((a, b) => a.slots.first - b.slots.first);
  for (const step of sorted) {
    const before = moves.find(({ from, to, slots }) => from === step.from && to === step.to && slots.last + 1 === step.slots.first);
    if (before === undefined) moves.push({ ...step, slots: { ...step.slots } });
    else before.slots.last = step.slots.last;
  }
  return [
    ...steps.filter((step) => step.do !== 'move'),
    ...moves.map((step) => ({
      ...step,
      reason: `the move of ${countOf([step.slots])} slots from ${step.from} to ${step.to} goes on where it was broken off`,
    })),
  ];
}

/** Who leads now where this node is or was. */
function leaderFor(world: ClusterWorld, node: string): SeenMember | undefined {
  const id = memberOfNode(world, node)?.id ?? Object.entries(world.known).find(([, known]) => known === node)?.[0];
  const shard = world.members.find((member) => member.id === id)?.shard;
  return shard === undefined ? undefined : masterOf(world, shard);
}

const short = (node: string) => node.slice(0, 8);
