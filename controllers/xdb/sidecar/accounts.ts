import { createHash } from 'node:crypto';
import { createBell } from '#core/bell.ts';
import { messageOf } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import type { Queue } from '#core/queue.ts';
import { within } from '#member/within.ts';
import type { UserAdmin } from '#xdb/engine/engine.ts';
import type { Credentials } from '#xdb/schema.ts';

/** What is to exist in a database that takes writes. */
export interface WantedAccounts {
  /** Engine and epoch in which it is to be made sure of: another one may have been restored, or taken over. */
  where: string;
  database: string;
  users: Credentials['users'];
  /** Of other databases of ours that follow this one: name → password. */
  followers: Record<string, string>;
}

/**
 * Keeps the users of the credentials, and the database that was asked for, in being: on the leader, beside the protocol's flow, as its commits wait like anybody's. Users
 * whom the credentials do not name are let be: somebody else made them.
 */
export interface AccountsKeeper {
  /** Undefined while this member takes no writes. */
  set(wanted: WantedAccounts | undefined): void;
  /** What is wanted is there. */
  settled(): boolean;
  stop(): Promise<void>;
}

export interface AccountsKeeperOptions {
  users: UserAdmin;
  /** Shared with whoever else changes users: one of them half made, with no rights yet, would be taken for one that is to have none. */
  inTurn: Queue;
  /** Users of the credentials as they are now: one that was dropped meanwhile is not made again. */
  known(): Credentials['users'] | undefined;
  log: Logger;
}

const LIMIT_MS = 20_000;
const RETRY_MS = 1000;
const REST_MS = 3_600_000;

export function keepAccounts({ users, inTurn, known, log }: AccountsKeeperOptions): AccountsKeeper {
  const stopping = new AbortController();
  let wanted: { accounts: WantedAccounts; mark: string } | undefined;
  let done: string | undefined;
  const bell = createBell(stopping.signal);
  let complaint = '';

  async function ensure({ database, users: credentials, followers }: WantedAccounts): Promise<void> {
    await users.keepFollowers(followers);
    await users.createDatabase(database);
    const present = new Map((await users.listUsers()).map((user) => [user.name, user.databases]));
    for (const [name, passwords] of Object.entries(known() ?? credentials)) {
      await users.ensureUser(name, passwords, present.get(name) ?? [database]);
    }
  }

  const running = (async () => {
    while (!stopping.signal.aborted) {
      const now = wanted;
      let pause = REST_MS;
      if (now !== undefined && now.mark !== done) {
        try {
          await within(
            inTurn(() => ensure(now.accounts)),
            LIMIT_MS,
            'making users and databases',
          );
          done = now.mark;
          complaint = '';
          const { database, users: made } = now.accounts;
          log.info({ database, users: Object.keys(made) }, 'users and databases are as they should be');
        } catch (error) {
          const text = messageOf(error);
          if (text !== complaint) log.warn({ err: text }, 'users and databases could not be made sure of');
          complaint = text;
          pause = RETRY_MS;
        }
      }
      await bell.wait(pause);
    }
  })();

  return {
    set(next) {
      const given = next && { accounts: next, mark: markOf(next) };
      if (given?.mark === wanted?.mark) return;
      wanted = given;
      bell.ring();
    },
    settled: () => wanted !== undefined && wanted.mark === done,
    async stop() {
      stopping.abort();
      await running;
    },
  };
}

/** Tells one state from another without keeping passwords in yet another place. */
function markOf(wanted: WantedAccounts): string {
  return createHash('sha256').update(JSON.stringify(wanted)).digest('hex');
}
