import { z } from 'zod';
import { AppError, hasCode } from '#core/errors.ts';
import { sleep } from '#core/sleep.ts';
import { validate } from '#core/validate.ts';
import { newPassword } from '#pool/service-credentials.ts';
import { askMember } from '#pool/service-living.ts';
import { withNewPassword, withoutOldPassword, withUser } from '#pool/service-users.ts';
import { cacheVault } from '#xcache/credentials.ts';
import type { CacheDeps } from '#xcache/operations/deps.ts';
import { livingRecords, livingSpec } from '#xcache/operations/living.ts';
import { type CacheCredentials, UserAccess } from '#xcache/schema.ts';

/**
 * Users of a cache. The credentials say who may log in with which password and what they may do, and reach the members as a file; each member makes it so at its engine. No password
 * travels in a request.
 */

const UserName = z
  .string()
  .regex(/^[a-z][a-z0-9_-]{0,39}$/, 'use a letter, then letters, digits, "_" and "-", 40 at most, all in lower case')
  .refine((name) => name !== 'default', 'it is the engine’s own: clients that know a password only are it');

/** How long the members may take to get a credentials file and put it in force; the controller is told at once. */
const HANDED_MS = 25_000;
const RETRY_MS = 300;

export interface UserView {
  name: string;
  readOnly: boolean;
  /** Patterns of the keys that it may use; none: all. */
  keys: string[];
  /** The one that `cache url` names. */
  own: boolean;
  /** Two passwords are good. */
  rotating: boolean;
}

export async function listUsers(deps: CacheDeps, name: string): Promise<UserView[]> {
  const { value: spec } = await livingSpec(deps, name);
  const { users, access = {} } = await cacheVault.read(deps, name);
  return Object.entries(users).map(([user, passwords]) => ({
    ...{ name: user, readOnly: access[user]?.readOnly ?? false, keys: access[user]?.keys ?? [] },
    ...{ own: user === spec.user, rotating: passwords.length > 1 },
  }));
}

/**
 * A user; asked again for one that exists, it sets what that one may do, and leaves the password.
 *
 * @returns the user with its password
 * @throws AppError `conflict` for fewer rights of the user that the cache's URL names
 */
export async function addUser(
  deps: CacheDeps,
  name: string,
  { user, readOnly, keys }: { user: string; readOnly?: boolean | undefined; keys?: string[] | undefined },
) {
  const known = validate(UserName, user, `the user ${JSON.stringify(user.slice(0, 60))}`);
  const may = validate(UserAccess, { readOnly: readOnly ?? false, keys: keys ?? [] }, 'what the user may do');
  const { value: spec } = await livingSpec(deps, name);
  const isWhole = !may.readOnly && may.keys.length === 0;
  if (known === spec.user && !isWhole)
    throw new AppError('conflict', `${user} is the user that cache url ${name} names: it may do everything`, {
      hint: `make another one: cache user add ${name} NAME --read-only`,
    });
  const { users } = await change(deps, name, (all) => {
    const { [known]: _, ...others } = all.access ?? {};
    return { ...withUser(all, known, (passwords) => passwords ?? [newPassword()]), access: isWhole ? others : { ...others, [known]: may } };
  });
  await tell(deps, name, 'user_added', `${known} may ${wordsOf(may)}`);
  return { name: known, ...may, password: users[known]?.[0] ?? '' };
}

/** A new password, beside which the old one stays good until {@link finishRotation}: clients are changed one after another, and none is shut out. */
export async function rotateUser(deps: CacheDeps, name: string, user: string) {
  await expectUser(deps, name, user);
  const { users } = await change(deps, name, (all) => withNewPassword(all, user, `cache user rotate ${name} ${user} --finish`));
  const sentence = `${user} has a new password; the one before it is good until the change is finished`;
  await tell(deps, name, 'user_rotated', sentence);
  return { name: user, password: users[user]?.[0] ?? '', sentence };
}

/** Ends the password before the newest. */
export async function finishRotation(deps: CacheDeps, name: string, user: string) {
  await expectUser(deps, name, user);
  await change(deps, name, (all) => withoutOldPassword(all, user));
  const sentence = `only the newest password of ${user} is good`;
  await tell(deps, name, 'user_rotated', sentence);
  return { sentence };
}

/** @throws AppError `conflict` for the user that the cache's URL names */
export async function dropUser(deps: CacheDeps, name: string, user: string) {
  const { value: spec } = await livingSpec(deps, name);
  if (user === spec.user)
    throw new AppError('conflict', `${user} is the user that cache url ${name} names`, { hint: 'it goes with the cache' });
  await expectUser(deps, name, user);
  await change(deps, name, ({ users: { [user]: _, ...users }, access: { [user]: __, ...access } = {}, ...rest }) => ({
    ...rest,
    users,
    access,
  }));
  const sentence = `${user} is no user of ${name} any more`;
  await tell(deps, name, 'user_dropped', sentence);
  return { sentence };
}

/** @throws AppError `not_found` naming the users there are */
async function expectUser(deps: CacheDeps, name: string, user: string): Promise<void> {
  await livingSpec(deps, name);
  const { users } = await cacheVault.read(deps, name);
  if (Object.hasOwn(users, user)) return;
  throw new AppError('not_found', `${name} has no user ${JSON.stringify(user.slice(0, 60))}`, {
    hint: `it has ${Object.keys(users).join(', ')}`,
  });
}

/** Changes the credentials and waits until every member that runs has them in force. */
async function change(deps: CacheDeps, name: string, apply: (all: CacheCredentials) => CacheCredentials): Promise<CacheCredentials> {
  const after = await cacheVault.change(deps, name, apply);
  deps.markDirty(name);
  const records = await livingRecords(deps, name);
  const end = deps.now().getTime() + HANDED_MS;
  await Promise.all(records.sidecars.map(({ member }) => onceInForce(deps, records, member, { serial: after.serial, end })));
  return after;
}

async function onceInForce(
  deps: CacheDeps,
  records: Awaited<ReturnType<typeof livingRecords>>,
  member: string,
  { serial, end }: { serial: number; end: number },
): Promise<void> {
  for (;;) {
    try {
      await askMember(deps, records, member, { method: 'POST', path: '/credentials', body: { serial }, timeoutMs: 8000 });
      return;
    } catch (error) {
      const passes = hasCode(error, 'conflict') || hasCode(error, 'unavailable') || hasCode(error, 'timeout');
      if (!passes) throw error;
      if (deps.now().getTime() >= end)
        throw new AppError('timeout', `${member} does not have it yet`, {
          hint: 'it takes it as soon as it can be reached: xcaas nodes',
          cause: error,
        });
      await sleep(RETRY_MS);
    }
  }
}

function wordsOf({ readOnly, keys }: UserAccess): string {
  const which = keys.length === 0 ? 'all keys' : `keys ${keys.join(' ')}`;
  return `${readOnly ? 'read' : 'read and write'} ${which}`;
}

async function tell(deps: CacheDeps, name: string, reason: string, sentence: string): Promise<void> {
  await deps.events.record({ object: `cache/${name}`, kind: 'info', reason, sentence });
}
