import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type Asked, apiOf, cli, dbMember, dbView, error } from '#test/cli-driver.ts';

describe('backups of databases', () => {
  const backup = (change: object = {}) => ({
    id: '20260801-021500-3f9c',
    state: 'done',
    by: 'user',
    at: '2026-08-01T02:15:00.000Z',
    bytes: 2048,
    store: 'volume',
    member: 'adb-2',
    verify: null,
    sentence: 'the backup is on the volume of adb-2',
    ...change,
  });
  const at = '/v1/dbs/adb/backups/20260801-021500-3f9c';

  it('one is followed until it is made; one that failed ends with why', async () => {
    const asked = backup({ state: 'asked', sentence: 'it is asked for' });
    const good = await apiOf({
      'POST /v1/dbs/adb/backups': { status: 202, body: asked },
      [`GET ${at}`]: [{ body: backup({ state: 'running', sentence: 'adb-2 makes it' }) }, { body: backup() }],
    });
    expect(await cli('db backup create adb', { env: good.env })).toEqual({
      exit: 0,
      stdout: 'the backup is on the volume of adb-2\n',
      stderr: '20260801-021500-3f9c: adb-2 makes it\n',
    });
    const bad = await apiOf({
      'POST /v1/dbs/adb/backups': { status: 202, body: asked },
      [`GET ${at}`]: { body: backup({ state: 'failed', sentence: 'the backup failed: the disk is full' }) },
    });
    expect(await cli('db backup create adb', { env: bad.env })).toMatchObject({
      exit: 1,
      stderr: expect.stringContaining('the disk is full'),
    });
    expect(await cli('db backup create adb --no-wait', { env: bad.env })).toMatchObject({ exit: 0, stdout: 'it is asked for\n' });
  });

  it('one that is damaged ends with 1, in words and in JSON', async () => {
    const verify = { state: 'done', ok: false, time: 't', sentence: 'adb.t has 3 rows instead of 4' };
    const { env, asked } = await apiOf({
      'POST /v1/dbs/adb/verify': { status: 202, body: backup() },
      [`GET ${at}`]: { body: backup({ verify, sentence: 'the backup is damaged: adb.t has 3 rows instead of 4' }) },
    });
    expect(await cli('db backup verify adb', { env })).toMatchObject({
      exit: 1,
      stdout: '',
      stderr: expect.stringContaining('3 rows instead'),
    });
    expect(asked[0]?.body).toEqual({});
    const json = await cli('db backup verify adb 20260801-021500-3f9c --json', { env });
    expect(JSON.parse(json.stdout).error.message).toContain('is damaged');
    expect(asked.findLast(({ method }) => method === 'POST')?.body).toEqual({ backup: '20260801-021500-3f9c' });
  });

  it('are listed with the times that can be restored', async () => {
    const { env } = await apiOf({
      'GET /v1/dbs/adb/backups': {
        body: {
          name: 'adb',
          plan: { store: 'volume', schedule: '15 2 * * *', keep: 7, verify: null },
          backups: [backup({ verify: { state: 'done', ok: true, time: 't', sentence: 's' } })],
          windows: [{ from: '2026-08-01T02:15:00Z', to: '2026-08-03T10:00:00Z', store: 'volume' }],
          note: '',
        },
      },
    });
    const { stdout } = await cli('db backup list adb', { env });
    expect(stdout).toContain('plan      to volume, at "15 2 * * *" (UTC), 7 are kept');
    expect(stdout).toContain('restore   any second from 2026-08-01T02:15:00Z to 2026-08-03T10:00:00Z');
    expect(stdout).toMatch(/20260801-021500-3f9c +done +2026-08-01T02:15:00.000Z +2 KiB +user +volume of adb-2 +sound/);
  });

  it('are deleted once somebody has said yes', async () => {
    const { env, asked } = await apiOf({ [`DELETE ${at}`]: { status: 202, body: { sentence: 'it is to be deleted' } } });
    expect((await cli('db backup delete adb 20260801-021500-3f9c', { env })).exit).toBe(2);
    expect(asked).toEqual([]);
    const { exit, stdout } = await cli('db backup delete adb 20260801-021500-3f9c --yes', { env });
    expect({ exit, stdout }).toEqual({ exit: 0, stdout: 'the backup 20260801-021500-3f9c of adb is deleted\n' });
  });

  it('go where a file says, so that no secret stands on a command line', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'cli-'));
    try {
      const file = join(folder, 'store');
      await writeFile(file, 's3://AK:very-secret@store.example/b\n');
      const { env, asked } = await apiOf({
        'PATCH /v1/dbs/adb/backup-plan': { body: { sentence: 'backups of adb go to s3://store.example/b' } },
      });
      const ran = await cli(
        ['db', 'backup', 'set', 'adb', '--to', `@${file}`, '--schedule', '15 2 * * *', '--keep', '3', '--verify', 'none'],
        { env },
      );
      expect(asked[0]?.body).toEqual({ store: 's3://AK:very-secret@store.example/b', schedule: '15 2 * * *', keep: 3, verify: '' });
      expect(JSON.stringify(ran)).not.toContain('very-secret');
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('are restored to another name, at a moment that was', async () => {
    const { env, asked } = await apiOf({
      'POST /v1/dbs/adb/restore': { status: 202, body: { name: 'new', sentence: 'new is restored from adb', warning: 'a gap' } },
      'GET /v1/dbs/new': { body: dbView({ name: 'new' }) },
    });
    const ran = await cli('db restore new --from adb --at 2026-08-01T12:00:00+02:00 --memory 2 --opt role=single', { env });
    expect(ran).toMatchObject({ exit: 0, stderr: expect.stringMatching(/new is restored from adb\n.*warning: a gap/s) });
    expect(asked[0]?.body).toEqual({ name: 'new', at: '2026-08-01T10:00:00.000Z', memoryBytes: 2 * 2 ** 30, options: { role: 'single' } });
    expect((await cli('db restore new', { env })).stderr).toContain('--from');
    expect((await cli('db restore new --from adb --at yesterday', { env })).exit).toBe(2);
    expect((await cli('db restore new --from adb --at -1h --backup x', { env })).exit).toBe(2);
  });
});

