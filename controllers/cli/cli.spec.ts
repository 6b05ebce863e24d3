import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { COMMANDS as commands } from '#cli/commands.ts';
import { runCli } from '#cli/main.ts';
import { run } from '#core/spawn.ts';
import { VERSION } from '#core/version.ts';
import { startScript } from '#test/http-script.ts';

const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const each of open.splice(0)) await each.close();
});

interface Ran {
  exit: number;
  stdout: string;
  stderr: string;
}

/** Runs a command line as `bin/NAME` would, without a terminal unless told otherwise. */
async function cli(line: string | string[], { env = {}, terminal = false, typed = '', name = 'xcaas' } = {}): Promise<Ran> {
  const argv = typeof line === 'string' ? line.split(' ').filter(Boolean) : line;
  const collect = () => {
    const stream = new PassThrough();
    let text = '';
    stream.on('data', (chunk) => {
      text += chunk;
    });
    return { stream: stream as unknown as NodeJS.WriteStream, text: () => text };
  };
  const [stdout, stderr] = [collect(), collect()];
  const stdin = Object.assign(new PassThrough(), { isTTY: terminal }) as unknown as NodeJS.ReadStream;
  if (typed !== '') (stdin as unknown as PassThrough).write(`${typed}\n`);
  const exit = await runCli({
    name,
    argv,
    env: { XCAAS_PROFILE: '/nowhere/profile.json', XCAAS_TOKEN: 'tok', ...env },
    stdin,
    stdout: stdout.stream,
    stderr: stderr.stream,
    commands,
  });
  return { exit, stdout: stdout.text(), stderr: stderr.text() };
}

interface Asked {
  method: string;
  url: string;
  body: unknown;
  token: string | undefined;
}
type Reply = { status?: number; body?: unknown; lines?: unknown[]; raw?: (response: ServerResponse) => void };

/** An API whose answers are told by `method url`; a list gives one after the other, its last for good. */
async function apiOf(answers: Record<string, Reply | Reply[]>) {
  const asked: Asked[] = [];
  const times = new Map<string, number>();
  const server = await startScript((request: IncomingMessage, response: ServerResponse) => {
    let text = '';
    request.on('data', (chunk) => {
      text += chunk;
    });
    request.on('end', () => {
      const key = `${request.method} ${request.url}`;
      asked.push({
        method: request.method!,
        url: request.url!,
        body: text === '' ? undefined : JSON.parse(text),
        token: request.headers.authorization,
      });
      const time = times.get(key) ?? 0;
      times.set(key, time + 1);
      const replies = [
        answers[key] ?? { status: 404, body: { error: { code: 'not_found', message: `there is no ${key}`, hint: 'look' } } },
      ].flat();
      const reply = replies[Math.min(time, replies.length - 1)]!;
      if (reply.raw) return reply.raw(response);
      if (reply.lines) {
        response.writeHead(reply.status ?? 200, { 'content-type': 'application/x-ndjson' });
        return void response.end(reply.lines.map((each) => `${JSON.stringify(each)}\n`).join(''));
      }
      response.writeHead(reply.status ?? 200, { 'content-type': 'application/json' }).end(JSON.stringify(reply.body ?? {}));
    });
  });
  open.push(server);
  return { asked, env: { XCAAS_URL: `http://127.0.0.1:${server.port}` } };
}
const lbView = (change: object = {}) => ({
  name: 'web',
  status: 'READY',
  sentence: 'all is well',
  listeners: [{ proto: 'http', port: 80 }],
  instances: [{ id: 'web-1', node: 'host-a', generation: 'abc', liveVersion: 3 }],
  targets: [{ name: 'default', peers: [] }],
  rules: [{ listen: '*', path: '/', group: 'default' }],
  ...change,
});
const dbView = (change: object = {}) => ({
  name: 'adb',
  status: 'READY',
  sentence: 'all is well',
  flavor: 'mariadb',
  version: '11.8.6',
  epoch: 3,
  master: 'adb-1',
  sync: 'adb-2',
  endpoint: {
    host: 'adb',
    port: 3306,
    replicaPort: 3307,
    network: 'xcaas',
    published: [{ host: '10.0.0.1', hostPort: 13306, port: 3306 }],
  },
  members: [dbMember('adb-1', 'master', 'host-a'), { ...dbMember('adb-2', 'slave', 'host-b'), lagSeconds: 0, generation: 'g1' }],
  next: [],
  ...change,
});
const dbMember = (id: string, role: string, node: string) => ({
  id,
  role,
  state: 'running',
  sentence: `${id} does what it should`,
  node,
  group: 'g',
  rack: 'r',
  lagSeconds: null,
  gtid: '0-1-7',
});
const error = (code: string, status: number, message = 'no'): Reply => ({ status, body: { error: { code, message, hint: 'do this' } } });

