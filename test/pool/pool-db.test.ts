import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run } from '#core/spawn.ts';
import { VERSION } from '#core/version.ts';
import type { PoolHost } from '#test/pool/host.ts';
import { type Pool, startPool } from '#test/xcaas.ts';
import { measured, membersOn, until, untilSame } from './lb-pool.ts';

/** The owner's way: a pool that grows from one host to three, databases on it, and what an operator does to them. */
let pool: Pool;
beforeAll(async () => {
  pool = await startPool({ hosts: 1, spares: 2, verbose: process.env.XCAAS_VERBOSE !== undefined });
});
afterAll(() => pool?.stop());

interface DbJson {
  name: string;
  status: string;
  sentence: string;
  epoch: number;
  master: string | null;
  sync: string | null;
  version: string;
  endpoint: { host: string; port: number; published: { host: string; hostPort: number; port: number }[] };
  members: { id: string; role: string; state: string; node: string; group: string; lagSeconds: number | null; generation: string | null }[];
}
interface UrlJson {
  url: string;
  host: string;
  port: number;
  user: string;
  password: string;
  database: string;
}

const status = (name = 'adb') => pool.json<DbJson>(['db', 'status', name]);
const error = (text: string) => (JSON.parse(text) as { error: { code: string; message: string; hint?: string } }).error;
const memberOf = (db: DbJson, id: string | null) => db.members.find((member) => member.id === id);

interface SqlOptions {
  replica?: boolean;
  name?: string;
  user?: string;
  /** In place of the one that `db url` says. */
  password?: string;
}

/** A container on the databases' network, as a user's would be; it comes back with its host. */
const CLIENT = 'db-client';
async function ensureClient(host: PoolHost): Promise<void> {
  if ((await host.run('docker', ['ps', '-q', '--filter', `name=^${CLIENT}$`])) !== '') return;
  const sleeps = ['--entrypoint', 'sleep', `xcaas/xdb:${VERSION}`, 'infinity'];
  await host.run('docker', ['run', '-d', '--name', CLIENT, '--network', 'xcaas', '--restart', 'always', '--no-healthcheck', ...sleeps], {
    timeoutMs: 60_000,
  });
}

/** SQL through the endpoint, from a container of a user. */
async function trySql(host: PoolHost, text: string, { replica = false, name = 'adb', user, password }: SqlOptions = {}) {
  const as = user === undefined ? [] : ['--user', user];
  const url = await pool.json<UrlJson>(['db', 'url', name, ...as, ...(replica ? ['--replica'] : [])], { on: host });
  const client = ['--protocol=TCP', `--host=${url.host}`, `--port=${url.port}`, `--user=${url.user}`, `--database=${url.database}`];
  await ensureClient(host);
  const done = await host.exec(
    'docker',
    [
      ...['exec', '-e', 'MYSQL_PWD', CLIENT, 'mariadb'],
      ...[...client, '--skip-ssl-verify-server-cert', '--connect-timeout=5', '--batch', '--skip-column-names', '--execute', text],
    ],
    { timeoutMs: 60_000, env: { MYSQL_PWD: password ?? url.password } },
  );
  return { ...done, stdout: done.stdout.trim() };
}
async function sql(host: PoolHost, text: string, options: SqlOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await trySql(host, text, options);
  expect({ code, stderr }, text).toEqual({ code: 0, stderr: '' });
  return stdout;
}
const containerOf = async (db: DbJson, id: string) =>
  pool
    .host(memberOf(db, id)?.node ?? '')
    .docker.getContainer(id)
    .inspect();

