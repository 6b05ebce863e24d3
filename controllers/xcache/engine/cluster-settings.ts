import type { CacheSpec } from '#xcache/schema.ts';

type Lines = [string, string | number][];

/**
 * Milliseconds of silence after which a node is held for dead, and after which a master that hears no majority takes no more writes. Elections come on top: a failover takes about
 * three seconds.
 */
export const NODE_TIMEOUT_MS = 2000;

/** In the engine's folder: whom it knows, and whose each slot is. Its own. */
export const NODES_FILE = 'nodes.conf';

/** Pure: what an engine of a cluster is started with besides. */
export function clusterSettings({ engine, tls }: Pick<CacheSpec, 'engine' | 'tls'>, port: number): Lines {
  return [
    ['cluster-enabled', 'yes'],
    ['cluster-config-file', NODES_FILE],
    ['cluster-node-timeout', NODE_TIMEOUT_MS],
    // Whoever has any of the data may lead, however old: the one that has most is asked first. Who has none of them may not, which the engine does not ask (`electable`).
    ['cluster-replica-validity-factor', 0],
    ...electable(false),
    // Who follows whom is in the specification.
    ['cluster-allow-replica-migration', 'no'],
    // What is lost of one shard is no reason to refuse the others'.
    ['cluster-require-full-coverage', 'no'],
    [tls ? 'cluster-announce-tls-port' : 'cluster-announce-port', port],
    ...(engine === 'valkey' ? atomicMoves() : []),
  ];
}

/** Moves of slots by CLUSTER MIGRATESLOTS. */
function atomicMoves(): Lines {
  return [
    // So much may still be on its way when writes are held back for the hand-over: with none at all, it would never come to it under load.
    ['slot-migration-max-failover-repl-bytes', 2 ** 20],
    ['cluster-slot-migration-log-max-len', 20],
  ];
}

/** Pure: whether a replica may be elected when its master is gone. */
export function electable(may: boolean): Lines {
  return [['cluster-replica-no-failover', may ? 'no' : 'yes']];
}

/** What of it may change while it runs: a container comes back with another address. */
export function clusterLiveSettings(address: string): Lines {
  return [['cluster-announce-ip', address]];
}
