import { sleep } from '#core/sleep.ts';
import { kill } from './accounts.ts';
import { AGENT, memberOfAccount, WRITER } from './names.ts';
import type { Question, Sql } from './sql.ts';

export interface Thread {
  id: string;
  user: string;
  command: string;
  state: string;
  ms: number;
  info: string;
}

/** What connections do that do something. */
export const BUSY_THREADS: Question<Thread[]> = {
  text: "SELECT ID id, USER user, COMMAND command, STATE state, TIME_MS ms, LEFT(INFO, 80) info FROM information_schema.PROCESSLIST WHERE COMMAND NOT IN ('Sleep', 'Daemon') AND ID <> CONNECTION_ID()",
  read: (rows) =>
    rows.map(({ id, user, command, state, ms, info }) => ({
      id: String(id),
      user: String(user),
      command: String(command),
      state: String(state ?? ''),
      ms: Number(ms),
      info: String(info ?? ''),
    })),
};

const WAITS = /^Waiting for semi-sync ACK/;
/** Behind the one that waits: the commits that were written to the binlog after it. */
const BEHIND = /^(Commit|Waiting for prior transaction to commit|Waiting for other transactions.*commit.*)$/i;

/**
 * How many commits wait for an acknowledgement. The engine's own counter (`Rpl_semi_sync_master_wait_sessions`) knows only the one at the head of the queue: all others
 * wait for that one, in a state called "Commit".
 */
export function countWaiters(threads: readonly Thread[], waitSessions: number): number {
  const head = Math.max(waitSessions, threads.filter(({ state }) => WAITS.test(state)).length);
  return head === 0 ? 0 : head + threads.filter(({ state }) => BEHIND.test(state)).length;
}

/** Statements that a switchover would wait for, or break off. */
const LONG = /^\s*(alter|create|drop|optimize|repair|rename|truncate|analyze|load|lock\s+tables|flush\s+tables|backup\s+stage)\b/i;
const LONG_MS = 1000;

/** Why a switchover should not begin now, undefined when nothing speaks against it. */
export function whyBusy(threads: readonly Thread[]): string | undefined {
  const users = threads.filter(
    ({ user }) => user !== AGENT && user !== WRITER && user !== 'system user' && memberOfAccount(user) === undefined,
  );
  const long = users.find(({ info, ms }) => ms > LONG_MS && LONG.test(info));
  if (long !== undefined) return `${long.user} has been running ${firstWords(long.info)} for ${Math.round(long.ms / 1000)} s`;
  const lock = threads.find(({ state, ms }) => ms > LONG_MS && /^Waiting for (backup|global read) lock/.test(state));
  return lock === undefined ? undefined : `a lock on all tables has made ${lock.user} wait for ${Math.round(lock.ms / 1000)} s`;
}

const firstWords = (info: string): string => info.trim().split(/\s+/, 2).join(' ').toUpperCase();

const POLL_MS = 20;

/**
 * A1: no command of a former life of the sidecar is left. Its connections are ended the soft way: a hard KILL of one whose commit waits for an acknowledgement would let
 * that commit go, and with it those of others that were written to the binlog in one go with it (H1). One that still waits at the end does nothing but wait:
 * it is the end of its last command, and counts as gone.
 *
 * @returns false when another one is still there after `timeoutMs`
 */
export async function killOwnOthers(sql: Sql, timeoutMs: number): Promise<boolean> {
  const end = performance.now() + timeoutMs;
  const others = `SELECT ID id, COMMAND command, STATE state FROM information_schema.PROCESSLIST WHERE USER IN ('${AGENT}', '${WRITER}') AND ID <> ${sql.id}`;
  for (;;) {
    const rows = await sql.query<{ id: string; command: string; state: string | null }>(others);
    const left = rows.filter(({ command, state }) => !(command === 'Killed' && (WAITS.test(state ?? '') || BEHIND.test(state ?? ''))));
    if (left.length === 0) return true;
    if (performance.now() >= end) return false;
    for (const { id, command } of left) if (command !== 'Killed') await kill(sql, `KILL SOFT CONNECTION ${id}`);
    await sleep(POLL_MS);
  }
}

/** W1: ends everybody's connections but those that replicate and ours. Only while read-only is in force and nobody waits. */
export async function killUsers(sql: Sql): Promise<void> {
  const rows = await sql.query<{ id: string; user: string }>(
    `SELECT ID id, USER user FROM information_schema.PROCESSLIST WHERE USER NOT IN ('${AGENT}', '${WRITER}', 'system user', 'event_scheduler', 'unauthenticated user')`,
  );
  for (const { id, user } of rows) if (memberOfAccount(user) === undefined) await kill(sql, `KILL SOFT CONNECTION ${id}`);
}
