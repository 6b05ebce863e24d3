import { describe, expect, it, onTestFinished } from 'vitest';
import { silentLogger } from '#core/log.ts';
import { createQueue, type Queue } from '#core/queue.ts';
import { sleep, waitFor } from '#core/sleep.ts';
import type { CredentialsSource } from '#member/credentials.ts';
import type { UserAdmin } from '#xdb/engine/engine.ts';
import type { Credentials } from '#xdb/schema.ts';
import { keepAccounts } from './accounts.ts';
import { userRoutes } from './user-routes.ts';

/** As the engine has it: a user is made first, and gets its rights by the next statement. */
function engine() {
  const users = new Map<string, string[]>();
  const admin: UserAdmin = {
    keepFollowers: async () => undefined,
    listUsers: async () => [...users].map(([name, databases]) => ({ name, databases: [...databases], passwords: 1 })),
    async ensureUser(name, _passwords, databases) {
      await sleep(5);
      users.set(name, users.get(name) ?? []);
      await sleep(20);
      users.set(name, [...databases]);
    },
    async dropUser(name) {
      await sleep(20);
      users.delete(name);
    },
    listDatabases: async () => [],
    createDatabase: async () => sleep(10),
    dropDatabase: async () => undefined,
  };
  return { admin, users };
}

/** The leader's sidecar, whose credentials change while the API asks it. */
function sidecar(inTurn: Queue = createQueue()) {
  const { admin, users } = engine();
  let credentials = { serial: 1, users: { own: ['a'] } } as unknown as Credentials;
  const source = { refresh: async () => undefined, current: () => credentials } as unknown as CredentialsSource<Credentials>;
  const keeper = keepAccounts({ users: admin, inTurn, known: () => credentials.users, log: silentLogger() });
  onTestFinished(() => keeper.stop());
  const routes = userRoutes({ users: admin, inTurn, credentials: source, writes: () => true, leader: () => undefined });
  const turn = (known = credentials.users) => keeper.set({ where: 'here 1', database: 'adb', users: known, followers: {} });
  return {
    ...{ users, turn },
    become(next: Record<string, string[]>) {
      credentials = { ...credentials, serial: (credentials.serial ?? 0) + 1, users: next };
    },
    async ask(method: 'PUT' | 'DELETE', name: string, databases: string[] = []) {
      const { serial } = credentials;
      const route = routes.find((each) => each.method === method && each.path === '/users/:name')!;
      const query = new URLSearchParams({ serial: String(serial) });
      await route.handle({ params: { name }, query, body: { databases, serial } } as unknown as Parameters<typeof route.handle>[0]);
    },
    settled: () => waitFor(async () => (keeper.settled() ? true : undefined), { timeoutMs: 5000, intervalMs: 2 }),
  };
}

describe('users of a database', () => {
  it.each([0, 5, 10, 15, 20, 25])('that is made by the API keeps its rights, though its sidecar looks %d ms later', async (ms) => {
    const { users, turn, become, ask, settled } = sidecar();
    turn();
    await settled();
    become({ own: ['a'], app: ['b'] });
    const asked = ask('PUT', 'app', ['shop']);
    await sleep(ms);
    turn();
    await asked;
    await settled();
    expect(Object.fromEntries(users)).toEqual({ own: ['adb'], app: ['shop'] });
  });

  it('that is dropped is not made again by a sidecar whose turn began before', async () => {
    const { users, turn, become, ask, settled } = sidecar();
    const before = { own: ['a'], app: ['b'] };
    become(before);
    turn();
    await settled();
    become({ own: ['c'] });
    const asked = ask('DELETE', 'app');
    await sleep(1);
    turn({ ...before, own: ['c'] });
    await asked;
    await settled();
    expect([...users.keys()]).toEqual(['own']);
  });
});