describe('databases', () => {
  it.each<[string, Asked['method'], string, unknown]>([
    [
      'db create -d adb --cpu 2 --memory 4 --disk 100 --image xcaas/xdb:tag --opt engine=innodb --opt storage=ssd --publish 13306',
      'POST',
      '/v1/dbs',
      {
        name: 'adb',
        cpus: 2,
        memoryBytes: 4 * 2 ** 30,
        diskBytes: 100 * 2 ** 30,
        image: 'xcaas/xdb:tag',
        options: { engine: 'innodb', storage: 'ssd' },
        network: 'xcaas',
        publish: ['13306'],
      },
    ],
    ['db create -d other --name adb', 'POST', '/v1/dbs', { name: 'adb', options: {}, network: 'xcaas', publish: [] }],
    ['db create -d other adb', 'POST', '/v1/dbs', { name: 'adb', options: {}, network: 'xcaas', publish: [] }],
    ['db restart adb', 'POST', '/v1/dbs/adb/restart', {}],
    ['db resize adb --memory 512m --disk 20', 'POST', '/v1/dbs/adb/resize', { memoryBytes: 2 ** 29, diskBytes: 20 * 2 ** 30 }],
    ['db resume adb', 'POST', '/v1/dbs/adb/resume', undefined],
    ['db undestroy adb', 'POST', '/v1/dbs/adb/undestroy', undefined],
  ])('%s', async (line, method, url, body) => {
    const { env, asked } = await apiOf({ [`${method} ${url}`]: { body: {} }, 'GET /v1/dbs/adb': { body: dbView() } });
    const { exit, stdout } = await cli(`${line} --json`, { env });
    expect(exit).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ name: 'adb', status: 'READY' });
    expect(asked.filter((each) => each.method !== 'GET')).toEqual([{ method, url, body, token: 'Bearer tok' }]);
  });

  it('db upgrade says what is done, and waits for it', async () => {
    const { env, asked } = await apiOf({
      'POST /v1/dbs/adb/upgrade': {
        status: 202,
        body: { name: 'adb', imageId: 'sha256:1', changed: true, sentence: 'members are to run xcaas/xdb:2' },
      },
      'GET /v1/dbs/adb': [
        { body: dbView() },
        { body: dbView({ members: [{ ...dbMember('adb-2', 'slave', 'host-b'), changing: true }] }) },
        { body: dbView() },
      ],
    });
    expect(await cli('db upgrade adb --image xcaas/xdb:2', { env })).toMatchObject({
      exit: 0,
      stderr: 'members are to run xcaas/xdb:2\nadb: adb-2 has yet to be changed; all is well\n',
    });
    expect(asked.find(({ method }) => method === 'POST')?.body).toEqual({ image: 'xcaas/xdb:2' });
  });

  it('a change is waited for until every member has it', async () => {
    const { env } = await apiOf({
      'POST /v1/dbs/adb/resize': { body: {} },
      'GET /v1/dbs/adb': [
        { body: dbView({ members: [{ ...dbMember('adb-1', 'master', 'host-a'), changing: true }] }) },
        { body: dbView({ status: 'DEGRADED', members: [{ ...dbMember('adb-1', 'master', 'host-a'), changing: true }] }) },
        { body: dbView() },
      ],
    });
    const { exit, stderr } = await cli('db resize adb --memory 2', { env });
    expect({ exit, stderr }).toEqual({ exit: 0, stderr: 'adb: adb-1 has yet to be changed; all is well\n' });
  });

  it('a change of a pair is not over before a slave holds everything again', async () => {
    const { env, asked } = await apiOf({
      'GET /v1/dbs/adb': [
        { body: dbView() },
        { body: dbView({ status: 'DEGRADED', sentence: 'adb-1 catches up', sync: null }) },
        { body: dbView({ master: 'adb-2', sync: 'adb-1' }) },
      ],
      'POST /v1/dbs/adb/restart': { status: 202 },
    });
    expect(await cli('db restart adb', { env })).toMatchObject({ exit: 0, stderr: expect.stringContaining('adb-1 catches up') });
    expect(asked.filter(({ method }) => method === 'GET')).toHaveLength(3);
    // Neither is it while the one that is named is being replaced.
    const away = { ...dbMember('adb-2', 'slave', 'host-b'), state: 'down' };
    const replaced = await apiOf({
      'GET /v1/dbs/adb': [
        { body: dbView() },
        { body: dbView({ status: 'DEGRADED', sentence: 'adb-2 is away', members: [dbMember('adb-1', 'master', 'host-a'), away] }) },
        { body: dbView({ status: 'DEGRADED', sentence: 'the status was written before adb-2 came back' }) },
        { body: dbView() },
      ],
      'POST /v1/dbs/adb/resize': { status: 202 },
    });
    const { stdout, stderr } = await cli('db resize adb --memory 2', { env: replaced.env });
    expect(stderr).toMatch(/adb-2 is away\n(.*\n)*.*before adb-2 came back/);
    expect(stdout).toContain('READY');
    // One that had no slave before is not waited for to get one.
    const alone = await apiOf({
      'GET /v1/dbs/adb': { body: dbView({ status: 'DEGRADED', sync: null }) },
      'POST /v1/dbs/adb/restart': { status: 202 },
    });
    expect((await cli('db restart adb', { env: alone.env })).exit).toBe(0);
  });

  it('users and databases are asked for by name; a password is all that is printed', async () => {
    const made = { name: 'app', password: 'secret', databases: ['adb'] };
    const { env, asked } = await apiOf({
      'POST /v1/dbs/adb/users': { body: made },
      'POST /v1/dbs/adb/users/app/rotate': { body: made },
      'POST /v1/dbs/adb/users/app/finish': { body: { sentence: 'only the newest is good' } },
      'DELETE /v1/dbs/adb/users/app': { body: { sentence: 'app is gone' } },
      'GET /v1/dbs/adb/users': { body: [{ name: 'adb', databases: ['adb', 'shop'], own: true, rotating: true }] },
      'POST /v1/dbs/adb/databases': { body: { sentence: 'adb has a database shop' } },
      'DELETE /v1/dbs/adb/databases/shop': { body: { sentence: 'shop is gone' } },
      'GET /v1/dbs/adb/databases': { body: [{ name: 'shop', bytes: 2048, tables: 3, own: false }] },
    });
    expect(await cli('db user add adb app --database shop', { env })).toMatchObject({ exit: 0, stdout: 'secret\n' });
    expect(asked.at(-1)?.body).toEqual({ user: 'app', databases: ['shop'] });
    expect(await cli('db user rotate adb app', { env })).toMatchObject({ exit: 0, stdout: 'secret\n' });
    expect((await cli('db user rotate adb app --finish', { env })).stdout).toBe('only the newest is good\n');
    expect((await cli('db user drop adb app', { env })).stdout).toBe('app is gone\n');
    expect((await cli('db user list adb', { env })).stdout).toMatch(/adb \(of the url\) +adb shop +two, being changed/);
    expect((await cli('db database add adb shop', { env })).stdout).toBe('adb has a database shop\n');
    expect((await cli('db database list adb', { env })).stdout).toMatch(/shop +2 KiB +3/);
    expect((await cli('db database drop adb shop', { env })).exit).toBe(2);
    expect((await cli('db database drop adb shop --yes', { env })).stdout).toBe('shop is gone\n');
  });

  it('a switchover is followed to its end, and says for how long writes were held', async () => {
    const order = { id: 'o1', state: 'asked' };
    const { env, asked } = await apiOf({
      'POST /v1/dbs/adb/switchover': { status: 202, body: order },
      'GET /v1/dbs/adb/moves/o1': [
        { body: { ...order, sentence: 'the order is given' } },
        { body: { ...order, state: 'done', blockedMs: 93, sentence: 'adb-2 leads; writes were held for 93 ms' } },
      ],
    });
    const done = await cli('db switchover adb --to adb-2', { env });
    expect(done).toMatchObject({ exit: 0, stdout: 'adb-2 leads; writes were held for 93 ms\n' });
    expect(asked[0]?.body).toEqual({ to: 'adb-2' });
  });

  it('one that was not carried out is a conflict', async () => {
    const { env } = await apiOf({
      'POST /v1/dbs/adb/switchover': { status: 202, body: { id: 'o1', state: 'asked' } },
      'GET /v1/dbs/adb/moves/o1': { body: { id: 'o1', state: 'failed', sentence: 'adb-1 leads: it is busy' } },
    });
    expect(await cli('db switchover adb', { env })).toMatchObject({ exit: 4, stderr: expect.stringContaining('it is busy') });
  });

  it('one for later is not waited for', async () => {
    const at = '2030-01-01T03:00:00.000Z';
    const { env, asked } = await apiOf({ 'POST /v1/dbs/adb/switchover': { status: 202, body: { id: 'o1', state: 'asked', at } } });
    expect(await cli(`db switchover adb --at ${at}`, { env })).toMatchObject({ exit: 0, stdout: expect.stringContaining(at) });
    expect(asked[0]?.body).toEqual({ at });
  });

  it('a copy that is made anew is waited for until it is another one', async () => {
    const copy = (change: object) => ({
      body: dbView({ members: [dbMember('adb-1', 'master', 'host-a'), { ...dbMember('adb-2', 'slave', 'host-b'), ...change }] }),
    });
    const { env, asked } = await apiOf({
      'POST /v1/dbs/adb/members/adb-2/reinit': { body: { sentence: 's' } },
      'GET /v1/dbs/adb': [
        copy({ generation: 'g1' }),
        copy({ generation: 'g1' }),
        copy({ generation: 'g2', state: 'cloning' }),
        copy({ generation: 'g2' }),
      ],
    });
    expect((await cli('db reinit adb adb-2 --yes', { env })).exit).toBe(0);
    expect(asked.filter(({ method }) => method === 'GET')).toHaveLength(4);
  });

  it('destroying asks, and is done once it is not found any more', async () => {
    const gone = error('not_found', 404, 'adb was destroyed at x; its data are kept until y');
    const { env, asked } = await apiOf({
      'GET /v1/dbs/adb': [{ body: dbView() }, { body: dbView({ status: 'PENDING', sentence: 'adb is being removed' }) }, gone],
      'DELETE /v1/dbs/adb?keepData=false&purge=false': { status: 202, body: { sentence: 'its data are kept until y' } },
    });
    expect((await cli('db destroy adb', { env })).exit).toBe(2);
    expect(asked.filter(({ method }) => method === 'DELETE')).toEqual([]);
    expect(await cli('db destroy adb --yes', { env })).toMatchObject({ exit: 0, stdout: 'its data are kept until y\n' });
  });

  it('data that were kept can be purged though the database is gone', async () => {
    const gone = error('not_found', 404, 'adb was destroyed at x; its data are kept until y');
    const { env } = await apiOf({ 'GET /v1/dbs/adb': gone, 'DELETE /v1/dbs/adb?keepData=false&purge=true': { body: { sentence: 's' } } });
    expect(await cli('db destroy adb --purge --yes', { env })).toMatchObject({ exit: 0, stdout: 'adb is removed\n' });
    expect((await cli('db destroy adb --yes', { env })).exit).toBe(3);
  });

  it('are shown with who leads, who holds everything, and who follows whom', async () => {
    const { env } = await apiOf({
      'GET /v1/dbs/adb': { body: dbView() },
      'GET /v1/dbs/adb/url?replica=true': { body: { url: 'mysql://u:p@adb:3307/adb' } },
    });
    const status = await cli('db status adb', { env });
    expect(status.stdout).toContain('adb:3306 master');
    expect(status.stdout).toContain('10.0.0.1:13306→3306');
    expect(status.stdout).toMatch(/adb-2\s+slave \(sync\)/);
    expect((await cli('db topology adb', { env })).stdout).toMatch(/adb-1 {2}master.*\n.*\n└─ adb-2 {2}slave/);
    expect((await cli('db url adb --replica', { env })).stdout).toBe('mysql://u:p@adb:3307/adb\n');
  });
});
