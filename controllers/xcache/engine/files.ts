import { createHash } from 'node:crypto';
import { AppError } from '#core/errors.ts';
import { backlogBytes, dataBytes } from '#xcache/memory.ts';
import type { CacheCredentials, CacheSpec } from '#xcache/schema.ts';
import { FENCED } from './info.ts';
import { AGENT_USER, REPLICATION_USER } from './session.ts';

/** Pure: the two files that an engine is started with. */

export interface EngineFiles {
  /** `valkey.conf`: it holds a password. */
  config: string;
  /** Accounts; passwords by their hashes only. */
  acl: string;
}

export interface EngineFilesOptions {
  spec: Pick<CacheSpec, 'memoryBytes' | 'persistence' | 'policy'>;
  credentials: CacheCredentials;
  address: string;
  port: number;
  paths: { data: string; acl: string; socket: string };
}

/** Seconds of silence after which a replica is no good one (`min-replicas-max-lag`). The engine counts whole seconds, and looks once a second. */
export const MAX_LAG_SECONDS = 2;

/** It starts refusing writes, whoever it was before: the record says later whether it takes any. */
export function engineFiles({ spec, credentials, address, port, paths }: EngineFilesOptions): EngineFiles {
  const lines: [string, string | number][] = [
    ['port', port],
    ['bind', '*'],
    ['protected-mode', 'no'],
    ['unixsocket', paths.socket],
    ['unixsocketperm', '700'],
    ['daemonize', 'no'],
    ['logfile', ''],
    ['dir', paths.data],
    ['aclfile', paths.acl],
    ['min-replicas-to-write', FENCED],
    ['min-replicas-max-lag', MAX_LAG_SECONDS],
    ['maxmemory', dataBytes(spec)],
    ['maxmemory-policy', spec.policy],
    ['repl-backlog-size', backlogBytes(spec)],
    ['repl-ping-replica-period', 1],
    ['repl-timeout', 10],
    ['repl-diskless-sync', 'yes'],
    ['repl-diskless-sync-delay', 0],
    ['replica-announce-ip', address],
    ['replica-announce-port', port],
    ['masteruser', REPLICATION_USER],
    ['masterauth', credentials.replication],
    // Flows that a load balancer of the network would forget while they are idle.
    ['tcp-keepalive', 60],
    ['latency-monitor-threshold', 100],
    ['appendonly', spec.persistence === 'aof' ? 'yes' : 'no'],
    ['appendfsync', 'everysec'],
  ];
  const saves = spec.persistence === 'rdb' ? ['save 3600 1', 'save 300 100', 'save 60 10000'] : ['save ""'];
  return { config: [...lines.map(([key, value]) => `${key} ${quoted(value)}`), ...saves, ''].join('\n'), acl: accounts(credentials) };
}

/** A user may do everything with data, and nothing with the engine. */
const USER_RULES =
  '~* &* +@all -@admin -@dangerous +info +role +keys +sort +sort_ro +flushdb +flushall +slowlog|get +slowlog|len +client|list +client|kill';

function accounts({ agent, replication, users }: CacheCredentials): string {
  const named = Object.entries(users).map(([name, passwords]) => `user ${word(name)} on ${passwords.map(hashed).join(' ')} ${USER_RULES}`);
  // Clients that know a password only speak as the account `default`.
  const all = Object.values(users).flat().map(hashed);
  return [
    `user default ${all.length === 0 ? 'off' : `on ${[...new Set(all)].join(' ')} ${USER_RULES}`}`,
    `user ${AGENT_USER} on ${hashed(agent)} ~* &* +@all`,
    `user ${REPLICATION_USER} on ${hashed(replication)} +psync +replconf +ping`,
    ...named,
    '',
  ].join('\n');
}

function hashed(password: string): string {
  return `#${createHash('sha256').update(password).digest('hex')}`;
}

function word(name: string): string {
  if (!/^[a-z][a-z0-9_-]*$/.test(name)) throw new AppError('internal', `${JSON.stringify(name)} cannot be the name of an account`);
  return name;
}

/** @throws AppError `internal` for what could end a line or a string */
function quoted(value: string | number): string {
  if (typeof value === 'number') return String(value);
  if (!/^[\x20-\x7e]*$/.test(value) || /["\\]/.test(value))
    throw new AppError('internal', 'a setting of the engine holds a character that it may not');
  return `"${value}"`;
}