describe('exit codes', () => {
  it.each([
    ['usage', 400, 2],
    ['invalid', 400, 2],
    ['unauthenticated', 401, 1],
    ['not_found', 404, 3],
    ['conflict', 409, 4],
    ['in_use', 409, 4],
    ['port_taken', 409, 4],
    ['timeout', 504, 5],
    ['internal', 500, 1],
    ['no_host', 409, 1],
  ])('%s ends with its own, in words and in JSON', async (code, status, exit) => {
    const { env } = await apiOf({ 'GET /v1/lbs/web': error(code, status, 'what is wrong') });
    const words = await cli('lb status web', { env });
    expect(words).toMatchObject({ exit, stdout: '' });
    expect(words.stderr).toContain('what is wrong');
    expect(words.stderr).toContain('do this');
    const json = await cli('lb status web --json', { env });
    expect(json.exit).toBe(exit);
    expect(JSON.parse(json.stdout)).toEqual({ error: { code, message: 'what is wrong', hint: 'do this' } });
  });

  it.each([
    ['READY', 0],
    ['DEGRADED', 6],
    ['DOWN', 1],
    ['FAILED', 1],
    ['PENDING', 0],
    ['PAUSED', 0],
  ])('a status verb that shows %s ends with %d', async (status, exit) => {
    const pool = { status, sentence: 's', survives: 'x', nodes: 1, services: [], next: [] };
    const { env } = await apiOf({ 'GET /v1/lbs/web': { body: lbView({ status }) }, 'GET /v1/status': { body: pool } });
    const lb = await cli('lb status web --json', { env });
    expect(lb.exit).toBe(exit);
    expect(JSON.parse(lb.stdout)).toMatchObject({ status });
    expect(await cli('status', { env })).toMatchObject({ exit, stdout: expect.stringContaining(status) });
  });
});

describe('what is typed wrong', () => {
  it.each([
    ['lb', 2, /create/],
    ['lb rule', 2, /list/],
    ['lb craete web', 2, /unknown command 'craete'/],
    ['nonsense', 2, /unknown command 'nonsense'/],
    ['lb create', 2, /missing required argument 'name'/],
    ['lb list too many', 2, /too many arguments/],
    ['lb list --colour', 2, /unknown option '--colour'/],
    ['lb create web --listen', 2, /argument missing/],
    ['lb create web -d nginx', 2, /-d nginx/],
    ['lb create web --replicas two', 2, /--replicas takes a whole number/],
    ['lb add_container web --type=db -l container=a', 2, /--type db/],
    ['lb add_container web -l port=80', 2, /container=… is missing/],
    ['lb add_container web -l container=a -l port=80 -l port=81', 2, /port is given twice/],
    ['lb add_container web -l container=', 2, /container has no value/],
    ['lb add_container web -l container=a -l colour=red', 2, /colour is not known/],
    ['lb set web read-timeout', 2, /is not KEY=VALUE/],
    ['lb set web a=1 a=2', 2, /a is given twice/],
    ['lb cert add web --host a --cert /nowhere --key /nowhere', 2, /nowhere cannot be read: ENOENT/],
    ['lb add_service web', 2, /--service is missing/],
    ['db create', 2, /it has no name/],
    ['db create a --name b', 2, /both a and b/],
    ['db create a --memory lots', 2, /--memory takes a size/],
    ['db create a --cpu two', 2, /--cpu takes a number/],
    ['db create a --opt engine', 2, /is not KEY=VALUE/],
    ['db create a --opt master-url=@/nowhere', 2, /nowhere cannot be read/],
    ['db switchover a --at soon', 2, /--at takes a time/],
    ['db pause a --for ever', 2, /--for takes a time/],
    ['db param set a', 2, /missing required argument/],
    ['lb list --timeout soon', 2, /--timeout takes a number/],
    ['lb list --timeout 0', 2, /--timeout takes a number/],
  ])('%s', async (line, exit, message) => {
    const words = await cli(line, { env: { XCAAS_URL: 'http://127.0.0.1:1' } });
    expect(words.exit).toBe(exit);
    expect(words.stdout).toBe('');
    expect(words.stderr).toMatch(message);
    // `--listen` takes whatever follows for its value.
    if (line.endsWith('--listen')) return;
    const json = await cli([...line.split(' '), '--json'], { env: { XCAAS_URL: 'http://127.0.0.1:1' } });
    expect(json.exit).toBe(exit);
    expect(JSON.parse(json.stdout)).toMatchObject({ error: { code: 'usage', message: expect.any(String) } });
  });

  it('an address that is none, and a profile that is broken', async () => {
    expect(await cli('lb list', { env: { XCAAS_URL: 'unix:/x' } })).toMatchObject({ exit: 2, stderr: expect.stringContaining('unix:/x') });
    const folder = await mkdtemp(join(tmpdir(), 'xc-'));
    open.push({ close: () => rm(folder, { recursive: true }) });
    await writeFile(join(folder, 'p.json'), '{"url":7}');
    expect(await cli('lb list', { env: { XCAAS_PROFILE: join(folder, 'p.json') } })).toMatchObject({
      exit: 2,
      stderr: expect.stringContaining('p.json is wrong at url'),
    });
  });
});

