import { describe, expect, it } from 'vitest';
import { AppError } from '#core/errors.ts';
import { listEvents } from '#pool/events.ts';
import { living, operationsWorld as world } from '#test/xdb-operations.ts';
import { NOW, sidecar, sync } from '#test/xdb-world.ts';
import { readCredentials } from '#xdb/credentials.ts';
import type { UpstreamFacts } from '#xdb/engine/engine.ts';
import { createDb } from '#xdb/operations/create.ts';
import { cutoverDb } from '#xdb/operations/cutover.ts';
import { destroyDb, undestroyDb } from '#xdb/operations/destroy.ts';
import { dbUrl, dbView } from '#xdb/operations/view.ts';
import { serverIdOf } from '#xdb/sidecar/server-id.ts';
import { dbKeys } from '#xdb/store.ts';
import type { UpstreamStanding } from '#xdb/upstream/standing.ts';

const code = (wanted: string, message: RegExp = /./, hint: RegExp = /./) =>
  expect.objectContaining({ code: wanted, message: expect.stringMatching(message), hint: expect.stringMatching(hint) });
const facts: UpstreamFacts = {
  flavor: 'mariadb',
  version: '10.11.14-MariaDB',
  serverId: 1,
  binlog: true,
  binlogFormat: 'MIXED',
  unreadable: [],
  tls: true,
  readOnly: false,
  lowerCaseTables: '0',
  missing: [],
  databases: ['shop'],
  otherEngines: [],
  unreadableTables: [],
};
const OUTSIDE = 'mysql://mig:geheim@old.example:3306';
const slave = (masterUrl: string, more: Record<string, string> = {}) => ({ role: 'slave', 'master-url': masterUrl, ...more });
type Made = Awaited<ReturnType<typeof world>>;
const keysOf = ({ kv }: Made) => kv.keys().filter((key) => key.startsWith('xcaas/db/bdb/'));

describe('a slave of an outside server', () => {
  it('is written with its account sealed, the database of its master, and encryption where there is any', async () => {
    const made = await world({ master: async () => facts });
    const spec = await createDb(made.deps, { name: 'bdb', options: slave(OUTSIDE) });
    expect(spec).toMatchObject({
      ...{ role: 'slave', database: 'shop', user: 'bdb', members: [{ id: 'bdb-1' }] },
      upstream: { host: 'old.example', port: 3306, tls: true },
    });
    expect((await readCredentials(made.deps, 'bdb')).upstream).toEqual({ user: 'mig', password: 'geheim' });
    const everything = JSON.stringify([
      await Promise.all(made.kv.keys().map((key) => made.kv.kv.get(key))),
      await listEvents(made.store.consul, {}),
    ]);
    expect(everything).not.toContain('geheim');
    // Again: its master may be gone by now, and is not asked.
    made.deps.inspectMaster = () => Promise.reject(new Error('asked'));
    expect(await createDb(made.deps, { name: 'bdb', options: slave(OUTSIDE) })).toEqual(spec);
    await expect(createDb(made.deps, { name: 'bdb', options: slave('mysql://mig:geheim@new.example') })).rejects.toEqual(
      code('conflict', /master: new\.example:3306 instead of old\.example:3306/),
    );
  });

  it.each<[string, Partial<UpstreamFacts>, Record<string, string>, string, RegExp]>([
    ['no binlog', { binlog: false }, {}, 'invalid', /no binlog/],
    ['a server that is too new', { version: '12.1.2-MariaDB' }, {}, 'invalid', /12\.1\.2/],
    ['an account that may not enough', { missing: ['REPLICATION SLAVE'] }, {}, 'forbidden', /REPLICATION SLAVE/],
    ['the number of a member', { serverId: serverIdOf('bdb', 'bdb-2') }, {}, 'invalid', /server_id/],
    ['no encryption where it is asked for', { tls: false }, { 'master-tls': 'required' }, 'invalid', /no encrypted/],
    ['a word for encryption that is none', {}, { 'master-tls': 'maybe' }, 'invalid', /master-tls=maybe/],
  ])('is refused with %s before anything is written', async (_, change, more, wanted, message) => {
    const made = await world({ master: async () => ({ ...facts, ...change }) });
    await expect(createDb(made.deps, { name: 'bdb', options: slave(OUTSIDE, more) })).rejects.toEqual(code(wanted, message));
    expect(keysOf(made)).toEqual([]);
  });

  it('is refused when nobody answers, or lets it in, or the database it names is not there', async () => {
    const silent = await world();
    await expect(createDb(silent.deps, { name: 'bdb', options: slave(OUTSIDE) })).rejects.toEqual(
      code('unavailable', /old\.example:3306 cannot be reached/, /host and port/),
    );
    const shut = await world({
      master: () => Promise.reject(new AppError('forbidden', 'old.example:3306 refuses the user mig: access denied', { hint: 'check' })),
    });
    await expect(createDb(shut.deps, { name: 'bdb', options: slave(OUTSIDE) })).rejects.toEqual(code('forbidden', /access denied/));
    const other = await world({ master: async () => facts });
    await expect(createDb(other.deps, { name: 'bdb', options: slave(`${OUTSIDE}/crm`) })).rejects.toEqual(
      code('invalid', /no database crm/, /shop/),
    );
    for (const made of [silent, shut, other]) expect(keysOf(made)).toEqual([]);
  });

  it('is looked at from a member on its network when this host does not reach it', async () => {
    const asked: unknown[] = [];
    const made = await world({
      admin({ path, body }) {
        if (path !== '/inspect-upstream') return {};
        asked.push(body);
        return facts;
      },
    });
    await living(made);
    const spec = await createDb(made.deps, { name: 'bdb', options: slave(OUTSIDE, { 'master-tls': 'off' }) });
    expect(spec.upstream).toMatchObject({ host: 'old.example' });
    expect(asked).toEqual([{ host: 'old.example', port: 3306, user: 'mig', password: 'geheim', tls: false }]);
  });
});

