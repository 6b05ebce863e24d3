import { parseNodes } from '#xcache/cluster/nodes.ts';
import type { SeenMember } from '#xcache/cluster/world.ts';
import type { EngineSession } from '#xcache/engine/session.ts';
import type { CacheMemberStatus } from '#xcache/schema.ts';
import type { ClusterPeers } from './cluster-peers.ts';
import { CLUSTER_PORTS } from './config.ts';

/** What the members' engines say of the cluster, each for itself. */
export interface ClusterLook {
  seen: SeenMember[];
  /** Slots are on their way in the engine's own atomic way. */
  moving: boolean;
  /** Why a move ended in vain, where the newest one of a member did. */
  failure: string | undefined;
  /** Members whose engines can do that. */
  atomic: ReadonlySet<string>;
}

const OVER = new Set(['success', 'failed', 'cancelled']);

/**
 * Who does not answer in time is not seen. Never throws.
 *
 * Invariant: a member is who its own sidecar says it is, by its engine's id. An address says nothing: after a restart another member may have it, while the status of the one before stands
 * until its session has ended. Taken for that one, the node of a living member would be nobody's, and be forgotten by all others: for a minute they would not hear of it again.
 */
export async function lookAtCluster(peers: ClusterPeers, statuses: Readonly<Record<string, CacheMemberStatus>>): Promise<ClusterLook> {
  const atomic = new Set<string>();
  let moving = false;
  let failure: string | undefined;
  const looks = await Promise.all(
    Object.entries(statuses).map(async ([id, { address, nodeId }]): Promise<SeenMember[]> => {
      if (nodeId === undefined) return [];
      try {
        const session = await peers.session(id, address);
        const [text, info, moves] = await Promise.all([
          session.call('CLUSTER', 'NODES'),
          session.call('CLUSTER', 'INFO'),
          migrations(session),
        ]);
        const nodes = parseNodes(String(text));
        if (nodes.find(({ myself }) => myself)?.id !== nodeId) {
          peers.drop(id);
          return [];
        }
        if (moves !== undefined) atomic.add(id);
        if (moves?.some(({ state }) => !OVER.has(state))) moving = true;
        const newest = moves?.toSorted((a, b) => b.at - a.at)[0];
        if (newest?.state === 'failed') failure = `slots from ${id}: ${newest.message}`;
        return [{ id, address, port: CLUSTER_PORTS.engine, nodes, ok: /^cluster_state:ok/m.test(String(info)) }];
      } catch {
        peers.drop(id);
        return [];
      }
    }),
  );
  return { seen: looks.flat(), moving, failure, atomic };
}

interface EngineMove {
  state: string;
  message: string;
  /** Seconds since the epoch of its last change. */
  at: number;
}

/** @returns what it knows of moves; undefined where the engine cannot do this. @throws AppError when it does not answer */
async function migrations(session: EngineSession): Promise<EngineMove[] | undefined> {
  try {
    const answer = await session.call('CLUSTER', 'GETSLOTMIGRATIONS');
    return Array.isArray(answer) ? answer.map(moveOf) : [];
  } catch (error) {
    if (error instanceof Error && error.message.includes('unknown subcommand')) return undefined;
    throw error;
  }
}

/** Each is a list of names and values. */
function moveOf(move: unknown): EngineMove {
  const fields = Array.isArray(move) ? move.map(String) : [];
  const field = (name: string) => fields[fields.indexOf(name) + 1] ?? '';
  return { state: field('state'), message: field('message').slice(0, 200), at: Number(field('last_update_time')) };
}
