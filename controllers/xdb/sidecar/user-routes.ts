import { z } from 'zod';
import { AppError } from '#core/errors.ts';
import type { Queue } from '#core/queue.ts';
import { validate } from '#core/validate.ts';
import type { AdminRoute } from '#member/admin.ts';
import type { CredentialsSource } from '#member/credentials.ts';
import { within } from '#member/within.ts';
import type { UserAdmin } from '#xdb/engine/engine.ts';
import type { Credentials } from '#xdb/schema.ts';

export interface UserRoutesOptions {
  users: UserAdmin;
  /** Of all that changes users. */
  inTurn: Queue;
  credentials: CredentialsSource<Credentials>;
  /** This member takes writes. */
  writes(): boolean;
  /** Who does, for the hint. */
  leader(): string | undefined;
}

/** Serial of the credentials that the request was made from. */
const serial = z.coerce.number().int().min(0);
const UserBody = z.object({ databases: z.array(z.string()).max(1000), serial });
const DropQuery = z.object({ serial });
const LIMIT_MS = 12_000;

/**
 * Users and databases, asked by the API on the member that leads. Passwords are never sent here: a user's are in the credentials, which the controller hands to the members, before
 * the user is asked for.
 */
export function userRoutes({ users, inTurn, credentials, writes, leader }: UserRoutesOptions): AdminRoute[] {
  async function asLeader<T>(what: string, action: () => Promise<T>): Promise<T> {
    if (!writes()) {
      const who = leader();
      throw new AppError('unavailable', 'this member takes no writes now', { hint: who === undefined ? 'try again' : `ask ${who}` });
    }
    return within(action(), LIMIT_MS, what);
  }

  const change = (what: string, action: () => Promise<void>) => asLeader(what, () => inTurn(action));

  /** An older file names users with the passwords they had, and those that are gone. @throws AppError `conflict` until the controller has handed over a newer one */
  async function expectCredentials(asked: number): Promise<Credentials> {
    await credentials.refresh();
    const present = credentials.current();
    if (present !== undefined && (present.serial ?? 0) >= asked) return present;
    throw new AppError('conflict', 'the credentials of this member are not the newest yet', { hint: 'try again in some seconds' });
  }

  return [
    {
      method: 'GET',
      path: '/users',
      handle: async () => ({ body: await asLeader('listing users', () => inTurn(() => users.listUsers())) }),
    },
    {
      method: 'PUT',
      path: '/users/:name',
      async handle({ params, body }) {
        const { databases, serial } = validate(UserBody, body, 'the user');
        const name = params.name ?? '';
        const passwords = (await expectCredentials(serial)).users[name];
        if (passwords === undefined) {
          throw new AppError('conflict', `the credentials of this database name no user ${name} yet`, {
            hint: 'try again in some seconds',
          });
        }
        await change(`making the user ${name}`, () => users.ensureUser(name, passwords, databases));
        return { body: { name, databases } };
      },
    },
    {
      method: 'DELETE',
      path: '/users/:name',
      async handle({ params, query }) {
        await expectCredentials(validate(DropQuery, Object.fromEntries(query), 'the request').serial);
        await change('removing a user', () => users.dropUser(params.name ?? ''));
        return {};
      },
    },
    { method: 'GET', path: '/databases', handle: async () => ({ body: await asLeader('listing databases', () => users.listDatabases()) }) },
    {
      method: 'PUT',
      path: '/databases/:name',
      async handle({ params }) {
        await change('making a database', () => users.createDatabase(params.name ?? ''));
        return { body: { name: params.name } };
      },
    },
    {
      method: 'DELETE',
      path: '/databases/:name',
      async handle({ params }) {
        await change('removing a database', () => users.dropDatabase(params.name ?? ''));
        return {};
      },
    },
  ];
}
