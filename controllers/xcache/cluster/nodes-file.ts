import { createHash } from 'node:crypto';
import type { SlotRange } from './slots.ts';

/** Where nobody listens: who another node is was said, where it is comes with an introduction. */
const NOWHERE = '127.0.0.1:1@1';

export interface NodesFile {
  /** All shards that own slots, with their numbers. */
  shards: readonly { shard: number; slots: readonly SlotRange[] }[];
  /** Shard that this node is to lead. */
  own: number;
  /** Of the cache, and of its making: no other cluster has nodes of these names. */
  seed: string;
  /** Of this node. */
  address: string;
  port: number;
  busPort: number;
}

/**
 * Pure: an engine's own file of its cluster (`nodes.conf`) as it would be had it led these slots before: it begins with them, whether or not it finds keys of theirs. It knows whose
 * the other slots are as well, so that it claims none of them for a key that does not belong to it.
 */
export function nodesFile({ shards, own, seed, address, port, busPort }: NodesFile): string {
  const lines = shards.map(({ shard, slots }) => {
    const where = shard === own ? `${address}:${port}@${busPort}` : NOWHERE;
    const flags = shard === own ? 'myself,master' : 'master';
    const ranges = slots.map(({ first, last }) => (first === last ? String(first) : `${first}-${last}`)).join(' ');
    // Two masters of one epoch would have to be told apart first.
    return `${nodeOf(seed, shard)} ${where} ${flags} - 0 0 ${shard + 1} ${shard === own ? 'connected' : 'disconnected'} ${ranges}`;
  });
  return [...lines, `vars currentEpoch ${Math.max(...shards.map(({ shard }) => shard)) + 1} lastVoteEpoch 0`, ''].join('\n');
}

/** Every member of a cluster that begins with a backup knows the names of those that lead it. */
function nodeOf(seed: string, shard: number): string {
  return createHash('sha256').update(`${seed} ${shard}`).digest('hex').slice(0, 40);
}