describe('on one host', { timeout: 400_000 }, () => {
  it('both members share it, each with a CPU of its own, and the status says what that is worth', async () => {
    const made = await pool.json<DbJson>(['db', 'create', '--cpu', '1', '--memory', '600m', '--disk', '2', 'lone'], { timeoutMs: 240_000 });
    expect([made.status, made.master, made.sync]).toEqual(['DEGRADED', 'lone-1', 'lone-2']);
    expect(made.sentence).toBe('lone-1 takes writes; both members share host n1');
    expect((await pool.cli(['db', 'status', 'lone'])).code).toBe(6);
    const bound = await Promise.all(['lone-1', 'lone-2'].map(async (id) => (await containerOf(made, id)).HostConfig.CpusetCpus));
    expect(bound.toSorted()).toEqual(['0', '1']);
    const more = await pool.cli(['db', 'create', '--cpu', '1', '--opt', 'role=single', 'more', '--json']);
    expect({ exit: more.code, message: error(more.stdout).message }).toEqual({
      exit: 1,
      message: expect.stringMatching(/no host for more-1.* 0 with 1 CPU/),
    });
    await sql(pool.first, 'CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1), (2)', { name: 'lone' });
  });

  it('a second group that joins gets the slave by itself, and nothing is lost', async () => {
    for (const host of [...pool.spares]) await pool.join(host);
    const { value } = await until('lone is in two groups, from when three hosts are there', 120, async () => {
      const now = await status('lone');
      return now.status === 'READY' ? now : undefined;
    });
    expect(value.members.map(({ id }) => id)).toEqual(['lone-1', 'lone-3']);
    expect(new Set(value.members.map(({ group }) => group)).size).toBe(2);
    expect([value.master, value.sync, value.epoch]).toEqual(['lone-1', 'lone-3', 1]);
    expect(await sql(pool.first, 'SELECT COUNT(*) FROM t', { name: 'lone', replica: true })).toBe('2');
    await untilSame('what the old slave left is gone', 60, async () => (await membersOn(pool.first)).join(), 'lone-1 running');
    await pool.json(['db', 'destroy', 'lone', '--purge', '--yes'], { timeoutMs: 120_000 });
  });
});

