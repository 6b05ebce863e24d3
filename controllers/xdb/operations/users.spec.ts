import { describe, expect, it } from 'vitest';
import { AppError } from '#core/errors.ts';
import { listEvents } from '#pool/events.ts';
import { living, operationsWorld } from '#test/xdb-operations.ts';
import { readCredentials } from '#xdb/credentials.ts';
import {
  addDatabase,
  addUser,
  dropDatabase,
  dropUser,
  finishRotation,
  listDatabases,
  listUsers,
  rotateUser,
} from '#xdb/operations/users.ts';
import { dbUrl } from '#xdb/operations/view.ts';

const code = (wanted: string, message: RegExp = /./) => expect.objectContaining({ code: wanted, message: expect.stringMatching(message) });

/** adb, whose leader has an engine with users and databases, and gets the credentials two requests after Consul has them. */
async function adb() {
  const users = new Map<string, { databases: string[]; passwords: string[] }>();
  const databases = new Set(['adb']);
  let late = 0;
  const made = await operationsWorld({
    async admin({ member, method, path, body }) {
      expect(member).toBe('adb-1');
      const [, kind, raw = ''] = path.split(/[/?]/);
      const name = decodeURIComponent(raw);
      const handed = async (serial: number) => {
        const present = (await made.store.sealed.get('xcaas/db/adb/credentials'))?.value.serial ?? 0;
        expect(serial).toBe(present);
        if (late-- > 0) throw new AppError('conflict', 'the credentials of this member are not the newest yet');
        return (await readCredentials(made.deps, 'adb')).users[name] ?? [];
      };
      if (kind === 'databases') {
        if (method === 'GET') return [...databases].map((each) => ({ name: each, bytes: 0, tables: 0 }));
        if (method === 'PUT') databases.add(name);
        if (method === 'DELETE' && !databases.delete(name)) throw new AppError('not_found', `there is no database ${name}`);
        return {};
      }
      if (method === 'GET')
        return [...users].map(([each, is]) => ({ name: each, databases: is.databases, passwords: is.passwords.length }));
      if (method === 'PUT') {
        const wanted = body as { databases: string[]; serial: number };
        users.set(name, { databases: wanted.databases, passwords: await handed(wanted.serial) });
      } else {
        await handed(Number(new URLSearchParams(path.split('?')[1]).get('serial')));
        if (!users.delete(name)) throw new AppError('not_found', `there is no user ${name}`);
      }
      return {};
    },
  });
  await living(made);
  users.set('adb', { databases: ['adb'], passwords: (await readCredentials(made.deps, 'adb')).users.adb! });
  const { deps } = made;
  return { ...made, deps, users, databases, handedLate: (times: number) => (late = times) };
}

