import { AppError } from '#core/errors.ts';
import { FOLLOWERS, followerAccount, identifier, memberOfAccount, OWN_SCHEMA, passwordHash } from './names.ts';
import type { Sql } from './sql.ts';

/**
 * Databases and users of the user's. Everything here is done on a connection that writes as users do (`connectWriter`): it is in the binlog, so that the slave has it too,
 * waits for its acknowledgement, and is refused while the engine is read-only. Each can be done again.
 */

/** Schemas that are the engine's or ours. */
const SYSTEM = new Set(['mysql', 'information_schema', 'performance_schema', 'sys', OWN_SCHEMA]);
const SCHEMA = /^[A-Za-z0-9_][A-Za-z0-9_$-]{0,63}$/;
const USER = /^[a-z][a-z0-9_]{0,31}$/;
/** Accounts that exist in every engine. */
const RESERVED = /^(root|mysql|mariadb\.sys|public|xcaas_.*|repl_.*)$/;

export interface DatabaseRow {
  name: string;
  bytes: number;
  tables: number;
}

export interface UserRow {
  name: string;
  /** Databases that it has all rights on. */
  databases: string[];
  /** How many passwords work: two while one is being changed. */
  passwords: number;
}

/** @throws AppError `invalid` */
export function checkDatabaseName(name: string): void {
  if (!SCHEMA.test(name)) {
    throw new AppError('invalid', `${JSON.stringify(name.slice(0, 70))} cannot be the name of a database`, {
      hint: 'use letters, digits, "_", "-" and "$"',
    });
  }
  if (SYSTEM.has(name.toLowerCase())) throw new AppError('invalid', `${name} is the engine's own`, { hint: 'use another name' });
}

/** @throws AppError `invalid` */
export function checkUserName(name: string): void {
  if (!USER.test(name)) {
    throw new AppError('invalid', `${JSON.stringify(name.slice(0, 40))} cannot be the name of a user`, {
      hint: 'begin with a letter and use lower-case letters, digits and "_", at most 32',
    });
  }
  if (RESERVED.test(name) || memberOfAccount(name) !== undefined)
    throw new AppError('invalid', `${name} is the engine's own`, { hint: 'use another name' });
}

export async function listDatabases(sql: Sql): Promise<DatabaseRow[]> {
  const rows = await sql.query<{ name: string; bytes: string | null; tables: string | number }>(
    `SELECT s.SCHEMA_NAME name, COALESCE(SUM(t.DATA_LENGTH + t.INDEX_LENGTH), 0) bytes, COUNT(t.TABLE_NAME) tables
     FROM information_schema.SCHEMATA s LEFT JOIN information_schema.TABLES t ON t.TABLE_SCHEMA = s.SCHEMA_NAME
     GROUP BY s.SCHEMA_NAME ORDER BY s.SCHEMA_NAME`,
  );
  return rows
    .filter(({ name }) => !SYSTEM.has(name))
    .map(({ name, bytes, tables }) => ({ name, bytes: Number(bytes ?? 0), tables: Number(tables) }));
}

export async function createDatabase(sql: Sql, name: string): Promise<void> {
  checkDatabaseName(name);
  await sql.query(`CREATE DATABASE IF NOT EXISTS ${identifier(name)}`);
}

/** With all that is in it, and the rights on it. @throws AppError `not_found` naming what exists */
export async function dropDatabase(sql: Sql, name: string): Promise<void> {
  checkDatabaseName(name);
  const databases = await listDatabases(sql);
  if (!databases.some((one) => one.name === name)) {
    throw new AppError('not_found', `there is no database ${name} in here`, {
      hint: `there is ${databases.map((one) => one.name).join(', ') || 'none'}`,
    });
  }
  for (const user of await listUsers(sql)) {
    if (user.databases.includes(name)) await sql.query(`REVOKE ALL PRIVILEGES ON ${pattern(name)}.* FROM ${account(user.name)}`);
  }
  await sql.query(`DROP DATABASE IF EXISTS ${identifier(name)}`);
}