/** bdb follows adb. */
async function following(standing: Partial<UpstreamStanding> = {}): Promise<Made> {
  const made = await world({
    admin: ({ path }) =>
      path === '/upstream'
        ? {
            following: true,
            lagSeconds: 0,
            broken: null,
            answers: true,
            reached: true,
            missing: 0,
            readOnly: true,
            error: null,
            ...standing,
          }
        : {},
  });
  await living(made);
  const { url } = await dbUrl(made.deps, 'adb', { replica: false });
  await createDb(made.deps, { name: 'bdb', options: slave(url) });
  await made.store.syncs.cas(dbKeys('bdb').sync, sync('bdb-1', null), 0);
  const session = await made.kv.session.create({ name: 's', ttlSeconds: 3, behavior: 'delete' });
  const status = sidecar('bdb-1', 'master', { node: 'host-3', lagSeconds: 3, readOnly: true });
  await made.kv.kv.acquire(dbKeys('bdb').member('bdb-1'), JSON.stringify(status), session);
  return made;
}

describe('a slave of a database of ours', () => {
  it('has the users and the database of its master, and an account of its own there', async () => {
    const made = await following();
    const [ours, theirs] = [await readCredentials(made.deps, 'bdb'), await readCredentials(made.deps, 'adb')];
    expect(ours.users).toEqual(theirs.users);
    expect(ours.upstream).toMatchObject({
      user: 'xcaas_follow_bdb',
      password: theirs.followers?.bdb,
      peerSecret: expect.stringMatching(/./),
    });
    expect((await made.store.spec('bdb')).value).toMatchObject({ database: 'adb', upstream: { ours: 'adb', tls: true } });
    expect(await dbView(made.deps, 'bdb')).toMatchObject({
      master: null,
      follows: { database: 'adb', host: 'adb', port: 3306, lagSeconds: 3 },
      members: [{ id: 'bdb-1', role: 'slave' }],
    });
  });

  it.each<[string, (url: string) => Record<string, string>, Record<string, string>, string, RegExp]>([
    ['a wrong password', (url) => slave(url.replace(/:[^:@]+@/, ':wrong@')), {}, 'forbidden', /adb refuses the user adb: access denied/],
    ['another network', slave, { network: 'other' }, 'invalid', /adb is on the network xcaas/],
  ])('is refused with %s', async (_, options, more, wanted, message) => {
    const made = await world();
    await living(made);
    const { url } = await dbUrl(made.deps, 'adb', { replica: false });
    await expect(createDb(made.deps, { name: 'bdb', options: options(url), ...more })).rejects.toEqual(code(wanted, message));
    expect(keysOf(made)).toEqual([]);
    expect((await readCredentials(made.deps, 'adb')).followers).toBeUndefined();
  });

  it('of a slave is refused; and its master is not destroyed while it follows', async () => {
    const made = await following();
    const { url } = await dbUrl(made.deps, 'bdb', { replica: false });
    await expect(createDb(made.deps, { name: 'cdb', options: slave(url) })).rejects.toEqual(
      code('conflict', /bdb is itself a slave/, /cutover bdb/),
    );
    await expect(destroyDb(made.deps, 'adb', { keepData: false, purge: false })).rejects.toEqual(code('in_use', /bdb follows adb/));
  });

  it('loses its account when it is destroyed, and has it again when it is brought back', async () => {
    const made = await following();
    const before = (await readCredentials(made.deps, 'adb')).followers;
    await destroyDb(made.deps, 'bdb', { keepData: false, purge: false });
    expect((await readCredentials(made.deps, 'adb')).followers).toEqual({});
    await undestroyDb(made.deps, 'bdb');
    expect((await readCredentials(made.deps, 'adb')).followers).toEqual(before);
    expect(before?.bdb).toMatch(/./);
  });
});

