import { createHash } from 'node:crypto';

/**
 * Accounts of ours in every MariaDB. None of them can log in from the network with more than the right to replicate.
 */

/** Does what the protocol decides. It may write while the engine is read-only, so it writes nothing that goes into the binlog. */
export const AGENT = 'xcaas_agent';
/** Writes for us as users do: refused while the engine is read-only (W1), and in the binlog. Heartbeat, users, databases. */
export const WRITER = 'xcaas_writer';
const REPLICATION = 'repl_';

/** Account that this member receives with. */
export const replicationAccount = (member: string): string => `${REPLICATION}${member}`;

/** @returns undefined for an account of something else */
export function memberOfAccount(account: string): string | undefined {
  return account.startsWith(REPLICATION) ? account.slice(REPLICATION.length) : undefined;
}

/** Account that another database of ours follows this one with. Unlike a member's it is never locked, and never acknowledges. */
const FOLLOWER = 'xcaas_follow_';
export const followerAccount = (db: string): string => `${FOLLOWER}${db}`;
/** For LIKE. */
export const FOLLOWERS = FOLLOWER.replaceAll('_', '\\_').concat('%');

/** Schema of ours and, in it, the table with the one row that is written each second. */
export const OWN_SCHEMA = 'xcaas';
export const HEARTBEAT_TABLE = 'heartbeat';

/** One for all databases: a restored or cut-over database goes on in the numbering it has. What keeps ids unique is the server and rule E1. */
export const GTID_DOMAIN = 0;

/** What `mysql_native_password` keeps of a password. */
export function passwordHash(password: string): string {
  const once = createHash('sha1').update(password).digest();
  return `*${createHash('sha1').update(once).digest('hex').toUpperCase()}`;
}

/** Name in backticks. */
export function identifier(name: string): string {
  return `\`${name.replaceAll('`', '``')}\``;
}