describe('help', () => {
  it('is shown for every command, and names what a short program takes', async () => {
    for (const { path } of commands) {
      const { exit, stdout, stderr } = await cli([...path, '--help']);
      expect({ exit, stderr }, path.join(' ')).toEqual({ exit: 0, stderr: '' });
      expect(stdout).toContain(`Usage: xcaas ${path.join(' ')}`);
    }
    expect((await cli('create --help', { name: '/opt/bin/lb' })).stdout).toContain('Usage: lb create');
    expect(await cli('')).toMatchObject({ exit: 2, stdout: expect.stringContaining('Usage: xcaas') });
    expect(await cli('--version')).toMatchObject({ exit: 0, stdout: `${VERSION}\n` });
  });

  it('every command takes --json and --timeout, and --no-wait where it changes something', async () => {
    for (const { path, changes } of commands) {
      const { stdout } = await cli([...path, '--help']);
      expect(stdout).toContain('--json');
      expect(stdout).toContain('--timeout');
      expect(stdout.includes('--no-wait'), path.join(' ')).toBe(changes === true);
    }
  });
});

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

describe('what the interface names', () => {
  const NAMED = {
    xcaas:
      'join-token status doctor nodes events version upgrade stop backup recover token:create token:list token:revoke node:drain node:undrain node:remove node:label',
    lb: 'create add_container remove_container add_service remove_service list status peers logs destroy listener:add listener:remove rule:add rule:list rule:remove cert:add cert:list cert:remove set',
    db: 'create list status topology url events logs connect destroy switchover failover restart reinit resize pause resume cutover backup:create backup:list backup:verify backup:delete backup:set backup:kept restore replica:add replica:remove upgrade user:add user:list user:rotate user:drop database:add database:list database:drop param:list param:set undestroy',
    cache: 'create list status url switchover failover scale events connect backup destroy',
    fs: 'create list status url ls put get mkdir rm cat stat decommission balance failover events destroy',
  };
  it.each(Object.entries(NAMED))('%s has each of its verbs once', (kind, verbs) => {
    const prefix = kind === 'xcaas' ? [] : [kind];
    const paths = commands.map(({ path }) => path.join(' '));
    for (const verb of verbs.split(' ')) {
      const path = [...prefix, ...verb.split(':')].join(' ');
      expect(
        paths.filter((other) => other === path),
        path,
      ).toHaveLength(1);
    }
  });

  it.each([
    'upgrade --check',
    'backup create',
    'backup restore /tmp/x',
    'recover',
    'db upgrade shop',
    'cache create -d xcache --memory 4 --mode cluster --opt engine=valkey c',
    'cache scale c --shards 3',
    'fs create -d hdfs --datanodes 3 --yarn --hbase data',
    'fs put data:/a b',
  ])('%s says that it is not built yet', async (line) => {
    expect(await cli(line)).toMatchObject({ exit: 1, stdout: '', stderr: expect.stringContaining('not built yet') });
    const json = await cli(`${line} --json`);
    expect(JSON.parse(json.stdout)).toMatchObject({ error: { code: 'not_implemented' } });
  });

  it.each([
    'lb rule add web --host a --path /b --to blue:50,green:50',
    'lb rule add web --host a --path /b --to blue --header x=y',
    'lb rule add web --host a --path /b --to blue --cookie x=y',
    'lb add_service web --service api -l weight=7',
  ])('%s never half-works', async (line) => {
    const { env, asked } = await apiOf({});
    const json = await cli(`${line} --json`, { env });
    expect(json.exit).toBe(1);
    expect(JSON.parse(json.stdout)).toMatchObject({ error: { code: 'not_implemented' } });
    expect(asked).toEqual([]);
  });
});

