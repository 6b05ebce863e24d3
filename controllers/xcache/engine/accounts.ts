import { createHash } from 'node:crypto';
import { AppError } from '#core/errors.ts';
import type { ShardPlace } from '#xcache/cluster/shard-place.ts';
import type { CacheCredentials, UserAccess } from '#xcache/schema.ts';
import { AGENT_USER, REPLICATION_USER, shardUser } from './session.ts';

/** Pure: the accounts of an engine, as its file of accounts has them. */

/**
 * Of what the engine calls dangerous, users get what clients and people in front of a terminal need of their own data, and what says how the engine is. Not CLIENT KILL, which ends the
 * connections of replicas and sidecars; not RESTORE, whose payload can crash an engine; not MIGRATE, which has it connect elsewhere; not CONFIG, which shows passwords.
 */
const HARMLESS = '+info +role +keys +sort_ro +slowlog|get +slowlog|len +client|list';
const EVERYTHING = `+@all -@admin -@dangerous ${HARMLESS} +sort +flushdb +flushall`;
/** FLUSHALL and KEYS ask for no key, and would be about the others' as well. */
const SOME_KEYS = '+@all -@admin -@dangerous +info +role +sort +sort_ro';
const READ_ONLY = `+@all -@write -@admin -@dangerous ${HARMLESS}`;

/**
 * Invariant of a cluster: an engine gives copies of its data to its own shard only. A replica follows an address, and asks nobody's name: where a container that was made anew has taken it
 * over, the replica would copy another shard's data over its own. Moves of slots come from other shards, with keys and values.
 */
const OTHER_SHARD = '-psync -sync';

/** @param place of the engine, in a cluster */
export function accounts({ agent, replication, users, access = {} }: CacheCredentials, place?: ShardPlace): string {
  const named = Object.entries(users).map(
    ([name, passwords]) => `user ${word(name)} on ${passwords.map(hashed).join(' ')} ${rulesOf(access[name])}`,
  );
  const all = defaultPasswords({ users, access }).map(hashed);
  return [
    `user default ${all.length === 0 ? 'off' : `on ${[...new Set(all)].join(' ')} ${rulesOf(undefined)}`}`,
    `user ${AGENT_USER} on ${hashed(agent)} ~* &* +@all`,
    `user ${REPLICATION_USER} on ${hashed(replication)} +psync +replconf +ping`,
    ...(place?.all ?? []).map(
      (shard) => `user ${shardUser(shard)} on ${hashed(agent)} ~* &* +@all${shard === place?.own ? '' : ` ${OTHER_SHARD}`}`,
    ),
    ...named,
    '',
  ].join('\n');
}

/** Clients that know a password only speak as the account `default`, which may do everything: the password has to be of somebody who may. */
export function defaultPasswords({ users, access = {} }: Pick<CacheCredentials, 'users' | 'access'>): string[] {
  return Object.entries(users).flatMap(([name, passwords]) => (isWhole(access[name]) ? passwords : []));
}

function isWhole(access: UserAccess | undefined): boolean {
  return access === undefined || (!access.readOnly && access.keys.length === 0);
}

function rulesOf(access: UserAccess | undefined): string {
  const { keys = [], readOnly = false } = access ?? {};
  const patterns = keys.length === 0 ? '~*' : keys.map((pattern) => `~${pattern}`).join(' ');
  const commands = readOnly ? READ_ONLY : keys.length === 0 ? EVERYTHING : SOME_KEYS;
  return `${patterns} &* ${commands}${readOnly && keys.length > 0 ? ' -keys' : ''}`;
}

function hashed(password: string): string {
  return `#${createHash('sha256').update(password).digest('hex')}`;
}

function word(name: string): string {
  if (!/^[a-z][a-z0-9_-]*$/.test(name)) throw new AppError('internal', `${JSON.stringify(name)} cannot be the name of an account`);
  return name;
}
