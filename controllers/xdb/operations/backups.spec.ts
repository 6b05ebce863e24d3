import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { placeOf } from '#backup/place.ts';
import { startWebHdfs, type WebHdfsServer } from '#backup/spec-lib/webhdfs-server.ts';
import { putText } from '#backup/stores/store.ts';
import { AppError } from '#core/errors.ts';
import { listEvents } from '#pool/events.ts';
import { operationsWorld as inMemory, living, type World } from '#test/xdb-operations.ts';
import { ago, sidecar, sync } from '#test/xdb-world.ts';
import { fullKeys } from '#xdb/backup/catalog.ts';
import type { BackupMarker, BackupRecord } from '#xdb/backup/schema.ts';
import { readCredentials } from '#xdb/credentials.ts';
import { keepBackups } from '#xdb/kept-backups.ts';
import { dbKeys } from '../store.ts';
import { setBackupPlan } from './backup-plan.ts';
import { createBackup, deleteBackup, listBackups, listKeptBackups, verifyBackup } from './backups.ts';
import { createDb } from './create.ts';
import { destroyDb } from './destroy.ts';
import { restoreDb } from './restore.ts';
import { dbView } from './view.ts';

const code = (wanted: string, message: RegExp = /./) => expect.objectContaining({ code: wanted, message: expect.stringMatching(message) });
const ID = '20260101-020000-abcd';
const record = (change: Partial<BackupRecord> = {}): BackupRecord => ({
  ...{ v: 1, id: ID, db: 'adb', kind: 'full', by: 'user', state: 'done', created: '2026-01-01T02:00:00Z', bytes: 7, store: 'volume' },
  ...{ member: 'adb-2', finished: '2026-01-01T02:01:00Z', gtid: '0-1-5', at: 1767232800 },
  ...change,
});
const put = ({ store }: World, ...records: BackupRecord[]) =>
  Promise.all(records.map((each) => store.backups.cas(dbKeys('adb').backup(each.id), each, 0)));
const get = async ({ store }: World, id = ID) => (await store.backups.get(dbKeys('adb').backup(id)))?.value;
const S3 = 's3://AK:very-secret@store.example/b';
const reasons = async ({ deps }: World) => (await listEvents(deps.store.consul)).map(({ reason }) => reason);

/** A pool whose sidecars answer what they are told here. */
const world = (answers: Record<string, unknown> = {}) =>
  inMemory({
    admin({ member, method, path }) {
      const answer = answers[`${member} ${method} ${path}`] ?? answers[`${method} ${path}`] ?? {};
      if (answer instanceof Error) throw answer;
      return answer;
    },
  });
const CHOICE = { backup: ID, gtid: '0-1-9', store: 'volume', history: 'h' };