export async function listUsers(sql: Pick<Sql, 'query'>): Promise<UserRow[]> {
  const accounts = await sql.query<{ name: string; second: string | null }>(
    "SELECT User name, JSON_EXTRACT(Priv, '$.auth_or') second FROM mysql.global_priv WHERE Host = '%' ORDER BY User",
  );
  const grants = await sql.query<{ name: string; db: string }>("SELECT User name, Db db FROM mysql.db WHERE Host = '%' ORDER BY Db");
  return accounts
    .filter(({ name }) => USER.test(name) && !RESERVED.test(name))
    .map(({ name, second }) => ({
      name,
      databases: grants.filter((grant) => grant.name === name).map(({ db }) => db.replaceAll(/\\([_%\\])/g, '$1')),
      passwords: second === null ? 1 : 2,
    }));
}

/**
 * Makes a user, or brings one to these passwords and databases. It has all rights on its databases, and none besides: nothing with which it could write to a read-only member,
 * leave the binlog out, stop replication or end others' connections (H16).
 *
 * Several passwords work side by side: while one is changed, clients that still have the old one go on, until the next call leaves it out. Connections that are open stay
 * open either way.
 *
 * @param passwords one or two, the newest first
 */
export async function ensureUser(
  sql: Pick<Sql, 'query'>,
  name: string,
  passwords: readonly string[],
  databases: readonly string[],
): Promise<void> {
  checkUserName(name);
  for (const database of databases) checkDatabaseName(database);
  if (passwords.length === 0) throw new AppError('internal', `${name} would have no password`);
  const identified = passwords.map((password) => `mysql_native_password USING '${passwordHash(password)}'`).join(' OR ');
  await sql.query(`CREATE USER IF NOT EXISTS ${account(name)} IDENTIFIED VIA ${identified}`);
  await sql.query(`ALTER USER ${account(name)} IDENTIFIED VIA ${identified}`);
  const present = (await listUsers(sql)).find((user) => user.name === name)?.databases ?? [];
  for (const database of present.filter((one) => !databases.includes(one))) {
    await sql.query(`REVOKE ALL PRIVILEGES ON ${pattern(database)}.* FROM ${account(name)}`);
  }
  for (const database of databases.filter((one) => !present.includes(one))) {
    await sql.query(`GRANT ALL PRIVILEGES ON ${pattern(database)}.* TO ${account(name)}`);
  }
}

/** The user's connections that are open stay so until they end. @throws AppError `not_found` naming who exists */
export async function dropUser(sql: Sql, name: string): Promise<void> {
  checkUserName(name);
  const names = (await listUsers(sql)).map((user) => user.name);
  if (!names.includes(name))
    throw new AppError('not_found', `there is no user ${name}`, { hint: `there is ${names.join(', ') || 'none'}` });
  await sql.query(`DROP USER ${account(name)}`);
}

/** Accounts of other databases of ours that follow this one: encrypted, and with nothing but the right to receive. */
export async function keepFollowers(sql: Sql, passwords: Readonly<Record<string, string>>): Promise<void> {
  const rows = await sql.query<{ name: string; hash: string | null }>(
    `SELECT User name, JSON_VALUE(Priv, '$.authentication_string') hash FROM mysql.global_priv WHERE Host = '%' AND User LIKE '${FOLLOWERS}'`,
  );
  const present = new Map(rows.map(({ name, hash }) => [name, hash]));
  for (const [db, password] of Object.entries(passwords)) {
    const name = followerAccount(db);
    const hash = passwordHash(password);
    if (present.get(name) === hash) continue;
    const identified = `IDENTIFIED VIA mysql_native_password USING '${hash}' REQUIRE SSL`;
    await sql.query(`CREATE USER IF NOT EXISTS ${account(name)} ${identified}`);
    await sql.query(`ALTER USER ${account(name)} ${identified}`);
    await sql.query(`GRANT REPLICATION SLAVE ON *.* TO ${account(name)}`);
  }
  const wanted = new Set(Object.keys(passwords).map(followerAccount));
  for (const name of present.keys()) if (!wanted.has(name)) await sql.query(`DROP USER IF EXISTS ${account(name)}`);
}

const account = (name: string): string => `${identifier(name)}@'%'`;
/** In a GRANT a database's name is a pattern: `a_b` would be `axb` as well. */
const pattern = (name: string): string => identifier(name.replaceAll('_', '\\_'));