describe('users', () => {
  it('are added with a password that is kept, sealed, and said once more by the URL', async () => {
    const { deps, users, kv, handedLate } = await adb();
    handedLate(2);
    const made = await addUser(deps, 'adb', { user: 'app' });
    expect(made).toEqual({ name: 'app', databases: ['adb'], password: expect.stringMatching(/^[\w-]{32}$/) });
    expect(users.get('app')).toEqual({ databases: ['adb'], passwords: [made.password] });
    expect((await dbUrl(deps, 'adb', { replica: false, user: 'app' })).password).toBe(made.password);
    expect(JSON.stringify(await kv.kv.list('xcaas/'))).not.toContain(made.password);
    expect(await listUsers(deps, 'adb')).toEqual([
      { name: 'adb', databases: ['adb'], passwords: 1, own: true, rotating: false },
      { name: 'app', databases: ['adb'], passwords: 1, own: false, rotating: false },
    ]);
    // Again: the same password, other databases.
    await addDatabase(deps, 'adb', 'shop');
    expect(await addUser(deps, 'adb', { user: 'app', databases: ['shop'] })).toEqual({ ...made, databases: ['shop'] });
  });

  it('get a new password beside the old one, and then the new one alone', async () => {
    const { deps, users, handedLate } = await adb();
    const { password: first } = await addUser(deps, 'adb', { user: 'app' });
    handedLate(1);
    const { password: second } = await rotateUser(deps, 'adb', 'app');
    expect(second).not.toBe(first);
    // What the engine has now is of the credentials as they are now, not of those that it had before.
    expect(users.get('app')?.passwords).toEqual([second, first]);
    expect((await listUsers(deps, 'adb')).find(({ name }) => name === 'app')?.rotating).toBe(true);
    await expect(rotateUser(deps, 'adb', 'app')).rejects.toEqual(code('conflict', /old one is good still/));
    expect(users.get('app')?.passwords).toEqual([second, first]);
    handedLate(1);
    await finishRotation(deps, 'adb', 'app');
    expect(users.get('app')?.passwords).toEqual([second]);
    expect((await rotateUser(deps, 'adb', 'adb')).name).toBe('adb');
    const said = (await listEvents(deps.store.consul, { object: 'db/adb' })).map(({ sentence }) => sentence).join('\n');
    expect(said).toContain('app has a new password');
    for (const secret of [first, second]) expect(said).not.toContain(secret);
  });

  it('are dropped for good, but for the one of the URL', async () => {
    const { deps, users, handedLate } = await adb();
    await addUser(deps, 'adb', { user: 'app' });
    handedLate(1);
    await dropUser(deps, 'adb', 'app');
    expect([...users.keys()]).toEqual(['adb']);
    expect(Object.keys((await readCredentials(deps, 'adb')).users)).toEqual(['adb']);
    await expect(dropUser(deps, 'adb', 'app')).rejects.toEqual(code('not_found', /app/));
    await expect(dropUser(deps, 'adb', 'adb')).rejects.toEqual(code('conflict', /db url adb names/));
    // Written down, and never made: it goes all the same.
    await addUser(deps, 'adb', { user: 'lost' });
    users.delete('lost');
    await dropUser(deps, 'adb', 'lost');
  });

  it.each<[string, string, string[] | undefined, string, RegExp]>([
    ['a name that SQL would have to escape', 'A b', undefined, 'invalid', /small|lower case/],
    ['a name of the engine', 'root', undefined, 'invalid', /system’s own/],
    ['a name of the sidecar', 'xcaas_agent', undefined, 'invalid', /system’s own/],
    ['a database that is none', 'app', ['nope'], 'not_found', /no database nope/],
    ['a database that cannot be', 'app', ['mysql'], 'invalid', /engine’s own/],
  ])('refuses %s before anything is written', async (_, user, databases, wanted, message) => {
    const { deps, users } = await adb();
    await expect(addUser(deps, 'adb', { user, databases })).rejects.toEqual(code(wanted, message));
    expect(Object.keys((await readCredentials(deps, 'adb')).users)).toEqual(['adb']);
    expect([...users.keys()]).toEqual(['adb']);
  });

  it('of others are not rotated: their passwords are not kept here', async () => {
    const { deps, users } = await adb();
    users.set('foreign', { databases: [], passwords: ['x'] });
    await expect(rotateUser(deps, 'adb', 'foreign')).rejects.toEqual(code('not_found', /foreign/));
    await expect(finishRotation(deps, 'adb', 'nobody')).rejects.toEqual(code('not_found', /nobody/));
  });
});

describe('databases', () => {
  it('are added, listed and dropped, but for the one of the URL', async () => {
    const { deps, databases } = await adb();
    expect(await addDatabase(deps, 'adb', 'shop')).toEqual({ sentence: 'adb has a database shop' });
    expect((await listDatabases(deps, 'adb')).map(({ name, own }) => [name, own])).toEqual([
      ['adb', true],
      ['shop', false],
    ]);
    await dropDatabase(deps, 'adb', 'shop');
    expect([...databases]).toEqual(['adb']);
    await expect(dropDatabase(deps, 'adb', 'shop')).rejects.toEqual(code('not_found', /shop/));
    await expect(dropDatabase(deps, 'adb', 'adb')).rejects.toEqual(code('conflict', /db url adb names/));
    await expect(addDatabase(deps, 'adb', 'Shop;')).rejects.toEqual(code('invalid', /Shop;/));
    await expect(addDatabase(deps, 'adb', 'information_schema')).rejects.toEqual(code('invalid', /engine’s own/));
  });
});