describe('what is asked of the API', () => {
  it.each<[string, Asked['method'], string, unknown]>([
    [
      'lb create web --listen http:80 --listen tcp:3306 --replicas 3 --network n --publish 8080:80',
      'POST',
      '/v1/lbs',
      { name: 'web', listen: ['http:80', 'tcp:3306'], replicas: 3, network: 'n', publish: ['8080:80'] },
    ],
    ['lb listener add web https:443 tcp:1', 'POST', '/v1/lbs/web/listeners/add', { listen: ['https:443', 'tcp:1'] }],
    [
      'lb rule add web --host A.example --path /x --to blue:100',
      'POST',
      '/v1/lbs/web/rules',
      { host: 'A.example', path: '/x', to: 'blue' },
    ],
    ['lb rule remove web --to default', 'POST', '/v1/lbs/web/rules/remove', { path: '/' }],
    ['lb set web read-timeout=30s default.tries=2', 'PATCH', '/v1/lbs/web', { set: { 'read-timeout': '30s', 'default.tries': '2' } }],
  ])('%s', async (line, method, url, body) => {
    const { env, asked } = await apiOf({ [`${method} ${url}`]: { body: {} }, 'GET /v1/lbs/web': { body: lbView() } });
    const { exit, stdout } = await cli(`${line} --json`, { env });
    expect(exit).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ name: 'web' });
    expect(asked.filter((each) => each.method !== 'GET')).toEqual([{ method, url, body, token: 'Bearer tok' }]);
  });

  it('names are encoded wherever they stand in a path', async () => {
    const { env, asked } = await apiOf({});
    await cli(['lb', 'status', '../tokens?x#y'], { env });
    await cli(['node', 'drain', 'a/b c'], { env });
    expect(asked.map(({ url }) => url)).toEqual(['/v1/lbs/..%2Ftokens%3Fx%23y', '/v1/nodes/a%2Fb%20c/drain']);
  });

  it('a rule that leads elsewhere is not removed', async () => {
    const { env, asked } = await apiOf({ 'GET /v1/lbs/web': { body: lbView() } });
    expect((await cli('lb rule remove web --to other', { env })).exit).toBe(3);
    expect(asked.every(({ method }) => method === 'GET')).toBe(true);
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

describe('waiting', () => {
  it('follows what it says until it is ready, on stderr', async () => {
    const pending = (sentence: string) => ({ body: lbView({ status: 'PENDING', sentence }) });
    const { env } = await apiOf({
      'POST /v1/lbs': { body: {} },
      'GET /v1/lbs/web': [pending('placing'), pending('starting'), { body: lbView() }],
    });
    const { exit, stdout, stderr } = await cli('lb create web --json', { env });
    expect(exit).toBe(0);
    expect(stdout.trim().split('\n')).toHaveLength(1);
    expect(JSON.parse(stdout)).toMatchObject({ status: 'READY' });
    expect(stderr).toBe('web: placing\nweb: starting\n');
  });

  it('--no-wait looks once', async () => {
    const { env, asked } = await apiOf({
      'POST /v1/lbs': { body: {} },
      'GET /v1/lbs/web': { body: lbView({ status: 'PENDING', sentence: 'x' }) },
    });
    const { exit, stdout } = await cli('lb create web --no-wait --json', { env });
    expect({ exit, status: JSON.parse(stdout).status }).toEqual({ exit: 0, status: 'PENDING' });
    expect(asked).toHaveLength(2);
  });

  it('--timeout ends it with 5 and the last sentence', async () => {
    const { env } = await apiOf({
      'POST /v1/lbs': { body: {} },
      'GET /v1/lbs/web': { body: lbView({ status: 'PENDING', sentence: 'no host has room' }) },
    });
    const { exit, stdout } = await cli('lb create web --timeout 0.5 --json', { env });
    expect(exit).toBe(5);
    expect(JSON.parse(stdout.trim())).toMatchObject({ error: { code: 'timeout', message: expect.stringContaining('no host has room') } });
  });

  it('--timeout bounds each call too', async () => {
    const { env } = await apiOf({ 'GET /v1/lbs': { raw: () => undefined } });
    const start = performance.now();
    expect((await cli('lb list --timeout 0.2', { env })).exit).toBe(5);
    expect(performance.now() - start).toBeLessThan(5000);
  });

  it('what failed is said at once', async () => {
    const { env } = await apiOf({
      'POST /v1/lbs': { body: {} },
      'GET /v1/lbs/web': { body: lbView({ status: 'FAILED', sentence: 'no host fits' }) },
    });
    expect(await cli('lb create web', { env })).toMatchObject({ exit: 1, stderr: expect.stringContaining('no host fits') });
  });
});

describe('an API that changes its leader', () => {
  const away = {
    status: 503,
    body: { error: { code: 'unavailable', message: 'no control replica leads at the moment', hint: 'try again' } },
  };
  it('is asked again, also to change something: nothing was done', async () => {
    const { env, asked } = await apiOf({
      'POST /v1/tokens': [away, { body: { id: '1', token: 'xc_new' } }],
      'GET /v1/lbs': [away, { body: [] }],
    });
    expect(await cli('token create ci', { env })).toMatchObject({ exit: 0, stdout: 'xc_new\n' });
    expect((await cli('lb list', { env })).exit).toBe(0);
    expect(asked).toHaveLength(4);
  });

  it('is not asked twice to change something when it is not known what became of it', async () => {
    const broken: Reply = { raw: (response) => response.destroy() };
    const { env, asked } = await apiOf({ 'POST /v1/tokens': broken, 'GET /v1/lbs': [broken, { body: [] }] });
    expect(await cli('token create ci', { env })).toMatchObject({ exit: 1, stderr: expect.stringContaining('not known') });
    expect(asked).toHaveLength(1);
    // A look does no harm.
    expect((await cli('lb list', { env })).exit).toBe(0);
  });

  it('that nobody answers for is said with what to do', async () => {
    const { exit, stderr } = await cli('lb list --timeout 0.1', { env: { XCAAS_URL: 'http://127.0.0.1:1' } });
    expect(exit).toBe(1);
    expect(stderr).toContain('http://127.0.0.1:1');
    expect(stderr).toContain('./xcaas up');
  });

  it('that speaks something else is no fault of the one who asks', async () => {
    const { env } = await apiOf({
      'GET /v1/lbs': { body: [{ name: 7 }] },
      'GET /v1/nodes': { raw: (response) => void response.writeHead(502, { 'content-type': 'text/html' }).end('<h1>Bad Gateway</h1>') },
      'POST /v1/containers/a/stop': { raw: (response) => void response.writeHead(502).end('<h1>Bad Gateway</h1>') },
      'POST /v1/containers/b/stop': { raw: (response) => void response.writeHead(200).end('hello\n') },
    });
    for (const line of ['lb list', 'nodes', 'stop a', 'stop b']) {
      const { exit, stdout } = await cli(`${line} --json`, { env });
      expect(exit, line).toBe(1);
      expect(JSON.parse(stdout), line).toMatchObject({ error: { code: 'engine' } });
    }
  });
});

describe('a drain', () => {
  const path = 'POST /v1/lbs/web/containers/remove';
  const step = (active: number, done = false) => ({ active, sentence: `${active} in flight`, done });

  it('is followed to its end', async () => {
    const { env, asked } = await apiOf({ [path]: { lines: [step(2), step(1), step(0, true)] } });
    const { exit, stdout, stderr } = await cli('lb remove_container web -l container=a --drain 5 --json', { env });
    expect(exit).toBe(0);
    expect(JSON.parse(stdout)).toEqual(step(0, true));
    expect(stderr).toBe('2 in flight\n1 in flight\n');
    expect(asked[0]?.body).toEqual({ container: 'a', drainSeconds: 5 });
  });

  it('that ends with an error says it, in one JSON value', async () => {
    const { env } = await apiOf({ [path]: { lines: [step(2), { error: { code: 'timeout', message: 'too slow' } }] } });
    const { exit, stdout } = await cli('lb remove_container web -l container=a --json', { env });
    expect(exit).toBe(5);
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'timeout', message: 'too slow' } });
  });

  it.each<[string, Reply]>([
    ['breaks off', { raw: (response) => void response.writeHead(200).write(`${JSON.stringify(step(2))}\n`, () => response.destroy()) }],
    ['ends before it is done', { lines: [step(2)] }],
    ['says nothing', { lines: [] }],
  ])('that %s is not taken for done', async (_, reply) => {
    const { env, asked } = await apiOf({ [path]: reply });
    const { exit, stdout } = await cli('lb remove_container web -l container=a --json', { env });
    expect(exit).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'unavailable', hint: expect.any(String) } });
    expect(asked).toHaveLength(1);
  });

  it('that hangs ends with the time given', async () => {
    const { env } = await apiOf({ [path]: { raw: (response) => void response.writeHead(200).write(`${JSON.stringify(step(2))}\n`) } });
    expect((await cli('lb remove_container web -l container=a --drain 0 --timeout 0.3', { env })).exit).toBe(5);
  });
});

