import { describe, expect, it } from 'vitest';
import { AppError } from '#core/errors.ts';
import { listEvents } from '#pool/events.ts';
import { cacheWorld, livingCache } from '#test/xcache-operations.ts';
import { said } from '#test/xcache-world.ts';
import type { CacheBackupRecord } from '#xcache/backup/schema.ts';
import { cacheVault } from '#xcache/credentials.ts';
import type { ClusterRecord } from '#xcache/schema.ts';
import { cacheKeys } from '#xcache/store.ts';
import { createBackup, deleteBackup, listBackups, readBackup, setBackupPlan, verifyBackup } from './backups.ts';
import { destroyCache } from './destroy.ts';
import { reportBigKeys, reportHotKeys, reportSlowLog } from './reports.ts';
import { restoreCache } from './restore.ts';
import { addUser, dropUser, finishRotation, listUsers, rotateUser } from './users.ts';
import { cacheUrl } from './view.ts';

const code = (wanted: string, message: RegExp = /./) => expect.objectContaining({ code: wanted, message: expect.stringMatching(message) });
const ID = '20260101-020000-abcd';
const DONE: CacheBackupRecord = {
  ...{ v: 1, id: ID, cache: 'acache', kind: 'full', by: 'user', state: 'done', member: 'acache-2', created: '2026-01-01T02:00:00.000Z' },
  ...{
    bytes: 70,
    store: 'volume',
    history: 'h',
    engine: 'valkey',
    engineVersion: '9.1.2',
    usedBytes: 1000,
    finished: '2026-01-01T02:00:01.000Z',
  },
};
async function world(change: Parameters<typeof cacheWorld>[0] = {}) {
  const made = await cacheWorld(change);
  await livingCache(made);
  const put = (record: Partial<CacheBackupRecord>) =>
    made.kv.kv.put(cacheKeys('acache').backup(record.id ?? ID), JSON.stringify({ ...DONE, ...record }));
  return { ...made, put };
}

/** A cluster, and its record. */
async function clusterOf() {
  const made = await cacheWorld();
  const sidecars = ['master', 'replica'].map((role, index) =>
    said(`acache-${index + 1}`, role as 'master' | 'replica', { node: `host-${index + 1}` }),
  );
  await livingCache(made, { request: { mode: 'cluster', shards: 3 }, sidecars });
  const record: ClusterRecord = {
    ...{ v: 1, born: true, nodes: {}, holder: 'acache-2', state: 'whole', sentence: 'every slot is served', slots: {}, emptied: [] },
  };
  return {
    ...made,
    put: (change: Partial<CacheBackupRecord>) =>
      made.kv.kv.put(cacheKeys('acache').backup(ID), JSON.stringify({ ...DONE, shards: 3, shardBytes: 400, ...change })),
    cluster: (change: Partial<ClusterRecord>, name = 'acache') =>
      made.kv.kv.put(cacheKeys(name).cluster, JSON.stringify({ ...record, ...change })),
  };
}

describe('users of a cache', () => {
  it('are made with what they may do, and every member is asked whether it has them', async () => {
    const { deps, asked } = await world();
    const made = await addUser(deps, 'acache', { user: 'reader', readOnly: true, keys: ['shop:*'] });
    expect(made.password).toMatch(/^[\w-]{32}$/);
    expect(
      asked
        .filter(({ path }) => path === '/credentials')
        .map(({ member }) => member)
        .toSorted(),
    ).toEqual(['acache-1', 'acache-2']);
    expect(await listUsers(deps, 'acache')).toContainEqual({
      name: 'reader',
      readOnly: true,
      keys: ['shop:*'],
      own: false,
      rotating: false,
    });
    expect((await cacheUrl(deps, 'acache', 'reader')).password).toBe(made.password);
    // Again: other rights, the same password.
    expect(await addUser(deps, 'acache', { user: 'reader' })).toMatchObject({ password: made.password, readOnly: false, keys: [] });
    expect((await cacheVault.read(deps, 'acache')).access).toEqual({});
    await expect(addUser(deps, 'acache', { user: 'acache', readOnly: true })).rejects.toEqual(code('conflict', /may do everything/));
    await expect(addUser(deps, 'acache', { user: 'default' })).rejects.toEqual(code('invalid', /default/));
    await expect(addUser(deps, 'acache', { user: 'A b' })).rejects.toEqual(code('invalid'));
    await expect(addUser(deps, 'acache', { user: 'x', keys: ['a b'] })).rejects.toEqual(code('invalid'));
  });

  it('have two passwords while one is changed, never three', async () => {
    const { deps } = await world();
    const [before] = (await cacheVault.read(deps, 'acache')).users.acache ?? [];
    const { password } = await rotateUser(deps, 'acache', 'acache');
    expect((await cacheVault.read(deps, 'acache')).users.acache).toEqual([password, before]);
    await expect(rotateUser(deps, 'acache', 'acache')).rejects.toMatchObject({
      code: 'conflict',
      hint: expect.stringContaining('--finish'),
    });
    await finishRotation(deps, 'acache', 'acache');
    expect((await cacheVault.read(deps, 'acache')).users.acache).toEqual([password]);
    await expect(dropUser(deps, 'acache', 'acache')).rejects.toEqual(code('conflict', /cache url/));
    await expect(dropUser(deps, 'acache', 'nobody')).rejects.toEqual(code('not_found', /no user/));
    const events = await listEvents(deps.store.consul, {});
    expect(JSON.stringify(events)).not.toContain(password);
  });
});