describe('a backup', () => {
  it('is asked for by a record, one at a time, where somebody leads', async () => {
    const made = await world();
    await living(made);
    const asked = await createBackup(made.deps, 'adb');
    expect(asked).toMatchObject({
      state: 'asked',
      by: 'user',
      store: 'volume',
      id: expect.stringMatching(/^20260101-120000-[0-9a-f]{4}$/),
    });
    expect(await get(made, asked.id)).toMatchObject({ state: 'asked', db: 'adb' });
    expect((await readCredentials(made.deps, 'adb')).backupKeys).toHaveLength(1);
    await expect(createBackup(made.deps, 'adb')).rejects.toEqual(code('conflict', /is being made/));
    const promoting = await world();
    await living(promoting, { sync: sync('adb-2', null, { state: 'promoting' }) });
    await expect(createBackup(promoting.deps, 'adb')).rejects.toEqual(code('unavailable', /nobody leads/));
    await expect(createBackup(made.deps, 'nothing')).rejects.toEqual(code('not_found'));
  });

  it('is listed with what can be restored, or why that is not known', async () => {
    const windows = [{ from: 1767232801, to: 1767236400, store: 'volume' }];
    const made = await world({ 'adb-1 GET /backup/windows': { windows } });
    await living(made);
    expect(await listBackups(made.deps, 'adb')).toMatchObject({
      backups: [],
      windows: [],
      plan: { store: 'volume', keep: 7, schedule: null },
    });
    await put(made, record(), record({ id: '20260101-010000-abcd', state: 'failed', error: 'the disk is full' }));
    expect(await listBackups(made.deps, 'adb')).toMatchObject({
      windows: [{ from: '2026-01-01T02:00:01Z', to: '2026-01-01T03:00:00Z' }],
      backups: [
        { state: 'failed', sentence: expect.stringContaining('the disk is full') },
        { id: ID, sentence: expect.stringContaining('volume of adb-2') },
      ],
    });
    const mute = await world({ 'GET /backup/windows': new AppError('unavailable', 'it is down') });
    await living(mute);
    await put(mute, record());
    expect(await listBackups(mute.deps, 'adb')).toMatchObject({
      windows: null,
      note: expect.stringMatching(/not known.*it is down/),
      backups: [{ id: ID }],
    });
  });

  it('is verified when it is whole: the newest one, or the one that is named', async () => {
    const made = await world();
    await living(made);
    await expect(verifyBackup(made.deps, 'adb', undefined)).rejects.toEqual(code('not_found', /no complete backup/));
    await put(made, record(), record({ id: '20260102-010000-abcd', state: 'failed' }));
    expect(await verifyBackup(made.deps, 'adb', undefined)).toMatchObject({ id: ID, verify: { state: 'asked' } });
    expect(await get(made)).toMatchObject({ verify: { state: 'asked' } });
    await expect(verifyBackup(made.deps, 'adb', '20260102-010000-abcd')).rejects.toEqual(code('conflict', /failed/));
    await expect(verifyBackup(made.deps, 'adb', 'none')).rejects.toEqual(code('not_found', /"none"/));
  });

  it('is deleted by whom it lies with; not while it is made, nor while a database is restored from it', async () => {
    const made = await world({ 'POST /backup/choose': CHOICE });
    await living(made);
    await put(
      made,
      record(),
      record({ id: '20260102-010000-abcd', state: 'running' }),
      record({ id: '20260103-010000-abcd', state: 'asked', member: undefined }),
    );
    await expect(deleteBackup(made.deps, 'adb', '20260102-010000-abcd')).rejects.toEqual(code('conflict', /is being made/));
    await deleteBackup(made.deps, 'adb', '20260103-010000-abcd');
    expect(await get(made, '20260103-010000-abcd')).toBeUndefined();
    await restoreDb(made.deps, { name: 'new', from: 'adb' });
    await expect(deleteBackup(made.deps, 'adb', ID)).rejects.toEqual(code('in_use', /new is being restored/));
    await expect(destroyDb(made.deps, 'adb', { keepData: false, purge: true })).rejects.toEqual(code('in_use', /new/));
    await made.store.births.update(dbKeys('new').birth, (birth) => birth && { ...birth, done: true });
    await deleteBackup(made.deps, 'adb', ID);
    expect(await get(made)).toMatchObject({ deleting: expect.any(String) });
    expect(await reasons(made)).toContain('backup_deleted');
  });

  it('and the archive stand in the status of their database', async () => {
    const archive = { active: true, sentence: 'it follows the binlog', gtid: '0-1-9', time: '2026-01-01T11:59:58.000Z', behindBytes: 0 };
    const made = await world();
    await living(made, {
      sidecars: [
        sidecar('adb-1', 'master', { node: 'host-1', archive }),
        sidecar('adb-2', 'slave', { node: 'host-2', archive: { ...archive, time: '2026-01-01T11:59:57.000Z' } }),
      ],
    });
    await put(made, record(), record({ id: '20260102-010000-abcd', state: 'failed', error: 'the disk is full' }));
    expect((await dbView(made.deps, 'adb')).backup).toMatchObject({
      newest: { id: ID, verified: null },
      backups: 1,
      failed: 'the disk is full',
      archive: { member: 'adb-1', time: '2026-01-01T11:59:58.000Z' },
    });
  });
});