describe('cutover', () => {
  it('makes it a pair of its own, and its master forgets it', async () => {
    const made = await following();
    const done = await cutoverDb(made.deps, 'bdb');
    expect(done).toMatchObject({ sentence: expect.stringContaining('no longer follows adb'), warning: undefined });
    expect((await made.store.spec('bdb')).value).toMatchObject({ role: 'pair' });
    expect((await made.store.spec('bdb')).value.upstream).toBeUndefined();
    expect((await readCredentials(made.deps, 'bdb')).upstream).toBeUndefined();
    expect((await readCredentials(made.deps, 'adb')).followers).toEqual({});
    await expect(cutoverDb(made.deps, 'bdb')).rejects.toEqual(code('conflict', /follows no other database/));
    await destroyDb(made.deps, 'adb', { keepData: false, purge: false });
  });

  it('warns of a master that still takes writes', async () => {
    const made = await following({ readOnly: false });
    expect((await cutoverDb(made.deps, 'bdb')).warning).toMatch(/adb still takes writes/);
  });

  it.each<[string, Partial<UpstreamStanding>, string, RegExp, RegExp]>([
    ['it lags, saying by how much', { lagSeconds: 41.4 }, 'conflict', /bdb-1 is 41 s behind adb/, /5 s/],
    [
      'it does not follow, saying why',
      { following: false, broken: 'row not found' },
      'conflict',
      /does not follow adb: row not found/,
      /status/,
    ],
    ['its master does not answer', { answers: false, error: 'connection refused' }, 'unavailable', /connection refused/, /--master-lost/],
  ])('is refused while %s', async (_, standing, wanted, message, hint) => {
    const made = await following(standing);
    await expect(cutoverDb(made.deps, 'bdb')).rejects.toEqual(code(wanted, message, hint));
    expect((await made.store.spec('bdb')).value.role).toBe('slave');
  });

  it('is refused when its master goes on faster than it follows, saying how many transactions are missing', async () => {
    const made = await following({ reached: false, missing: 17 });
    let now = NOW.getTime();
    made.deps.now = () => {
      now += 20_000;
      return new Date(now);
    };
    await expect(cutoverDb(made.deps, 'bdb')).rejects.toEqual(code('conflict', /lacks 17 transactions of adb/, /stop writing/));
  });

  it('of one whose master is lost takes what was received, and not while that answers', async () => {
    const alive = await following();
    await expect(cutoverDb(alive.deps, 'bdb', { masterLost: true })).rejects.toEqual(code('conflict', /it answers/));
    const lost = await following({ following: false, answers: false, reached: false, error: 'no route' });
    expect((await cutoverDb(lost.deps, 'bdb', { masterLost: true })).sentence).toMatch(/said to be lost/);
  });

  it('is refused before the copy is complete', async () => {
    const made = await world({ master: async () => facts });
    await createDb(made.deps, { name: 'bdb', options: slave(OUTSIDE) });
    await expect(cutoverDb(made.deps, 'bdb')).rejects.toEqual(code('conflict', /copy of old\.example:3306 is not complete/));
  });
});