describe('reports', () => {
  it('of large keys are asked of a replica, those of what happens of the master', async () => {
    const { deps, asked } = await world({ admin: () => ({ commands: [], keys: [] }) });
    await reportBigKeys(deps, 'acache', { limit: 3 });
    await reportHotKeys(deps, 'acache', { member: undefined });
    await reportSlowLog(deps, 'acache', { member: 'acache-2', count: 5 });
    expect(asked.map(({ member, path }) => `${member} ${path}`)).toEqual([
      'acache-2 /report/big-keys?limit=3',
      'acache-1 /report/hot-keys?',
      'acache-2 /report/slow-log?count=5',
    ]);
    await expect(reportSlowLog(deps, 'acache', { member: 'acache-9' })).rejects.toEqual(code('not_found'));
  });
});

describe('backups of a cache', () => {
  it('are asked for, one at a time, and deleted by who has them', async () => {
    const { deps, put, kv } = await world();
    const asked = await createBackup(deps, 'acache');
    expect(asked).toMatchObject({ state: 'asked', store: 'volume', by: 'user' });
    await expect(createBackup(deps, 'acache')).rejects.toEqual(code('conflict', /is being made/));
    // Nobody has begun with it.
    await deleteBackup(deps, 'acache', asked.id);
    expect(kv.keys().some((key) => key.includes('/backups/'))).toBe(false);
    await expect(verifyBackup(deps, 'acache', undefined)).rejects.toEqual(code('not_found', /no complete backup/));
    await put({});
    expect((await verifyBackup(deps, 'acache', undefined)).verify?.state).toBe('asked');
    await deleteBackup(deps, 'acache', ID);
    expect((await readBackup(deps, 'acache', ID)).state).toBe('deleting');
    await expect(readBackup(deps, 'acache', 'nope')).rejects.toEqual(code('not_found', /no backup/));
    expect((await listBackups(deps, 'acache')).plan).toEqual({ store: 'volume', schedule: null, keep: 7, verify: null });
  });

  it('have a plan: a store is tried out before anything is written, and its secret is sealed', async () => {
    const { deps, asked, kv } = await world({
      admin: ({ path, body }) => {
        if (path === '/backup/probe' && JSON.stringify(body).includes('bad')) throw new AppError('forbidden', 'the store refuses it');
        return {};
      },
    });
    await expect(setBackupPlan(deps, 'acache', {})).rejects.toEqual(code('usage'));
    await expect(setBackupPlan(deps, 'acache', { schedule: 'daily' })).rejects.toEqual(code('invalid', /no schedule/));
    await expect(setBackupPlan(deps, 'acache', { store: 'ftp://x/y' })).rejects.toEqual(code('invalid'));
    await expect(setBackupPlan(deps, 'acache', { store: 's3://key:bad@host/b' })).rejects.toEqual(code('forbidden'));
    expect((await deps.store.spec('acache')).value.backup.store).toBe('volume');
    const done = await setBackupPlan(deps, 'acache', { store: 's3://key:secret@host/b', schedule: '15 2 * * *', keep: 3 });
    expect(done.sentence).toBe('backups of acache go to s3://host/b at "15 2 * * *" (UTC), 3 are kept');
    expect(asked.at(-1)).toMatchObject({ member: 'acache-1', path: '/backup/probe' });
    expect((await cacheVault.read(deps, 'acache')).store).toEqual({ user: 'key', secret: 'secret' });
    expect(JSON.stringify(await Promise.all(kv.keys().map((key) => kv.kv.get(key))))).not.toContain('secret@');
  });

  it('of a cluster are asked for while each slot is somebody’s, and a store is tried out by a member of it', async () => {
    const { deps, asked, cluster } = await clusterOf();
    await cluster({ born: false, state: 'forming', sentence: 'members are being introduced' });
    await expect(createBackup(deps, 'acache')).rejects.toEqual(code('unavailable', /members are being introduced/));
    await cluster({ state: 'down', sentence: '5461 slots are served by nobody' });
    await expect(createBackup(deps, 'acache')).rejects.toEqual(code('unavailable', /5461 slots are served by nobody/));
    await cluster({});
    expect(await createBackup(deps, 'acache')).toMatchObject({ state: 'asked' });
    await setBackupPlan(deps, 'acache', { store: 's3://key:secret@host/b' });
    expect(asked.at(-1)).toMatchObject({ member: 'acache-2', path: '/backup/probe' });
  });
});

