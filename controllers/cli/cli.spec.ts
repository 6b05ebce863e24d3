import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { COMMANDS as commands } from '#cli/commands.ts';
import { run } from '#core/spawn.ts';
import { VERSION } from '#core/version.ts';
import { type Asked, apiOf, cli, error, lbView, type Reply } from '#test/cli-driver.ts';

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
    onTestFinished(() => rm(folder, { recursive: true }));
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

describe('what the interface names', () => {
  const NAMED = {
    xcaas:
      'join-token status doctor nodes events version upgrade stop backup recover token:create token:list token:revoke node:drain node:undrain node:remove node:label',
    lb: 'create add_container remove_container add_service remove_service list status peers logs destroy listener:add listener:remove rule:add rule:list rule:remove cert:add cert:list cert:remove set',
    db: 'create list status topology url events logs connect destroy switchover failover restart reinit resize pause resume cutover backup:create backup:list backup:verify backup:delete backup:set backup:kept restore replica:add replica:remove upgrade user:add user:list user:rotate user:drop database:add database:list database:drop param:list param:set undestroy',
    cache:
      'create list status topology url switchover failover restart scale set events logs connect pause resume destroy undestroy param:list param:set user:add user:list user:rotate user:drop slow-log big-keys hot-keys backup:create backup:list backup:verify backup:delete backup:set restore upgrade',
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

  it('colours are for who sees them: a script reads none, wherever it runs', async () => {
    const { env } = await apiOf({ 'GET /v1/lbs/web': { body: lbView() }, 'GET /v1/lbs/none': error('not_found', 404) });
    expect((await cli('lb status web', { env, colours: true })).stdout).toContain('\u001b[32mREADY\u001b[39m');
    expect((await cli('lb status none', { env, colours: true })).stderr).toContain('\u001b[31merror\u001b[39m');
    const plain = [(await cli('lb status web', { env })).stdout, (await cli('lb status none', { env })).stderr].join('');
    expect(plain).toMatch(/READY[\s\S]*error: /);
    expect(plain).not.toContain('\u001b');
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
