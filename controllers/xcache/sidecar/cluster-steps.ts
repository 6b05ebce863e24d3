import { AppError, messageOf, toAppError } from '#core/errors.ts';
import { type ClusterStep, type ClusterWorld, ownLine, type SeenMember } from '#xcache/cluster/world.ts';
import type { Mover } from './cluster-mover.ts';
import type { ClusterPeers } from './cluster-peers.ts';

export interface StepTools {
  peers: ClusterPeers;
  mover: Mover;
  atomic: ReadonlySet<string>;
}

/** Does one step at the engines that it concerns. Never throws. @returns undefined when it is done, else why not */
export async function executeClusterStep(step: ClusterStep, world: ClusterWorld, tools: StepTools): Promise<string | undefined> {
  const at = (id: string): SeenMember => {
    const found = world.seen.find((member) => member.id === id);
    if (found === undefined) throw new AppError('unavailable', `${id} does not answer`);
    return found;
  };
  const call = async (id: string, command: string, ...words: (string | number)[]) => {
    const session = await tools.peers.session(id, at(id).address);
    return session.call(command, ...words);
  };
  try {
    switch (step.do) {
      case 'wait':
      case 'born':
        return undefined;
      case 'meet':
        await call(step.at, 'CLUSTER', 'MEET', step.address, step.port);
        return undefined;
      case 'give':
        await call(step.at, 'CLUSTER', 'ADDSLOTSRANGE', ...step.slots.flatMap(({ first, last }) => [first, last]));
        return undefined;
      case 'replicate':
        await replicate(step.at, step.master, call);
        return undefined;
      case 'forget':
        await call(step.at, 'CLUSTER', 'FORGET', step.node);
        return undefined;
      case 'failover':
        await call(step.at, 'CLUSTER', 'FAILOVER', ...(step.takeover ? ['TAKEOVER'] : []));
        return undefined;
      case 'unmark':
        await call(step.at, 'CLUSTER', 'SETSLOT', step.slot, 'STABLE');
        return undefined;
      case 'move':
        if (tools.atomic.has(step.from)) {
          await call(step.from, 'CLUSTER', 'MIGRATESLOTS', 'SLOTSRANGE', step.slots.first, step.slots.last, 'NODE', step.node);
          return undefined;
        }
        tools.mover.begin({ from: side(at(step.from)), to: side(at(step.to)), slots: step.slots, others: otherMasters(world, step) });
        return undefined;
    }
  } catch (thrown) {
    const error = toAppError(thrown);
    // What was asked on a connection that is in doubt may still come.
    if (error.code !== 'engine') for (const id of idsOf(step)) tools.peers.drop(id);
    return messageOf(error);
  }
}

/** One that has no slots has nothing that counts: what is left in it of a move that failed would keep it from following. */
async function replicate(id: string, master: string, call: (id: string, ...words: [string, ...string[]]) => Promise<unknown>) {
  try {
    await call(id, 'CLUSTER', 'REPLICATE', master);
  } catch (error) {
    if (!messageOf(error).includes('must be empty')) throw error;
    await call(id, 'FLUSHALL');
    await call(id, 'CLUSTER', 'REPLICATE', master);
  }
}

const idsOf = (step: ClusterStep) => ('at' in step ? [step.at] : 'from' in step ? [step.from, step.to] : []);

function side(member: SeenMember) {
  return { id: member.id, node: ownLine(member)?.id ?? '', address: member.address };
}

function otherMasters(world: ClusterWorld, { from, to }: { from: string; to: string }): string[] {
  return world.seen
    .filter((member) => ownLine(member)?.role === 'master' && member.id !== from && member.id !== to)
    .map(({ address }) => address);
}
