/** Pure: how a member's memory is shared out. */

const MIB = 2 ** 20;

/** Engine, sidecar and HAProxy need this much before there is room for data. */
export const LEAST_MEMORY_BYTES = 256 * MIB;
/** Sidecar, HAProxy and supervisor, measured in a database's member. */
const BESIDE_BYTES = 128 * MIB;

/**
 * Bytes that data may take (`maxmemory`). The rest is for what forks copy while they save, for replication buffers and for fragmentation: operators of large fleets keep a
 * quarter, 30 % of a small node, and half where an append-only file is rewritten on a very small one.
 */
export function dataBytes(spec: { memoryBytes: number; persistence: 'none' | 'rdb' | 'aof' }): number {
  const room = Math.max(0, spec.memoryBytes - BESIDE_BYTES);
  const small = spec.memoryBytes <= 1024 * MIB;
  const share = small && spec.persistence === 'aof' ? 0.5 : small ? 0.7 : 0.75;
  return Math.floor(room * share);
}

/** Replication backlog: what a replica may miss and still catch up without a whole copy. */
export function backlogBytes(spec: { memoryBytes: number }): number {
  return Math.max(4 * MIB, Math.min(64 * MIB, Math.floor(spec.memoryBytes / 32)));
}

/** What may wait to be sent to one replica: beyond it the replica is cut off and begins again. Half of it for a minute is too much as well. */
export function replicaBufferBytes(spec: { memoryBytes: number }): number {
  return Math.max(2 * backlogBytes(spec), Math.floor(spec.memoryBytes / 8));
}

/** The same to one subscriber, who is cut off beyond it. */
export function subscriberBufferBytes(spec: { memoryBytes: number }): number {
  return Math.max(8 * MIB, Math.min(32 * MIB, Math.floor(spec.memoryBytes / 32)));
}
