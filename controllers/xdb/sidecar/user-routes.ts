import { z } from 'zod';
import { AppError } from '#core/errors.ts';
import { validate } from '#core/validate.ts';
import type { UserAdmin } from '#xdb/engine/engine.ts';
import type { AdminRoute } from './admin.ts';
import type { CredentialsSource } from './credentials.ts';
import { within } from './within.ts';

export interface UserRoutesOptions {
  users: UserAdmin;
  credentials: CredentialsSource;
  /** This member takes writes. */
  writes(): boolean;
  /** Who does, for the hint. */
  leader(): string | undefined;
}

const UserBody = z.object({ databases: z.array(z.string()).max(1000) });
const LIMIT_MS = 12_000;

/**
 * Users and databases, asked by the API on the member that leads. Passwords are never sent here: a user's are in the credentials, which the controller hands to the members, before
 * the user is asked for.
 */
export function userRoutes({ users, credentials, writes, leader }: UserRoutesOptions): AdminRoute[] {
  async function asLeader<T>(what: string, action: () => Promise<T>): Promise<T> {
    if (!writes()) {
      const who = leader();
      throw new AppError('unavailable', 'this member takes no writes now', { hint: who === undefined ? 'try again' : `ask ${who}` });
    }
    return within(action(), LIMIT_MS, what);
  }

  return [
    { method: 'GET', path: '/users', handle: async () => ({ body: await asLeader('listing users', () => users.listUsers()) }) },
    {
      method: 'PUT',
      path: '/users/:name',
      async handle({ params, body }) {
        const { databases } = validate(UserBody, body, 'the user');
        const name = params.name ?? '';
        await credentials.refresh();
        const passwords = credentials.current()?.users[name];
        if (passwords === undefined) {
          throw new AppError('conflict', `the credentials of this database name no user ${name} yet`, {
            hint: 'try again in some seconds',
          });
        }
        await asLeader(`making the user ${name}`, () => users.ensureUser(name, passwords, databases));
        return { body: { name, databases } };
      },
    },
    {
      method: 'DELETE',
      path: '/users/:name',
      async handle({ params }) {
        await asLeader('removing a user', () => users.dropUser(params.name ?? ''));
        return {};
      },
    },
    { method: 'GET', path: '/databases', handle: async () => ({ body: await asLeader('listing databases', () => users.listDatabases()) }) },
    {
      method: 'PUT',
      path: '/databases/:name',
      async handle({ params }) {
        await asLeader('making a database', () => users.createDatabase(params.name ?? ''));
        return { body: { name: params.name } };
      },
    },
    {
      method: 'DELETE',
      path: '/databases/:name',
      async handle({ params }) {
        await asLeader('removing a database', () => users.dropDatabase(params.name ?? ''));
        return {};
      },
    },
  ];
}
