import { z } from 'zod';
import { AppError, hasCode } from '#core/errors.ts';
import { sleep } from '#core/sleep.ts';
import { validate } from '#core/validate.ts';
import { newPassword } from '#pool/service-credentials.ts';
import { askMember } from '#pool/service-living.ts';
import { withNewPassword, withoutOldPassword, withUser } from '#pool/service-users.ts';
import { changeCredentials, readCredentials } from '#xdb/credentials.ts';
import type { DbDeps } from '#xdb/operations/deps.ts';
import { leaderOf, livingRecords } from '#xdb/operations/living.ts';

/**
 * Users and databases inside a database. The credentials say who may log in with which password, and reach the members as a file; the member that leads
 * makes it so. No password travels in a request.
 */

const UserName = z
  .string()
  .regex(/^[a-z][a-z0-9_]{0,31}$/, 'use a letter, then letters, digits and "_", 32 at most, all in lower case')
  .refine((name) => !/^(root|mysql|mariadb_sys|public|xcaas_.*|repl_.*)$/.test(name), 'it is one of the system’s own');
const SchemaName = z
  .string()
  .regex(/^[a-z][a-z0-9_]{0,62}$/, 'use a letter, then letters, digits and "_", 63 at most, all in lower case')
  .refine((name) => !/^(mysql|sys|information_schema|performance_schema|xcaas)$/.test(name), 'it is one of the engine’s own');

const Users = z.array(z.object({ name: z.string(), databases: z.array(z.string()), passwords: z.number() }));
const Databases = z.array(z.object({ name: z.string(), bytes: z.number(), tables: z.number() }));

/** How long the members may take to get a credentials file; the controller is told at once. */
const HANDED_MS = 20_000;
const RETRY_MS = 300;

export async function listUsers(deps: DbDeps, name: string) {
  const records = await livingRecords(deps, name);
  const users = Users.parse(await askLeader(deps, name, 'GET', '/users'));
  return users.map((user) => ({ ...user, own: user.name === records.spec.value.user, rotating: user.passwords > 1 }));
}

/**
 * A user of the named databases, or of the database's own one. Asked again for one that exists, it sets its databases.
 *
 * @returns the user with its password
 */
export async function addUser(deps: DbDeps, name: string, { user, databases }: { user: string; databases?: string[] | undefined }) {
  const known = validate(UserName, user, `the user ${JSON.stringify(user.slice(0, 60))}`);
  const records = await livingRecords(deps, name);
  const wanted = (databases === undefined || databases.length === 0 ? [records.spec.value.database] : databases).map(schemaName);
  const present = Databases.parse(await askLeader(deps, name, 'GET', '/databases')).map((each) => each.name);
  const missing = wanted.find((each) => !present.includes(each));
  if (missing !== undefined)
    throw new AppError('not_found', `${name} has no database ${missing}`, {
      hint: `it has ${present.join(', ')}; db database add ${name} ${missing}`,
    });
  const { users, serial } = await changeCredentials(deps, name, (all) => withUser(all, known, (passwords) => passwords ?? [newPassword()]));
  await putUser(deps, name, known, { databases: wanted, serial });
  await tell(deps, name, 'user_added', `${known} may use ${wanted.join(', ')}`);
  return { name: known, databases: wanted, password: users[known]?.[0] ?? '' };
}

/**
 * A new password, beside which the old one stays good until {@link finishRotation}: clients are changed one after another, and none is shut out.
 *
 * @throws AppError `conflict` while the change before is not finished: a third password would shut out who still has the first
 */
export async function rotateUser(deps: DbDeps, name: string, user: string) {
  const databases = await databasesOf(deps, name, user);
  const finish = `db user rotate ${name} ${user} --finish`;
  const { users, serial } = await changeCredentials(deps, name, (all) => withNewPassword(all, user, finish));
  await putUser(deps, name, user, { databases, serial });
  const sentence = `${user} has a new password; the one before it is good until the change is finished`;
  await tell(deps, name, 'user_rotated', sentence);
  return { name: user, password: users[user]?.[0] ?? '', sentence };
}

/** Ends the password before the newest. */
export async function finishRotation(deps: DbDeps, name: string, user: string) {
  const databases = await databasesOf(deps, name, user);
  const { serial } = await changeCredentials(deps, name, (all) => withoutOldPassword(all, user));
  await putUser(deps, name, user, { databases, serial });
  const sentence = `only the newest password of ${user} is good`;
  await tell(deps, name, 'user_rotated', sentence);
  return { sentence };
}