describe('destroy', () => {
  const answers = { 'GET /v1/lbs/web': [{ body: lbView() }, error('not_found', 404)], 'DELETE /v1/lbs/web': { body: {} } };
  const deleted = (asked: Asked[]) => asked.filter(({ method }) => method === 'DELETE').length;

  it('refuses where nobody can be asked, and changes nothing', async () => {
    const { env, asked } = await apiOf(answers);
    expect(await cli('lb destroy web', { env })).toMatchObject({ exit: 2, stderr: expect.stringContaining('--yes') });
    expect(deleted(asked)).toBe(0);
  });

  it.each([
    ['y', 1, 0],
    ['YES', 1, 0],
    ['n', 0, 2],
    ['yesterday', 0, 2],
  ])('asks on a terminal: %s', async (typed, times, exit) => {
    const { env, asked } = await apiOf(answers);
    const ran = await cli('lb destroy web', { env, terminal: true, typed });
    expect(ran.stderr).toContain('Remove web with its 1 members? [y/N]');
    expect({ exit: ran.exit, times: deleted(asked) }).toEqual({ exit, times });
  });

  it('--yes asks nobody; what is not there is said before', async () => {
    const { env, asked } = await apiOf(answers);
    const { exit, stdout } = await cli('lb destroy web --yes --json', { env });
    expect({ exit, body: JSON.parse(stdout) }).toEqual({ exit: 0, body: { name: 'web', destroyed: true } });
    expect(deleted(asked)).toBe(1);
    expect((await cli('lb destroy web', { env })).exit).toBe(3);
  });
});