describe('the plan of backups', () => {
  it('is tried out before it is written, and its secret stands nowhere but sealed', async () => {
    const made = await world();
    await living(made);
    const done = await setBackupPlan(made.deps, 'adb', { store: S3, schedule: '15 2 * * *', keep: 3 });
    expect(made.asked.at(-1)).toMatchObject({ member: 'adb-1', method: 'POST', path: '/backup/probe' });
    expect((await made.store.spec('adb')).value.backup).toEqual({
      store: 's3://store.example/b',
      schedule: '15 2 * * *',
      keep: 3,
      credentials: 2,
    });
    expect((await readCredentials(made.deps, 'adb')).store).toEqual({ user: 'AK', secret: 'very-secret' });
    const stored = await made.kv.kv.list('xcaas/');
    expect(JSON.stringify([done, stored, await dbView(made.deps, 'adb')])).not.toContain('very-secret');
    await setBackupPlan(made.deps, 'adb', { schedule: '' });
    expect((await made.store.spec('adb')).value.backup).toEqual({ store: 's3://store.example/b', keep: 3, credentials: 2 });
  });

  it.each([
    ['nothing', {}, 'usage', /nothing was said/],
    ['a schedule that is none', { schedule: 'daily' }, 'invalid', /no schedule/],
    ['a place that is none', { store: 'ftp://u:very-secret@h/x' }, 'invalid', /place for backups is wrong/],
  ])('refuses %s', async (_, request, wanted, message) => {
    const made = await world();
    await living(made);
    const { writes } = made.kv;
    const refused = await setBackupPlan(made.deps, 'adb', request).catch((error: unknown) => error);
    expect(refused).toEqual(code(wanted, message));
    expect(JSON.stringify([(refused as AppError).message, (refused as AppError).hint])).not.toContain('very-secret');
    expect(made.kv.writes).toBe(writes);
  });

  it('is not written when the store cannot be used', async () => {
    const made = await world({ 'POST /backup/probe': new AppError('forbidden', 'the store answered 403') });
    await living(made);
    const { writes } = made.kv;
    await expect(setBackupPlan(made.deps, 'adb', { store: S3 })).rejects.toEqual(code('forbidden', /403/));
    expect(made.kv.writes).toBe(writes);
  });

  it('keeps the account of the store before, and finds it again', async () => {
    const made = await world();
    await living(made);
    await setBackupPlan(made.deps, 'adb', { store: S3 });
    await setBackupPlan(made.deps, 'adb', { store: 'volume' });
    const between = await readCredentials(made.deps, 'adb');
    expect(between).toMatchObject({ formerStores: { 's3://store.example/b': { user: 'AK', secret: 'very-secret' } } });
    expect(between.store).toBeUndefined();
    await setBackupPlan(made.deps, 'adb', { store: 's3://store.example/b' });
    const after = await readCredentials(made.deps, 'adb');
    expect(after.store).toEqual({ user: 'AK', secret: 'very-secret' });
    expect(after.formerStores).toBeUndefined();
  });
});

