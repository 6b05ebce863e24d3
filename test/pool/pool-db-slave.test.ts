import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { VERSION } from '#core/version.ts';
import { type Pool, startPool } from '#test/xcaas.ts';
import { measured, until } from './lb-pool.ts';

/** Slaves of other databases as an operator makes them: of a pair of the pool, and of a server outside of it; and their cutovers. */
let pool: Pool;
beforeAll(async () => {
  pool = await startPool({ verbose: process.env.XCAAS_VERBOSE !== undefined });
});
afterAll(() => pool?.stop());

interface DbJson {
  status: string;
  sentence: string;
  master: string | null;
  sync: string | null;
  follows: { host: string; port: number; database: string | null; tls: boolean; lagSeconds: number | null } | null;
  members: { id: string; role: string; state: string; group: string }[];
  next: string[];
}
interface UrlJson {
  url: string;
  host: string;
  user: string;
  password: string;
  database: string;
}

const status = (name: string) => pool.json<DbJson>(['db', 'status', name]);
const IMAGE = `xcaas/xdb:${VERSION}`;
const OUTSIDE = 'old-server';

/** SQL through the endpoint, from a container of its own on the database's network. */
async function sql(name: string, text: string): Promise<string> {
  const { host, user, password, database } = await pool.json<UrlJson>(['db', 'url', name]);
  const client = ['--protocol=TCP', `--host=${host}`, `--user=${user}`, `--database=${database}`, '--skip-ssl-verify-server-cert'];
  const said = await pool.first.run(
    'docker',
    [
      ...['run', '--rm', '--network', 'xcaas', '-e', `MYSQL_PWD=${password}`, '--entrypoint', 'mariadb', IMAGE],
      ...[...client, '--connect-timeout=5', '--batch', '--skip-column-names', '--execute', text],
    ],
    { timeoutMs: 60_000 },
  );
  return said.trimEnd();
}

async function refused(args: string[]): Promise<{ exit: number; code: string; message: string; hint: string }> {
  const { code: exit, stdout } = await pool.cli([...args, '--json']);
  const { error } = JSON.parse(stdout) as { error: { code: string; message: string; hint?: string } };
  return { exit, code: error.code, message: error.message, hint: error.hint ?? '' };
}

const created = async (name: string, masterUrl: string) => {
  const start = performance.now();
  const size = ['--memory', '1', '--disk', '2', '--opt', 'role=slave'];
  const made = await pool.json<DbJson>(['db', 'create', '-d', name, ...size, '--opt', `master-url=${masterUrl}`], { timeoutMs: 240_000 });
  measured(`db create role=slave to READY (${name})`, performance.now() - start);
  return made;
};

describe('a slave of a database of the pool', () => {
  it('is copied, placed in another group than its master, and says whom it follows', async () => {
    await pool.json(['db', 'create', '-d', 'adb', '--memory', '1', '--disk', '2'], { timeoutMs: 240_000 });
    await sql('adb', "CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, word TEXT); INSERT INTO t (word) VALUES ('before')");
    const { url } = await pool.json<UrlJson>(['db', 'url', 'adb']);
    expect(
      await refused(['db', 'create', '-d', 'bdb', '--opt', 'role=slave', '--opt', `master-url=${url.replace(/:[^:@/]+@/, ':wrong@')}`]),
    ).toMatchObject({ code: 'forbidden', message: expect.stringMatching(/adb refuses the user adb: access denied/) });
    const made = await created('bdb', url);
    expect(made).toMatchObject({ status: 'READY', master: null, follows: { database: 'adb', tls: true }, next: ['db cutover bdb'] });
    expect(made.sentence).toMatch(/^bdb-1 on \S+ follows adb, \d+ s behind$/);
    const adb = await status('adb');
    expect(made.members[0]?.group).not.toBe(adb.members.find(({ id }) => id === adb.master)?.group);
    await sql('adb', "INSERT INTO t (word) VALUES ('after')");
    await until('the slave has it', 30, async () => ((await sql('bdb', 'SELECT COUNT(*) FROM t')) === '2' ? true : undefined));
    await expect(sql('bdb', "INSERT INTO t (word) VALUES ('mine')")).rejects.toThrow(/read-only/);
    expect((await pool.cli(['db', 'status', 'bdb'])).stdout).toContain('follows    adb');
  });

  it('keeps its master from being destroyed, and takes writes as a pair of its own after its cutover', async () => {
    expect(await refused(['db', 'destroy', 'adb', '--yes'])).toMatchObject({
      exit: 4,
      code: 'in_use',
      message: expect.stringContaining('bdb follows adb'),
    });
    expect((await refused(['db', 'switchover', 'bdb'])).hint).toMatch(/db cutover bdb/);
    const start = performance.now();
    const pair = await pool.json<DbJson>(['db', 'cutover', 'bdb', '--yes'], { timeoutMs: 240_000 });
    measured('db cutover to a pair', performance.now() - start);
    expect(pair).toMatchObject({ status: 'READY', master: 'bdb-1', sync: 'bdb-2', follows: null });
    expect(new Set(pair.members.map(({ group }) => group)).size).toBe(2);
    expect(await sql('bdb', "INSERT INTO t (word) VALUES ('mine'); SELECT COUNT(*) FROM t")).toBe('3');
    expect(await sql('adb', 'SELECT COUNT(*) FROM t')).toBe('2');
    expect((await refused(['db', 'cutover', 'bdb', '--yes'])).code).toBe('conflict');
    await pool.json(['db', 'destroy', 'adb', '--yes', '--purge'], { timeoutMs: 120_000 });
  });
});

