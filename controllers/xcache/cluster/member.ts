import type { NodeLine } from './nodes.ts';
import { countOf } from './slots.ts';

/** Pure: what a cluster's member does with its own engine. Everything between engines is the business of whoever holds the lock (plan.ts). */

export interface MemberWorld {
  me: string;
  /** On the cache's network. */
  address: string;
  engine: { state: 'down' | 'starting' } | { state: 'unreachable'; ageMs: number } | { state: 'running' };
  /** The specification and the credentials are known. */
  known: boolean;
  /** The engine writes down each command: whoever starts it again has what it acknowledged. */
  appendOnly: boolean;
  /** Its newest CLUSTER NODES, else its own file of them. */
  nodes: readonly NodeLine[];
  /** Since the engine was first seen down, in milliseconds. */
  downMs: number;
  /** What other members' engines say, when this one is down and not all of what it had is on its disk, or it is new. */
  others: readonly { nodes: readonly NodeLine[]; upMs: number }[];
  /** The member is to end, since so long. */
  endingMs: number | undefined;
}

export type MemberStep = { rule: string; reason: string } & (
  | { do: 'wait' | 'start' | 'kill' | 'leave' }
  /** The replica there is asked to lead: `force` when the master cannot take part any more. */
  | { do: 'succeed'; address: string; force: boolean }
);

/** An engine that says nothing for so long is killed: the others have elected another one by then. Milliseconds. */
const HUNG_MS = 4000;
/** Where nobody can take over it may only be busy. */
const HUNG_ALONE_MS = 60_000;
/** An election takes up to about four seconds; then it is not coming. */
const ELECTION_MS = 8000;
/** Nobody could be asked for so long: everybody was restarted. */
const UNHEARD_MS = 5000;
/** With the address of a master that was lost; after that its replicas cannot be elected. */
const ADDRESS_MS = 30_000;
const HANDOVER_MS = 10_000;
/** Clients that ask the former master are told who it is now, rather than find nobody. Milliseconds since the end was asked for. */
const LINGER_MS = 2000;

export function decideMember(world: MemberWorld): MemberStep {
  const { me, engine, nodes, endingMs } = world;
  const own = nodes.find((node) => node.myself);
  const leads = own?.role === 'master' && own.slots.length > 0;
  const heirs = leads ? nodes.filter((node) => node.role === 'replica' && node.master === own.id && isWell(node)) : [];
  if (endingMs !== undefined) return ending(world, heirs, own?.role === 'replica');
  if (!world.known) return { rule: 'C0', do: 'wait', reason: 'the specification and the credentials are not known yet' };
  if (engine.state === 'unreachable') {
    const patience = leads && heirs.length === 0 ? HUNG_ALONE_MS : HUNG_MS;
    const reason = `the engine of ${me} has not answered for ${Math.round(engine.ageMs / 1000)} s`;
    if (engine.ageMs < patience) return { rule: 'C3', do: 'wait', reason };
    return { rule: 'C3', do: 'kill', reason: `${reason}: it is killed` };
  }
  if (engine.state === 'starting') return { rule: 'C1', do: 'wait', reason: `the engine of ${me} is starting` };
  if (engine.state === 'down') return starting(world, own, leads);
  if (own === undefined) return { rule: 'C4', do: 'wait', reason: `${me} does not say yet who it is in the cluster` };
  if (leads) return { rule: 'C4', do: 'wait', reason: `${me} is the master of ${countOf(own.slots)} slots` };
  if (own.role === 'master') return { rule: 'C4', do: 'wait', reason: `${me} waits for slots, or for a master to follow` };
  return { rule: 'C4', do: 'wait', reason: `${me} follows ${own.master?.slice(0, 8) ?? 'nobody'}` };
}

const isWell = (node: NodeLine) => !node.failed && node.linkUp;

function ending({ me, engine, endingMs = 0 }: MemberWorld, heirs: readonly NodeLine[], isReplica: boolean): MemberStep {
  const [heir] = heirs;
  if (engine.state === 'running' && heir !== undefined && endingMs < HANDOVER_MS) {
    const { address } = heir;
    return { rule: 'C5', do: 'succeed', address, force: false, reason: `${me} is to end, and hands its slots over first` };
  }
  const reason = `${me} is to end`;
  if (engine.state === 'running' && isReplica && endingMs < LINGER_MS)
    return { rule: 'C5', do: 'wait', reason: `${reason}, and sends clients on first` };
  return { rule: 'C5', do: 'leave', reason };
}

/**
 * A master that begins again with less than it had would take it away from its replicas too: they follow it, whatever it has. Unless each command is on its disk, it stays down
 * until a replica has taken over, which is asked to do so at once.
 */
function starting(world: MemberWorld, own: NodeLine | undefined, leads: boolean): MemberStep {
  const { me, appendOnly, nodes, others, downMs } = world;
  const start: MemberStep = { rule: 'C1', do: 'start', reason: `the engine of ${me} is started` };
  if (own === undefined && isAddressTaken(world))
    return { rule: 'C6', do: 'wait', reason: `${me} has the address of a master that was lost: its replicas would copy nothing from here` };
  if (appendOnly || !leads || own === undefined || !nodes.some((node) => node.master === own.id)) return start;
  if (others.some((other) => other.nodes.some((node) => node.id === own.id && node.slots.length === 0 && node.role === 'master')))
    return start;
  if (others.some((other) => other.nodes.some((node) => node.id === own.id && node.role === 'replica'))) return start;
  if (downMs >= ELECTION_MS) return start;
  // One that was restarted as well has nothing that this one has not.
  const heir = others.flatMap((other) => {
    const self = other.nodes.find((node) => node.myself);
    return self?.role === 'replica' && self.master === own.id && other.upMs > downMs + 1000 ? [self] : [];
  })[0];
  if (heir !== undefined) {
    const { address } = heir;
    const reason = `the engine of ${me} is gone: its replica at ${address} takes over before it is started again`;
    return { rule: 'C2', do: 'succeed', address, force: true, reason };
  }
  if (others.length === 0 && downMs < UNHEARD_MS)
    return { rule: 'C2', do: 'wait', reason: `${me} was a master, and asks the others whether it was succeeded` };
  return start;
}

/**
 * Replicas follow an address and ask nobody's name: a new engine where their master was would be copied by them, and it is empty. Once one of them leads, nobody follows that address.
 */
function isAddressTaken({ address, others, downMs }: MemberWorld): boolean {
  return downMs < ADDRESS_MS && others.some(({ nodes }) => nodes.some((node) => node.address === address && node.slots.length > 0));
}
