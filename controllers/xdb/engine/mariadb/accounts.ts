import { AppError } from '#core/errors.ts';
import { sleep } from '#core/sleep.ts';
import { identifier, memberOfAccount, passwordHash, replicationAccount } from './names.ts';
import { errnoOf, NO_SUCH_THREAD, type Question, type Sql } from './sql.ts';

interface ReplicationAccount {
  user: string;
  host: string;
  member: string;
  locked: boolean;
}

/** All accounts that members receive with. */
export const REPLICATION_ACCOUNTS: Question<ReplicationAccount[]> = {
  text: "SELECT User user, Host host, JSON_VALUE(Priv, '$.account_locked') locked FROM mysql.global_priv WHERE User LIKE 'repl\\_%'",
  read: (rows) =>
    rows.map(({ user, host, locked }) => ({
      user: String(user),
      host: String(host),
      member: memberOfAccount(String(user)) ?? String(user),
      locked: String(locked ?? '0') === '1' || locked === 'true',
    })),
};

const POLL_MS = 20;
/** A login that was under way when its account was locked is looked at as long, in milliseconds, and then ended: one that only opened a port never logs in. */
const LOGIN_MS = 300;

/**
 * O1, B2: only these members may receive. The others' accounts are locked first, then whatever came in by them is ended, also what was just logging in; when this
 * returns, nothing that was sent to them before can be acknowledged any more. The binlog says nothing of it: each member has its own locks.
 *
 * @throws AppError `timeout` when a thread of theirs does not end
 */
export async function allowDumps(sql: Sql, members: readonly string[], timeoutMs: number): Promise<void> {
  const end = performance.now() + timeoutMs;
  const [accounts] = await sql.ask([REPLICATION_ACCOUNTS]);
  const name = ({ user, host }: ReplicationAccount) => `${identifier(user)}@${identifier(host)}`;
  const [open, shut] = [
    accounts.filter(({ member }) => members.includes(member)),
    accounts.filter(({ member }) => !members.includes(member)),
  ];
  for (const account of shut.filter(({ locked }) => !locked)) await sql.query(`ALTER USER ${name(account)} ACCOUNT LOCK`);

  const loggingIn = new Set((await threads(sql)).filter(({ user }) => user === 'unauthenticated user').map(({ id }) => id));
  const settled = performance.now() + LOGIN_MS;
  for (;;) {
    const now = await threads(sql);
    const late = now.filter(({ id, user }) => loggingIn.has(id) && user === 'unauthenticated user');
    const theirs = now.filter(({ user }) => {
      const member = memberOfAccount(user);
      return member !== undefined && !members.includes(member);
    });
    if (theirs.length === 0 && late.length === 0) break;
    if (performance.now() >= end) {
      throw new AppError(
        'timeout',
        `what members other than ${members.join(', ') || 'none'} receive with does not end: ${theirs.map(({ user }) => user).join(', ')}`,
      );
    }
    for (const { id } of theirs) await kill(sql, `KILL CONNECTION ${id}`);
    if (performance.now() >= settled) for (const { id } of late) await kill(sql, `KILL CONNECTION ${id}`);
    await sleep(POLL_MS);
  }
  for (const account of open.filter(({ locked }) => locked)) await sql.query(`ALTER USER ${name(account)} ACCOUNT UNLOCK`);
}

/** F2: whoever receives connects anew. */
export async function cutDumps(sql: Sql): Promise<void> {
  for (const { id, user } of await threads(sql)) if (memberOfAccount(user) !== undefined) await kill(sql, `KILL CONNECTION ${id}`);
}

async function threads(sql: Sql): Promise<{ id: string; user: string }[]> {
  return sql.query<{ id: string; user: string }>(
    "SELECT ID id, USER user FROM information_schema.PROCESSLIST WHERE USER LIKE 'repl\\_%' OR USER = 'unauthenticated user'",
  );
}

/** Ends a thread; one that has ended by itself is ended. */
export async function kill(sql: Sql, statement: string): Promise<void> {
  try {
    await sql.query(statement);
  } catch (error) {
    if (errnoOf(error) !== NO_SUCH_THREAD) throw error;
  }
}

/**
 * Makes sure that a member has an account to receive with. A new one is locked: who may receive is decided by {@link allowDumps} alone. The binlog says nothing of it, so
 * that it can be done before an engine is open, and while it follows an outside master.
 */
export async function ensureReplicationAccount(sql: Sql, member: string, password: string): Promise<void> {
  const user = replicationAccount(member);
  const hash = passwordHash(password);
  const rows = await sql.query<{ hash: string | null }>(
    "SELECT JSON_VALUE(Priv, '$.authentication_string') hash FROM mysql.global_priv WHERE User = ? AND Host = '%'",
    [user],
  );
  const name = `${identifier(user)}@'%'`;
  const identified = `IDENTIFIED VIA mysql_native_password USING '${hash}'`;
  if (rows[0] === undefined) {
    await sql.query(`CREATE USER IF NOT EXISTS ${name} ${identified} REQUIRE SSL ACCOUNT LOCK`);
    await sql.query(`GRANT REPLICATION SLAVE ON *.* TO ${name}`);
  } else if (rows[0].hash !== hash) {
    await sql.query(`ALTER USER ${name} ${identified}`);
  }
}
