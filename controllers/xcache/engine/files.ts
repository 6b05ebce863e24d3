import { AppError } from '#core/errors.ts';
import type { ShardPlace } from '#xcache/cluster/shard-place.ts';
import { backlogBytes, dataBytes, replicaBufferBytes, subscriberBufferBytes } from '#xcache/memory.ts';
import { engineSettings } from '#xcache/parameters.ts';
import type { CacheCredentials, CacheSpec } from '#xcache/schema.ts';
import { accounts } from './accounts.ts';
import { clusterLiveSettings, clusterSettings } from './cluster-settings.ts';
import { FENCED } from './info.ts';
import { AGENT_USER, REPLICATION_USER, shardUser } from './session.ts';

/** Pure: the two files that an engine is started with, and what of them a running one takes. */

export interface EngineFiles {
  /** `valkey.conf`: it holds a password. */
  config: string;
  /** Accounts; passwords by their hashes only. */
  acl: string;
}

export interface EngineFilesOptions {
  spec: Pick<CacheSpec, 'engine' | 'minReplicas' | 'mode' | 'memoryBytes' | 'persistence' | 'policy' | 'tls' | 'parameters'>;
  credentials: CacheCredentials;
  /** In a cluster. */
  place: ShardPlace | undefined;
  address: string;
  port: number;
  paths: { data: string; acl: string; socket: string; tls: { ca: string; certificate: string; privateKey: string } };
  /** It begins with the append-only file that is there, whatever is to be kept later: else what only that file holds would be lost. */
  appendOnly: boolean;
}

/** Seconds of silence after which a replica is no good one (`min-replicas-max-lag`). The engine counts whole seconds, and looks once a second. */
export const MAX_LAG_SECONDS = 2;

/** When snapshots are made, with persistence `rdb`. */
export const SAVES = '3600 1 300 100 60 10000';

/**
 * Whom an engine follows from its start on, until it is told what it is: a port at which nobody listens. A replica without its master gives nobody a copy (NOMASTERLINK), so those
 * that still follow the address of a master that was started anew, perhaps empty, cannot lose to it what they have.
 */
const NOBODY = '127.0.0.1 1';

/** It starts refusing writes, whoever it was before: the record says later whether it takes any. In a cluster the engines decide that among themselves. */
export function engineFiles(options: EngineFilesOptions): EngineFiles {
  const { spec, credentials, port, paths, appendOnly } = options;
  const lines: [string, string | number][] = [
    ...(spec.tls ? tlsLines(options) : ([['port', port]] as [string, number][])),
    ['bind', '*'],
    ['protected-mode', 'no'],
    ['unixsocket', paths.socket],
    ['unixsocketperm', '700'],
    ['daemonize', 'no'],
    ['logfile', ''],
    ['dir', paths.data],
    ['aclfile', paths.acl],
    ['min-replicas-to-write', spec.mode === 'cluster' ? spec.minReplicas : FENCED],
    ['min-replicas-max-lag', MAX_LAG_SECONDS],
    ['repl-ping-replica-period', 1],
    ['repl-timeout', 10],
    ['repl-diskless-sync', 'yes'],
    ['repl-diskless-sync-delay', 0],
    ['replica-announce-port', port],
    // Flows that a load balancer of the network would forget while they are idle.
    ['tcp-keepalive', 60],
    // An engine that says nothing for two seconds is taken for dead.
    ['lazyfree-lazy-user-flush', 'yes'],
    ['appendonly', appendOnly ? 'yes' : 'no'],
    ['appendfsync', 'everysec'],
    ...(spec.mode === 'cluster' ? clusterSettings(spec, port) : []),
    ...engineSettings(spec, 'start'),
    ...liveSettings(options),
  ];
  const saves = spec.persistence === 'rdb' ? `save ${SAVES}` : 'save ""';
  const follows = spec.mode === 'cluster' ? [] : [`replicaof ${NOBODY}`];
  return {
    config: [...lines.map(([key, value]) => `${key} ${quoted(value)}`), saves, ...follows, ''].join('\n'),
    acl: accounts(credentials, options.place),
  };
}

function tlsLines({ spec, port, paths: { tls } }: EngineFilesOptions): [string, string | number][] {
  return [
    ['port', 0],
    ['tls-port', port],
    ['tls-cert-file', tls.certificate],
    ['tls-key-file', tls.privateKey],
    ['tls-ca-cert-file', tls.ca],
    // Clients have passwords, not certificates.
    ['tls-auth-clients', 'no'],
    ['tls-replication', 'yes'],
    ...(spec.mode === 'cluster' ? ([['tls-cluster', 'yes']] as [string, string][]) : []),
  ];
}

/** What may change while an engine runs, and is set in it without a restart. */
export function liveSettings({
  spec,
  credentials,
  place,
  address,
}: Pick<EngineFilesOptions, 'spec' | 'credentials' | 'place' | 'address'>): [string, string | number][] {
  const [replica, subscriber] = [replicaBufferBytes(spec), subscriberBufferBytes(spec)];
  return [
    ['maxmemory', dataBytes(spec)],
    ['maxmemory-policy', spec.policy],
    ['repl-backlog-size', backlogBytes(spec)],
    [
      'client-output-buffer-limit',
      `replica ${replica} ${Math.floor(replica / 2)} 60 pubsub ${subscriber} ${Math.floor(subscriber / 2)} 60`,
    ],
    // In a cluster, what moves slots speaks as this account too. Of a member that is to be no more: nobody follows it, and it follows whom it did.
    ['masteruser', spec.mode !== 'cluster' ? REPLICATION_USER : place === undefined ? AGENT_USER : shardUser(place.own)],
    ['masterauth', spec.mode === 'cluster' ? credentials.agent : credentials.replication],
    // What a copy leaves on disk would come back, however old, where nothing is to be kept. Where something is, that file may be all that there is until the append-only file is whole.
    ['rdb-del-sync-files', spec.persistence === 'none' ? 'yes' : 'no'],
    ['replica-announce-ip', address],
    ...(spec.mode === 'cluster' ? clusterLiveSettings(address) : []),
    ...engineSettings(spec, 'live'),
  ];
}

/** @throws AppError `internal` for what could end a line or a string */
function quoted(value: string | number): string {
  if (typeof value === 'number') return String(value);
  if (!/^[\x20-\x7e]*$/.test(value) || /["\\]/.test(value))
    throw new AppError('internal', 'a setting of the engine holds a character that it may not');
  return `"${value}"`;
}