describe('a restore', () => {
  it('makes a new cache like the other one, with its users and the secrets that it needs', async () => {
    const { deps, put } = await world();
    await addUser(deps, 'acache', { user: 'reader', readOnly: true });
    await put({});
    expect(await restoreCache(deps, { name: 'bcache', from: 'acache' })).toMatchObject({ sentence: expect.stringContaining(ID) });
    const { value } = await deps.store.spec('bcache');
    expect(value).toMatchObject({
      origin: { from: 'acache', backup: ID, store: 'volume', history: 'h' },
      user: 'acache',
      mode: 'replicated',
    });
    const [theirs, ours] = await Promise.all(['acache', 'bcache'].map((name) => cacheVault.read(deps, name)));
    expect(ours?.users).toEqual(theirs?.users);
    expect(ours?.access).toEqual(theirs?.access);
    expect(ours?.agent).not.toBe(theirs?.agent);
    expect(ours?.origin).toMatchObject({ backupKeys: theirs?.backupKeys, peerSecret: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect(JSON.stringify(ours)).not.toContain(theirs?.agent);
    expect((await cacheUrl(deps, 'bcache', undefined)).user).toBe('acache');
    // Again it finds what it made; over another one it never goes.
    expect(await restoreCache(deps, { name: 'bcache', from: 'acache' })).toMatchObject({ name: 'bcache' });
    await expect(restoreCache(deps, { name: 'acache', from: 'acache' })).rejects.toEqual(code('conflict', /no restored one/));
    await expect(deleteBackup(deps, 'acache', ID)).rejects.toEqual(code('in_use', /bcache/));
  });

  it.each([
    ['another engine', {}, { options: { engine: 'redis' } }, 'invalid', /made by valkey 9\.1\.2, and bcache is redis/],
    ['too little memory', { usedBytes: 2 ** 30 }, {}, 'invalid', /has room for/],
    ['a backup that is not complete', { state: 'running' }, { backup: ID }, 'conflict', /not complete/],
    ['a backup that is not there', {}, { backup: '20260101-020000-ffff' }, 'not_found', /no backup/],
    ['a network from which the volumes cannot be reached', {}, { network: 'other' }, 'invalid', /on the network xcaas/],
    ['a setting that cannot be', {}, { options: { 'param.appendonly': 'yes' } }, 'invalid', /appendonly/],
  ] as const)('is refused for %s before anything is written', async (_, record, request, wanted, message) => {
    const { deps, put, kv } = await world();
    await put(record);
    await expect(restoreCache(deps, { name: 'bcache', from: 'acache', ...request })).rejects.toEqual(code(wanted, message));
    expect(kv.keys().filter((key) => key.startsWith('xcaas/cache/bcache/'))).toEqual([]);
  });

  it('of a cluster makes one of as many shards, however many the other one has by now', async () => {
    const { deps, put, cluster } = await clusterOf();
    await put({ shards: 5 });
    await restoreCache(deps, { name: 'bcache', from: 'acache', shards: undefined });
    expect((await deps.store.spec('bcache')).value).toMatchObject({ mode: 'cluster', shards: 5, replicas: 1, origin: { backup: ID } });
    // Until its slots are given out it needs the backup.
    await expect(deleteBackup(deps, 'acache', ID)).rejects.toEqual(code('in_use', /bcache/));
    await cluster({}, 'bcache');
    expect((await deleteBackup(deps, 'acache', ID)).sentence).toContain('is to be deleted');
  });

  it.each([
    ['another number of shards', { shards: 5 }, /is of a cluster of 3 shards, and bcache is to have 5/, /cache scale bcache --shards 5/],
    ['another mode', { mode: 'replicated' }, /is of a cluster of 3 shards, and bcache is replicated/, /leave --mode away/],
    ['too little memory for a shard', { memoryBytes: 200 * 2 ** 20 }, /a shard of the backup .* took/, /--memory/],
  ] as const)('of a cluster is refused for %s before anything is written', async (_, request, message, hint) => {
    const { deps, put, kv } = await clusterOf();
    await put({ shardBytes: 2 ** 28 });
    await expect(restoreCache(deps, { name: 'bcache', from: 'acache', ...request })).rejects.toMatchObject({
      ...{ code: 'invalid', message: expect.stringMatching(message), hint: expect.stringMatching(hint) },
    });
    expect(kv.keys().filter((key) => key.startsWith('xcaas/cache/bcache/'))).toEqual([]);
  });

  it('of a cache with one master is none of a cluster', async () => {
    const { deps, put } = await world();
    await put({});
    await expect(restoreCache(deps, { name: 'bcache', from: 'acache', mode: 'cluster' })).rejects.toEqual(
      code('invalid', /of a cache with one master, and bcache is a cluster/),
    );
  });

  it('of one that was destroyed is possible from a store of its own only', async () => {
    const { deps, put } = await world();
    await put({});
    await destroyCache(deps, 'acache', { keepData: false, purge: false });
    await expect(restoreCache(deps, { name: 'bcache', from: 'acache' })).rejects.toMatchObject({
      code: 'conflict',
      hint: 'cache undestroy acache',
    });
    await put({ store: 's3://host/b' });
    expect(await restoreCache(deps, { name: 'bcache', from: 'acache' })).toMatchObject({ name: 'bcache' });
  });
});