/** @throws AppError `conflict` for the user that the database's URL names */
export async function dropUser(deps: DbDeps, name: string, user: string) {
  const records = await livingRecords(deps, name);
  const { user: own } = records.spec.value;
  if (user === own) throw new AppError('conflict', `${user} is the user that db url ${name} names`, { hint: 'it goes with the database' });
  const { users } = await readCredentials(deps, name);
  // First the credentials, by which the leader would make it again.
  const { serial } = await changeCredentials(deps, name, ({ users: { [user]: _, ...rest }, ...others }) => ({ ...others, users: rest }));
  await onceHanded(deps, name, 'DELETE', `/users/${encodeURIComponent(user)}?serial=${serial}`).catch((error: unknown) => {
    // It was written down and never made.
    if (!hasCode(error, 'not_found') || users[user] === undefined) throw error;
  });
  const sentence = `${user} is no user of ${name} any more`;
  await tell(deps, name, 'user_dropped', sentence);
  return { sentence };
}

export async function listDatabases(deps: DbDeps, name: string) {
  const records = await livingRecords(deps, name);
  const { database } = records.spec.value;
  return Databases.parse(await askLeader(deps, name, 'GET', '/databases')).map((each) => ({ ...each, own: each.name === database }));
}

export async function addDatabase(deps: DbDeps, name: string, database: string) {
  const known = schemaName(database);
  await askLeader(deps, name, 'PUT', `/databases/${encodeURIComponent(known)}`, {});
  const sentence = `${name} has a database ${known}`;
  await tell(deps, name, 'database_added', sentence);
  return { sentence };
}

/** With all that is in it. @throws AppError `conflict` for the one that the database's URL names */
export async function dropDatabase(deps: DbDeps, name: string, database: string) {
  const records = await livingRecords(deps, name);
  if (database === records.spec.value.database)
    throw new AppError('conflict', `${database} is the database that db url ${name} names`, {
      hint: `db destroy ${name} removes it with everything`,
    });
  await askLeader(deps, name, 'DELETE', `/databases/${encodeURIComponent(schemaName(database))}`);
  const sentence = `the database ${database} of ${name} is removed`;
  await tell(deps, name, 'database_dropped', sentence);
  return { sentence };
}

/** @throws AppError `not_found` naming the users whose passwords are kept here */
async function databasesOf(deps: DbDeps, name: string, user: string): Promise<string[]> {
  await livingRecords(deps, name);
  const { users } = await readCredentials(deps, name);
  const found = Users.parse(await askLeader(deps, name, 'GET', '/users')).find((each) => each.name === user);
  if (found === undefined || !Object.hasOwn(users, user)) {
    throw new AppError('not_found', `${name} has no user ${JSON.stringify(user.slice(0, 60))} whose password is kept here`, {
      hint: `it has ${Object.keys(users).join(', ')}`,
    });
  }
  return found.databases;
}

function putUser(deps: DbDeps, name: string, user: string, body: { databases: string[]; serial: number }): Promise<void> {
  return onceHanded(deps, name, 'PUT', `/users/${encodeURIComponent(user)}`, body);
}

/** The leader has the credentials file a moment later than Consul, and may be another one by then. */
async function onceHanded(deps: DbDeps, name: string, method: string, path: string, body?: unknown): Promise<void> {
  deps.markDirty(name);
  const end = deps.now().getTime() + HANDED_MS;
  for (;;) {
    try {
      await askLeader(deps, name, method, path, body);
      return;
    } catch (error) {
      const passes = hasCode(error, 'conflict') || hasCode(error, 'unavailable');
      if (!passes || deps.now().getTime() >= end) throw error;
      await sleep(RETRY_MS);
    }
  }
}

async function askLeader(deps: DbDeps, name: string, method: string, path: string, body?: unknown): Promise<unknown> {
  const records = await livingRecords(deps, name);
  return askMember(deps, records, leaderOf(records), { method, path, body, timeoutMs: 20_000 });
}

function schemaName(text: string): string {
  return validate(SchemaName, text, `the database ${JSON.stringify(text.slice(0, 80))}`);
}

async function tell(deps: DbDeps, name: string, reason: string, sentence: string): Promise<void> {
  await deps.events.record({ object: `db/${name}`, kind: 'info', reason, sentence });
}