describe('a restore', () => {
  it('makes another database as the first one was, with its users, and what opens the backup', async () => {
    const made = await world({ 'POST /backup/choose': { ...CHOICE, warning: 'a gap' } });
    await living(made);
    await put(made, record());
    const at = '2026-01-01T03:00:00Z';
    expect(await restoreDb(made.deps, { name: 'new', from: 'adb', at })).toMatchObject({
      warning: 'a gap',
      sentence: expect.stringContaining(at),
    });
    const { value: spec } = await made.store.spec('new');
    expect(spec).toMatchObject({
      role: 'pair',
      database: 'adb',
      user: 'adb',
      origin: { from: 'adb', backup: ID, gtid: '0-1-9', at, store: 'volume', history: 'h' },
    });
    expect(spec.backup).toEqual({ store: 'volume', keep: 7 });
    const [mine, theirs] = await Promise.all(['new', 'adb'].map((name) => readCredentials(made.deps, name)));
    expect(mine!.users).toEqual(theirs!.users);
    expect(mine!.agent).not.toBe(theirs!.agent);
    expect(mine!.origin).toEqual({ backupKeys: theirs!.backupKeys, peerSecret: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect(mine!.backupKeys).not.toEqual(theirs!.backupKeys);
    // The same again is the same; anything else under that name is not.
    const { writes } = made.kv;
    expect(await restoreDb(made.deps, { name: 'new', from: 'adb', at })).toMatchObject({ name: 'new' });
    expect(made.kv.writes).toBe(writes);
    await expect(restoreDb(made.deps, { name: 'new', from: 'adb' })).rejects.toEqual(code('conflict', /restored from adb/));
    await expect(restoreDb(made.deps, { name: 'adb', from: 'adb' })).rejects.toEqual(code('conflict', /there is a database adb/));
  });

  it('asks the members one after another, the leader first, and passes on what they refuse', async () => {
    const made = await world({
      'adb-1 POST /backup/choose': new AppError('unavailable', 'it is down'),
      'adb-2 POST /backup/choose': CHOICE,
    });
    await living(made);
    await put(made, record());
    await restoreDb(made.deps, { name: 'new', from: 'adb' });
    expect(made.asked.filter(({ path }) => path === '/backup/choose').map(({ member }) => member)).toEqual(['adb-1', 'adb-2']);
    const outside = await world({ 'POST /backup/choose': new AppError('invalid', 'that cannot be restored: what can be is A to B') });
    await living(outside);
    await expect(restoreDb(outside.deps, { name: 'new', from: 'adb', at: '2020-01-01T00:00:00Z' })).rejects.toEqual(
      code('invalid', /what can be is A to B/),
    );
    expect(await outside.store.specs.get(dbKeys('new').spec)).toBeUndefined();
  });

  it('is refused for what could not be read or would not fit, before anything is written', async () => {
    const made = await world({ 'POST /backup/choose': CHOICE });
    await living(made);
    await put(made, record());
    const tried = (request: object) => restoreDb(made.deps, { name: 'new', from: 'adb', ...request });
    await expect(tried({ diskBytes: 2 ** 30 })).rejects.toEqual(code('invalid', /smaller than that of adb/));
    await expect(tried({ network: 'other' })).rejects.toEqual(code('invalid', /on the network xcaas/));
    await expect(tried({ backup: ID, at: '2026-01-01T00:00:00Z' })).rejects.toEqual(code('invalid'));
    await expect(tried({ from: 'nothing' })).rejects.toEqual(code('not_found', /nothing/));
    await destroyDb(made.deps, 'adb', { keepData: false, purge: false });
    await expect(tried({})).rejects.toEqual(expect.objectContaining({ code: 'conflict', hint: 'db undestroy adb' }));
    expect(await made.store.specs.get(dbKeys('new').spec)).toBeUndefined();
  });
});

describe('backups in a store of their own', () => {
  let server: WebHdfsServer;
  beforeAll(async () => {
    server = await startWebHdfs();
  });
  afterAll(() => server.stop());

  it('outlive their database: they are listed, restored and deleted when it is gone', async () => {
    const made = await world();
    await living(made);
    await setBackupPlan(made.deps, 'adb', { store: `${server.endpoint.replace('http', 'webhdfs').replace('://', '://backup@')}/backups` });
    const { value: spec } = await made.store.spec('adb');
    const { store } = placeOf(spec, await readCredentials(made.deps, 'adb'), { volume: '' });
    const marker: BackupMarker = {
      ...{ v: 1, id: ID, db: 'adb', member: 'adb-2', flavor: 'mariadb', engineVersion: '11.8', started: ago(60), finished: ago(50) },
      ...{ gtid: '0-1-5', at: 1767232800, bytes: 4, sha256: '', contentBytes: 4, encrypted: true },
    };
    await putText(store, fullKeys(ID).data, 'data');
    await putText(store, fullKeys(ID).marker, JSON.stringify(marker));
    await put(made, record({ store: spec.backup.store }), record({ id: '20260102-010000-abcd' }));
    const { sentence } = await destroyDb(made.deps, 'adb', { keepData: false, purge: true });
    expect(sentence).toMatch(/1 backup on its volumes go with its data; 1 backup in webhdfs:.*backups stay: db restore NEW --from adb/);
    await keepBackups(made.deps, spec);
    await made.store.consul.kv.deleteTree(dbKeys('adb').base);

    const [kept] = await listKeptBackups(made.deps);
    expect(kept).toMatchObject({ name: 'adb', backups: 1, store: spec.backup.store });
    expect(await listBackups(made.deps, 'adb')).toMatchObject({
      backups: [{ id: ID }],
      windows: [{ from: '2026-01-01T02:00:01Z' }],
      note: expect.stringContaining('adb is gone'),
    });
    await expect(restoreDb(made.deps, { name: 'new', from: 'adb', at: '2026-01-03T00:00:00Z' })).rejects.toEqual(
      code('invalid', /can be is/),
    );
    await restoreDb(made.deps, { name: 'new', from: 'adb' });
    expect((await made.store.spec('new')).value.origin).toMatchObject({ from: 'adb', backup: ID, store: spec.backup.store });
    expect((await readCredentials(made.deps, 'new')).origin).toEqual({ backupKeys: [expect.anything()], store: { user: 'backup' } });
    await made.store.births.update(dbKeys('new').birth, (birth) => birth && { ...birth, done: true });

    // Another one of that name has backups of its own.
    await createDb(made.deps, { name: 'adb' });
    expect(await listBackups(made.deps, 'adb')).toMatchObject({ backups: [], note: '' });
    expect([...server.files.keys()].filter((path) => path.includes(ID))).toHaveLength(2);
    await deleteBackup(made.deps, kept!.from, ID);
    expect([...server.files.keys()].filter((path) => path.includes(ID))).toEqual([]);
    expect(await listKeptBackups(made.deps)).toEqual([]);
  });
});