describe('a read replica', () => {
  it('is made on the host that is left, reads, and is removed with its data', async () => {
    const made = await pool.json<DbJson>(['db', 'replica', 'add', 'bdb'], { timeoutMs: 240_000 });
    expect(made.members.find(({ id }) => id === 'bdb-3')).toMatchObject({ role: 'replica', state: 'running' });
    expect(made).toMatchObject({ status: 'READY', master: 'bdb-1', sync: 'bdb-2' });
    expect(new Set(made.members.map(({ group }) => group)).size).toBe(3);
    expect((await refused(['db', 'switchover', 'bdb', '--to', 'bdb-3'])).code).toBe('conflict');
    await pool.json(['db', 'replica', 'remove', 'bdb']);
    await until('it is gone', 60, async () => {
      const { members, status: word } = await status('bdb');
      return members.length === 2 && word === 'READY' ? true : undefined;
    });
    expect((await refused(['db', 'replica', 'remove', 'bdb'])).message).toMatch(/no read replica/);
  });
});

describe('a slave of a server outside of the pool', () => {
  const outside = (text: string) => pool.first.run('docker', ['exec', OUTSIDE, 'mariadb', '-S', '/tmp/m.sock', '-uroot', '-N', '-e', text]);

  it('is refused with what mends it while the server is not fit, before anything is made', async () => {
    const start = [
      'mariadb-install-db --no-defaults --datadir=/tmp/m --auth-root-authentication-method=normal --skip-test-db >/dev/null 2>&1',
      'exec mariadbd --no-defaults --datadir=/tmp/m --socket=/tmp/m.sock --port=3399 --server-id=1 --innodb-buffer-pool-size=32M "$@"',
    ].join(' && ');
    const run = (...more: string[]) =>
      pool.first.run('docker', [
        ...['run', '--detach', '--name', OUTSIDE, '--network', 'host', '--user', '7481:7481', '--entrypoint', 'bash', IMAGE],
        ...['-c', start, 'server', ...more],
      ]);
    await run();
    await until('the server answers', 60, async () => ((await outside('SELECT 1').catch(() => '')).trim() === '1' ? true : undefined));
    await outside("CREATE USER mig@'%' IDENTIFIED BY 'pw'");
    const create = (masterUrl: string) =>
      refused(['db', 'create', '-d', 'shop', '--opt', 'role=slave', '--opt', `master-url=${masterUrl}`]);
    const at = `${pool.first.address}:3399`;
    expect(await create(`mysql://mig:pw@${pool.first.address}:3398`)).toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('3398'),
    });
    expect(await create(`mysql://mig:wrong@${at}`)).toMatchObject({ code: 'forbidden', message: expect.stringMatching(/access denied/) });
    expect(await create(`mysql://mig:pw@${at}`)).toMatchObject({
      code: 'forbidden',
      hint: expect.stringMatching(/GRANT REPLICATION SLAVE/),
    });
    await outside("GRANT REPLICATION SLAVE, BINLOG MONITOR, SELECT, SHOW VIEW, TRIGGER, EVENT ON *.* TO mig@'%'");
    expect(await create(`mysql://mig:pw@${at}`)).toMatchObject({ code: 'invalid', message: expect.stringMatching(/no binlog/) });
    expect((await pool.json<unknown[]>(['db', 'list'])).length).toBe(1);
    await pool.first.run('docker', ['rm', '--force', OUTSIDE]);
    await run('--log-bin=bin');
    await until('the server answers', 60, async () => ((await outside('SELECT 1').catch(() => '')).trim() === '1' ? true : undefined));
    await outside("CREATE USER mig@'%' IDENTIFIED BY 'pw'");
    await outside("GRANT REPLICATION SLAVE, BINLOG MONITOR, SELECT, SHOW VIEW, TRIGGER, EVENT ON *.* TO mig@'%'");
    await outside('CREATE DATABASE crm; CREATE TABLE crm.t (id INT PRIMARY KEY AUTO_INCREMENT, word TEXT)');
    await outside("INSERT INTO crm.t (word) VALUES ('before')");
  });

  it('is copied, follows, and is cut over when its master stands still', async () => {
    const made = await created('shop', `mysql://mig:pw@${pool.first.address}:3399`);
    expect(made).toMatchObject({ status: 'READY', follows: { database: null, host: pool.first.address, port: 3399 } });
    await outside("INSERT INTO crm.t (word) VALUES ('after')");
    await until('the slave has it', 30, async () => ((await sql('shop', 'SELECT COUNT(*) FROM t')) === '2' ? true : undefined));
    const { database } = await pool.json<UrlJson>(['db', 'url', 'shop']);
    expect(database).toBe('crm');
    await outside('SET GLOBAL read_only = ON');
    const pair = await pool.json<DbJson>(['db', 'cutover', 'shop', '--yes'], { timeoutMs: 240_000 });
    expect(pair).toMatchObject({ status: 'READY', master: 'shop-1', sync: 'shop-2' });
    expect(await sql('shop', "INSERT INTO t (word) VALUES ('mine'); SELECT COUNT(*) FROM t")).toBe('3');
    await pool.first.run('docker', ['rm', '--force', OUTSIDE]);
  });
});