describe('doctor', () => {
  const node = { id: '1', name: 'host-a', state: 'ready', version: VERSION };
  const good = {
    'GET /v1/health': { body: { status: 'ok', agent: 'ok', control: 'ok', consul: 'ok' } },
    'GET /v1/version': { body: { version: VERSION } },
    'GET /v1/nodes': { body: [node] },
    'GET /v1/status': { body: { survives: 'nothing', services: [{ kind: 'lb', name: 'web', status: 'READY', sentence: 's' }] } },
  };
  it.each<[string, Record<string, Reply>, string, number]>([
    ['nothing is wrong', {}, 'READY', 0],
    ['a host is down', { 'GET /v1/nodes': { body: [{ ...node, state: 'down' }] } }, 'DEGRADED', 6],
    ['an agent is old', { 'GET /v1/nodes': { body: [{ ...node, version: '0.0.1' }] } }, 'DEGRADED', 6],
    ['Consul has no leader', { 'GET /v1/health': { body: { control: 'ok', consul: 'no leader' } } }, 'DEGRADED', 6],
    ['control is away', { 'GET /v1/health': { body: { control: 'nobody', consul: 'ok' } } }, 'DOWN', 1],
    ['the token is wrong', { 'GET /v1/version': error('unauthenticated', 401) }, 'DOWN', 1],
    ['control was asked itself', { 'GET /v1/health': error('unauthenticated', 401) }, 'READY', 0],
  ])('%s', async (_, change, status, exit) => {
    const { env } = await apiOf({ ...good, ...change });
    const json = await cli('doctor --json', { env });
    const report = JSON.parse(json.stdout);
    expect({ exit: json.exit, status: report.status }).toEqual({ exit, status });
    for (const check of report.checks) if (!check.ok) expect(check.hint, check.name).toEqual(expect.any(String));
    expect((await cli('doctor', { env })).stdout.includes('BAD')).toBe(status !== 'READY');
  });

  it('says at once that there is no agent', async () => {
    const start = performance.now();
    expect(await cli('doctor', { env: { XCAAS_URL: 'http://127.0.0.1:1' } })).toMatchObject({
      exit: 1,
      stdout: expect.stringContaining('BAD  agent'),
    });
    expect(performance.now() - start).toBeLessThan(3000);
  });
});