describe('making a database', { timeout: 400_000 }, () => {
  it('refuses what cannot be, and leaves nothing behind', async () => {
    const refused = async (args: string[], code: string, exit: number, message: RegExp) => {
      const answer = await pool.cli(['db', 'create', '-d', 'adb', ...args, '--json']);
      expect({ code: error(answer.stdout).code, exit: answer.code }, answer.stdout).toEqual({ code, exit });
      expect(error(answer.stdout).message).toMatch(message);
    };
    await refused(['--memory', '4096'], 'no_host', 1, /memory/);
    await refused(['--cpu', '500'], 'no_host', 1, /500 CPUs/);
    await refused(['--opt', 'storage=hdd'], 'no_host', 1, /0 with storage=hdd/);
    await refused(['--opt', 'colour=red'], 'usage', 2, /colour/);
    await refused(['--image', `xcaas/xlb:${VERSION}`], 'invalid', 2, /appliance xlb/);
    await refused(['--image', 'nowhere:1'], 'not_found', 3, /nowhere:1/);
    await refused(['--opt', 'flavor=mysql'], 'not_implemented', 1, /mysql/);
    await refused(['--opt', 'param.sync_binlog=0'], 'invalid', 2, /sync_binlog/);
    await refused(['--network', 'nowhere'], 'not_found', 3, /nowhere/);
    const left = `${pool.first.root}/var/lib/xcaas/volumes/adb-2`;
    await pool.first.run('bash', ['-c', `mkdir -p ${left}/data && echo another >${left}/data/ibdata1`]);
    await refused([], 'conflict', 4, /n1 holds data of an earlier adb-2/);
    expect(await pool.first.run('cat', [`${left}/data/ibdata1`])).toBe('another\n');
    await pool.first.run('rm', ['-r', left]);
    expect(await pool.json(['db', 'list'])).toEqual([]);
  });

  it('makes a master and a slave in two groups with the owner’s command', async () => {
    // A tag of the owner's, on one host.
    await pool.first.run('docker', ['tag', `xcaas/xdb:${VERSION}`, 'acs/xdb:tag']);
    const start = performance.now();
    const made = await pool.json<DbJson>([
      ...['db', 'create', '-d', 'adb', '--cpu', '2', '--memory', '4', '--disk', '100', '--image', 'acs/xdb:tag'],
      ...['--opt', 'engine=innodb', '--opt', 'storage=ssd', '--publish', '13306'],
    ]);
    measured('db create to READY', performance.now() - start);

    expect(made.status).toBe('READY');
    expect(made.members.map(({ id, role, state }) => `${id} ${role} ${state}`).sort()).toEqual([
      'adb-1 master running',
      'adb-2 slave running',
    ]);
    expect(new Set(made.members.map(({ group }) => group)).size).toBe(2);
    expect(made.master).toBe('adb-1');
    expect(made.sync).toBe('adb-2');
    expect(made.endpoint.published).toHaveLength(2);
    for (const { id } of made.members) {
      const { HostConfig, Config } = await containerOf(made, id);
      expect([HostConfig.CpusetCpus, HostConfig.Memory]).toEqual(['0-1', 4 * 2 ** 30]);
      expect(Config.Labels).toMatchObject({ 'xcaas.kind': 'db', 'xcaas.name': 'adb', 'xcaas.member': id });
    }
    expect(Number(await sql(pool.first, 'SELECT @@innodb_buffer_pool_size'))).toBeGreaterThan(2 * 2 ** 30);
    const nodes = await pool.json<{ name: string; reserved: { cpus: number; memoryBytes: number; diskBytes: number } }[]>(['nodes']);
    for (const { node } of made.members)
      expect(nodes.find(({ name }) => name === node)?.reserved).toEqual({ cpus: 2, memoryBytes: 4 * 2 ** 30, diskBytes: 100 * 2 ** 30 });
  });

  it('says the same again, and refuses another specification showing the difference', async () => {
    expect((await pool.json<DbJson>(['db', 'create', '-d', 'adb', '--memory', '4'])).status).toBe('READY');
    const other = await pool.cli(['db', 'create', '-d', 'adb', '--memory', '2', '--json']);
    expect(other.code).toBe(4);
    expect(error(other.stdout).message).toContain('memory: 2 GiB instead of 4 GiB');
    const name = await pool.cli(['lb', 'create', 'adb', '--json']);
    expect(error(name.stdout)).toMatchObject({ code: 'conflict', message: expect.stringContaining('database adb') });
  });

  it('is reached by its name from any host, written at one port and read at the other', async () => {
    for (const host of pool.hosts) expect(await sql(host, 'SELECT 1')).toBe('1');
    const [first, , third] = pool.hosts;
    await sql(first!, 'CREATE TABLE t (id INT PRIMARY KEY, word TEXT); INSERT INTO t VALUES (1, "one")');
    expect(await sql(third!, 'SELECT word FROM t')).toBe('one');
    const writer = await sql(first!, 'SELECT @@server_id, @@read_only');
    const reader = await sql(first!, 'SELECT @@server_id, @@read_only', { replica: true });
    expect(writer.split('\t')[1]).toBe('0');
    expect(reader.split('\t')[1]).toBe('1');
    expect(reader.split('\t')[0]).not.toBe(writer.split('\t')[0]);
  });

  it('is reached through a published port, and with db connect', async () => {
    const { stdout, code, stderr } = await pool.cli(['db', 'connect', 'adb', '-e', 'SELECT word FROM t']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain('one');
    const { published } = (await status()).endpoint;
    const at = published[0]!;
    await until(`${at.host}:${at.hostPort} takes connections`, 20, async () => {
      const probe = await pool.first.exec('bash', ['-c', `exec 3<>/dev/tcp/${at.host}/${at.hostPort}`], { timeoutMs: 5000 });
      return probe.code === 0 ? true : undefined;
    });
  });

  it('keeps its passwords out of everything but its URL', async () => {
    const { password } = await pool.json<UrlJson>(['db', 'url', 'adb']);
    const said = await Promise.all(
      [
        ['db', 'status', 'adb'],
        ['db', 'list'],
        ['db', 'topology', 'adb'],
        ['db', 'events', 'adb'],
        ['db', 'logs', 'adb', '--lines', '5000'],
        ['events'],
      ].map(async (args) => JSON.stringify(await pool.json(args))),
    );
    for (const text of said) expect(text).not.toContain(password);
    for (const host of pool.hosts) {
      const inspected = JSON.stringify(
        await Promise.all((await host.docker.listContainers({ all: true })).map(({ Id }) => host.docker.getContainer(Id).inspect())),
      );
      expect(inspected).not.toContain(password);
    }
    const reader = await pool.json<{ token: string }>(['token', 'create', 'reader', '--role', 'read']);
    expect((await pool.cli(['db', 'url', 'adb'], { token: reader.token })).code).toBe(1);
  });
});

describe('users and databases', () => {
  it('a user may do everything in its databases, and nothing that reaches the other member', async () => {
    const { password } = await pool.json<{ password: string }>(['db', 'user', 'add', 'adb', 'app']);
    expect(await sql(pool.first, 'SELECT CURRENT_USER(), word FROM t', { user: 'app', password })).toBe('app@%\tone');
    const powers = [
      ...['SET GLOBAL read_only = 1', 'SET GLOBAL rpl_semi_sync_master_enabled = 0', 'SET sql_log_bin = 0', 'STOP SLAVE'],
      ...['CREATE USER other', 'SELECT * FROM mysql.global_priv', 'CREATE DATABASE other', 'SET GLOBAL max_connections = 1'],
    ];
    for (const text of powers) {
      const { code, stderr } = await trySql(pool.first, text, { user: 'app', password });
      expect({ text, code, stderr }).toEqual({ text, code: 1, stderr: expect.stringMatching(/ERROR 1(227|142|044)/) });
    }
  });

  it('a password changes with nobody shut out: both are good until the change is finished', async () => {
    const first = (await pool.json<UrlJson>(['db', 'url', 'adb', '--user', 'app'])).password;
    const { password: second } = await pool.json<{ password: string }>(['db', 'user', 'rotate', 'adb', 'app']);
    for (const password of [first, second]) expect(await sql(pool.first, 'SELECT 1', { user: 'app', password })).toBe('1');
    const again = await pool.cli(['db', 'user', 'rotate', 'adb', 'app', '--json']);
    expect({ exit: again.code, hint: error(again.stdout).hint }).toEqual({ exit: 4, hint: expect.stringContaining('--finish') });
    await pool.json(['db', 'user', 'rotate', 'adb', 'app', '--finish']);
    expect((await trySql(pool.first, 'SELECT 1', { user: 'app', password: first })).stderr).toContain('ERROR 1045');
    expect(await sql(pool.first, 'SELECT 1', { user: 'app' })).toBe('1');
  });

  it('databases come and go, but for the one of the URL', async () => {
    await pool.json(['db', 'database', 'add', 'adb', 'shop']);
    await pool.json(['db', 'user', 'add', 'adb', 'app', '--database', 'adb', '--database', 'shop']);
    await sql(pool.first, 'CREATE TABLE shop.s (id INT PRIMARY KEY)', { user: 'app' });
    expect(await pool.json(['db', 'database', 'list', 'adb'])).toMatchObject([
      { name: 'adb', own: true },
      { name: 'shop', tables: 1 },
    ]);
    expect((await pool.cli(['db', 'database', 'drop', 'adb', 'adb', '--yes'])).code).toBe(4);
    expect((await pool.cli(['db', 'user', 'drop', 'adb', 'adb'])).code).toBe(4);
    await pool.json(['db', 'database', 'drop', 'adb', 'shop', '--yes']);
    await pool.json(['db', 'user', 'drop', 'adb', 'app']);
    expect(await pool.json(['db', 'user', 'list', 'adb'])).toMatchObject([{ name: 'adb', databases: ['adb'] }]);
    expect((await pool.cli(['db', 'url', 'adb', '--user', 'app'])).code).toBe(3);
  });
});

describe('changing the master', { timeout: 400_000 }, () => {
  it('is refused to a member that leads, is none, or has no time to come', async () => {
    const { master } = await status();
    const refused = async (args: string[]) => (await pool.cli(['db', 'switchover', 'adb', ...args, '--json'])).code;
    expect(await refused(['--to', master ?? ''])).toBe(4);
    expect(await refused(['--to', 'adb-9'])).toBe(3);
    expect(await refused(['--at', '2020-01-01T00:00:00Z'])).toBe(2);
  });

  it('as planned takes less than a second of writes, and loses none', async () => {
    const held: number[] = [];
    for (let turn = 0; turn < 3; turn++) {
      const before = await status();
      const done = await pool.json<{ state: string; blockedMs?: number; sentence: string }>(['db', 'switchover', 'adb']);
      expect(done.state).toBe('done');
      if (done.blockedMs !== undefined) held.push(done.blockedMs);
      await untilSame('the old master is the slave', 60, async () => (await status()).sync, before.master);
      // The record says so first; the slave's own word, which the next switchover heeds, is up to a second older.
      await untilSame('the pair is whole again', 60, async () => (await status()).status, 'READY');
      const after = await status();
      expect(after.master).toBe(before.sync);
      expect(after.epoch).toBe(before.epoch + 1);
      await sql(pool.first, `INSERT INTO t VALUES (${10 + turn}, 'after ${turn}')`);
    }
    process.stderr.write(`  writes were held for ${held.map((ms) => `${Math.round(ms)} ms`).join(', ')}\n`);
    expect(held).toHaveLength(3);
    expect(Math.max(...held)).toBeLessThan(5000);
    expect(await sql(pool.first, 'SELECT COUNT(*) FROM t')).toBe('4');
  });

  it('waits for the time it is given, and can be called off until then', async () => {
    const before = await status();
    await pool.json(['db', 'switchover', 'adb', '--at', '+1h']);
    const second = await pool.cli(['db', 'switchover', 'adb', '--json']);
    expect({ exit: second.code, hint: error(second.stdout).hint }).toEqual({ exit: 4, hint: expect.stringContaining('--cancel') });
    await pool.json(['db', 'switchover', 'adb', '--cancel']);
    await pool.json(['db', 'switchover', 'adb', '--at', '+3s']);
    expect((await status()).master).toBe(before.master);
    await untilSame('it leads when its time has come', 60, async () => (await status()).master, before.sync);
    await untilSame('the pair is whole again', 60, async () => (await status()).status, 'READY');
  });

  it('rests while it is paused', async () => {
    await pool.json(['db', 'pause', 'adb', '--for', '10m']);
    expect(await status()).toMatchObject({ status: 'PAUSED', sentence: expect.stringContaining('failover and maintenance rest until') });
    expect(await pool.json(['db', 'resume', 'adb'])).toMatchObject({ status: 'READY' });
  });

  it('is told as events with its reason', async () => {
    const events = await pool.json<{ reason: string; sentence: string }[]>(['db', 'events', 'adb']);
    expect(events.filter(({ reason }) => reason === 'switchover')).toHaveLength(4);
    expect(events.find(({ reason }) => reason === 'switchover')?.sentence).toMatch(
      /leads in place of adb-1 \(epoch 2\): a switchover was asked for/,
    );
  });

  it('by force goes to the slave that holds everything', async () => {
    const before = await status();
    await pool.json(['db', 'failover', 'adb', '--yes']);
    await untilSame('the pair is whole again', 90, async () => (await status()).status, 'READY');
    const after = await status();
    expect([after.master, after.sync]).toEqual([before.sync, before.master]);
    expect(await sql(pool.first, 'SELECT COUNT(*) FROM t')).toBe('4');
  });
});

describe('maintenance', { timeout: 400_000 }, () => {
  it('restarts engines one after another, with the master handing over', async () => {
    const before = await status();
    await pool.json(['db', 'restart', 'adb'], { timeoutMs: 240_000 });
    const after = await status();
    expect(after.status).toBe('READY');
    expect(after.master).toBe(before.sync);
    expect(await sql(pool.first, 'SELECT COUNT(*) FROM t')).toBe('4');
  });

  it('sets a parameter that needs a restart on both members, and refuses one that would break replication', async () => {
    expect((await pool.cli(['db', 'param', 'set', 'adb', 'gtid_strict_mode=OFF'])).code).toBe(2);
    await pool.json(['db', 'param', 'set', 'adb', 'innodb_read_io_threads=8'], { timeoutMs: 240_000 });
    expect(await sql(pool.first, 'SELECT @@innodb_read_io_threads')).toBe('8');
    expect(await sql(pool.first, 'SELECT @@innodb_read_io_threads', { replica: true })).toBe('8');
  });

  it('makes the copy of a slave anew, and never that of the master', async () => {
    const before = await status();
    expect((await pool.cli(['db', 'reinit', 'adb', before.master ?? '', '--yes'])).code).toBe(4);
    const after = await pool.json<DbJson>(['db', 'reinit', 'adb', before.sync ?? '', '--yes'], { timeoutMs: 240_000 });
    expect(memberOf(after, before.sync)?.generation).not.toBe(memberOf(before, before.sync)?.generation);
    await untilSame('the pair is whole again', 90, async () => (await status()).status, 'READY');
    expect(await sql(pool.first, 'SELECT COUNT(*) FROM t', { replica: true })).toBe('4');
  });

  it('resizes with a switchover, and refuses what fits nowhere', async () => {
    expect((await pool.cli(['db', 'resize', 'adb', '--memory', '4096'])).code).toBe(1);
    const before = await status();
    const after = await pool.json<DbJson>(['db', 'resize', 'adb', '--memory', '1200m'], { timeoutMs: 300_000 });
    expect(after).toMatchObject({ status: 'READY', master: before.sync });
    for (const { id, node } of after.members) {
      const { HostConfig } = await pool.host(node).docker.getContainer(id).inspect();
      expect(HostConfig.Memory).toBe(1200 * 2 ** 20);
    }
    expect(await sql(pool.first, 'SELECT COUNT(*) FROM t')).toBe('4');
  });

  it('upgrades to another image, who leads last, and refuses one that is no database', async () => {
    const tag = 'xcaas-test/xdb-upgrade:next';
    const { code } = await run('docker', ['build', '--quiet', '--tag', tag, '-'], {
      input: `FROM xcaas/xdb:${VERSION}\nENV XCAAS_TEST_IMAGE=next\n`,
      timeoutMs: 120_000,
    });
    expect(code).toBe(0);
    await pool.engines.loadImages([tag]);
    const refused = await pool.cli(['db', 'upgrade', 'adb', '--image', `xcaas/xlb:${VERSION}`, '--json']);
    expect(refused.code).not.toBe(0);
    expect(error(refused.stdout).message).toContain('xcaas/xlb');
    const before = await status();
    const after = await pool.json<DbJson>(['db', 'upgrade', 'adb', '--image', tag], { timeoutMs: 300_000 });
    expect(after).toMatchObject({ status: 'READY', master: before.sync });
    for (const { id, node } of after.members) {
      const { Config } = await pool.host(node).docker.getContainer(id).inspect();
      expect(Config.Env).toContain('XCAAS_TEST_IMAGE=next');
    }
    expect(await sql(pool.first, 'SELECT COUNT(*) FROM t')).toBe('4');
  });
});

describe('a host that is gone for good', { timeout: 600_000 }, () => {
  it('has its member made anew on another one, and the pair is whole by itself', async () => {
    await pool.json(['db', 'create', '--opt', 'replace-after=30', '--memory', '1', '--disk', '3', 'spare'], { timeoutMs: 240_000 });
    await sql(pool.first, 'CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1), (2)', { name: 'spare' });
    // The commands of this test run on the first host.
    const slaveIsOnFirst = ({ sync, ...db }: DbJson) => memberOf({ sync, ...db }, sync)?.node === pool.first.name;
    if (slaveIsOnFirst(await status('spare'))) await pool.json(['db', 'switchover', 'spare']);
    await untilSame('spare is whole', 60, async () => (await status('spare')).status, 'READY');
    const before = await status('spare');
    const gone = pool.host(memberOf(before, before.sync)?.node ?? '');
    await gone.kill();
    await until('its slave is known to be down', 60, async () => {
      const { code, stdout } = await pool.cli(['db', 'switchover', 'spare', '--to', before.sync ?? '', '--json']);
      return code === 4 && /is down/.test(error(stdout).message) ? true : undefined;
    });
    const { value } = await until('another member is in sync, 30 s of waiting for the lost host included', 300, async () => {
      const now = await status('spare');
      // For a moment all three are members: the lost one is dropped once the new one holds everything.
      return now.status === 'READY' && now.members.length === 2 && now.sync !== before.sync ? now : undefined;
    });
    expect(value.members.map(({ id }) => id).sort()).toEqual([before.master, 'spare-3']);
    expect(value.sync).toBe('spare-3');
    expect(memberOf(value, value.sync)?.node).not.toBe(gone.name);
    await gone.boot();
    await until('what the lost member left is gone', 240, async () =>
      (await membersOn(gone)).some((text) => text.startsWith(before.sync ?? '')) ? undefined : true,
    );
    expect(await sql(pool.first, 'SELECT COUNT(*) FROM t', { name: 'spare' })).toBe('2');
    await untilSame('adb is whole again', 240, async () => (await status()).status, 'READY');
  });
});

describe('destroying', { timeout: 400_000 }, () => {
  it('keeps the data for a while, from which it can be brought back', async () => {
    const { sentence } = await pool.json<{ sentence: string }>(['db', 'destroy', 'adb', '--yes']);
    expect(sentence).toContain('kept until');
    for (const host of pool.hosts) expect((await membersOn(host)).filter((text) => text.startsWith('adb-'))).toEqual([]);
    const status404 = await pool.cli(['db', 'status', 'adb', '--json']);
    expect({ exit: status404.code, hint: error(status404.stdout).hint }).toMatchObject({
      exit: 3,
      hint: expect.stringContaining('db undestroy adb'),
    });
    expect(await pool.json<DbJson>(['db', 'undestroy', 'adb'], { timeoutMs: 240_000 })).toMatchObject({ status: 'READY' });
    expect(await sql(pool.first, 'SELECT COUNT(*) FROM t')).toBe('4');
  });

  it('for good removes everything, and the name is free', async () => {
    await pool.json(['db', 'destroy', 'adb', '--purge', '--yes'], { timeoutMs: 240_000 });
    await pool.json(['db', 'destroy', 'spare', '--purge', '--yes'], { timeoutMs: 240_000 });
    for (const host of pool.hosts) {
      expect(await membersOn(host)).toEqual([]);
      expect(await host.run('bash', ['-c', `ls ${host.root}/var/lib/xcaas/volumes 2>/dev/null || true`])).toBe('');
    }
    expect(await pool.json(['db', 'list'])).toEqual([]);
    const made = await pool.json<DbJson>(['db', 'create', '-d', 'adb', '--opt', 'role=single'], { timeoutMs: 240_000 });
    expect(made).toMatchObject({ status: 'READY', members: [{ id: 'adb-1', role: 'master' }] });
    expect(await sql(pool.first, 'SHOW TABLES')).toBe('');
  });
});