describe('what is shown', () => {
  it('events that are followed are one JSON value a line', async () => {
    const event = (sentence: string) => ({ time: 't', object: 'lb/web', kind: 'info', reason: 'r', sentence });
    const { env } = await apiOf({ 'GET /v1/events?follow=true': { lines: [event('a'), event('b')] } });
    const { exit, stdout } = await cli('events --follow --json', { env });
    expect(exit).toBe(0);
    expect(
      stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line)),
    ).toEqual([event('a'), event('b')]);
  });

  it('names of others cannot move the cursor or retitle the terminal', async () => {
    const evil = 'web\u001b]0;owned\u0007\u001b[2J\r\u009b';
    const { env } = await apiOf({
      'GET /v1/lbs': { body: [{ name: evil, status: 'READY', sentence: evil, listeners: [] }] },
      'GET /v1/lbs/web': error('not_found', 404, evil),
    });
    const list = await cli('lb list', { env });
    const failed = await cli('lb status web', { env });
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the ones that must not come through
    for (const text of [list.stdout, failed.stderr]) expect(text).not.toMatch(/\u001b\]|\u001b\[2J|\u0007|\r|\u009b/);
    expect(JSON.parse((await cli('lb list --json', { env })).stdout)[0].name).toBe(evil);
  });

  it('a node’s labels and columns that are empty', async () => {
    const { env } = await apiOf({ 'GET /v1/lbs': { body: [] } });
    expect((await cli('lb list', { env })).stdout).toBe('NAME  STATUS  LISTENERS  SENTENCE\n');
    expect((await cli('lb list --json', { env })).stdout).toBe('[]\n');
  });
});

describe('completion', () => {
  let folder: string;
  let script: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'xc-'));
    script = join(folder, 'completion.bash');
    await writeFile(script, (await cli('completion')).stdout);
  });
  afterAll(() => rm(folder, { recursive: true }));

  it('is a script that bash takes', async () => {
    expect(await run('bash', ['-n', script])).toEqual({ code: 0, stdout: '', stderr: '' });
  });

  it.each([
    [['xcaas', 'l'], ['lb']],
    [['lb', 'cr'], ['create']],
    [
      ['/opt/xcaas/bin/lb', 'add_'],
      ['add_container', 'add_service'],
    ],
    [
      ['xcaas', 'lb', 'rule', ''],
      ['add', 'list', 'remove'],
    ],
    [['lb', 'create', 'web', '--re'], ['--replicas']],
    [
      ['lb', 'list', '--'],
      ['--json', '--timeout', '--help'],
    ],
    [['xcaas', 'node', 'un'], ['undrain']],
    [['xcaas', 'lb', 'nothing-like-it', 'cr'], ['create']],
  ])('%j', async (words, expected) => {
    // The words travel as arguments, so that nothing in them is bash.
    const program = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _xcaas "$1"; printf "%s\\n" "${COMPREPLY[@]}"';
    const { stdout, stderr, code } = await run('bash', ['-c', program, 'bash', script, ...words]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout.split('\n').filter(Boolean).toSorted()).toEqual(expected.toSorted());
  });
});
