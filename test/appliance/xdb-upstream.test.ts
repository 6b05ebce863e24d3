import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run } from '#core/spawn.ts';
import { eventually, startXdbLab, type XdbLab, type XdbMember } from '#test/xdb-lab.ts';
import { UpstreamStanding } from '#xdb/upstream/standing.ts';
import { type OutsideServer, startOutside } from './xdb-outside.ts';

/** A slave of an outside MariaDB: copied while that is written to, followed, cut over, and then a pair like any other. */
let lab: XdbLab;
let outside: OutsideServer;
let one: XdbMember;
/** Writes on until it is told to stop. */
let writer: { stop(): Promise<number> };

const TABLE = 'CREATE TABLE shop.orders (id INT PRIMARY KEY AUTO_INCREMENT, word VARCHAR(64) NOT NULL, at TIMESTAMP(6) DEFAULT NOW(6))';

beforeAll(async () => {
  // The network first: the server has to be there when the member is born.
  lab = await startXdbLab({
    db: 'shop',
    members: ['shop-1', 'shop-2'],
    spec: { members: [{ id: 'shop-1', role: 'member', delaySeconds: 0 }] },
  });
  // Another domain than ours, and a numbering that began elsewhere.
  outside = await startOutside(lab.network, ['--server-id=1', '--log-bin=bin', '--gtid-domain-id=3', '--binlog-format=MIXED']);
  for (const statement of ['CREATE DATABASE shop', 'CREATE DATABASE `odd-name`', TABLE]) await outside.sql(statement);
  await outside.sql('CREATE TABLE `odd-name`.t (id INT PRIMARY KEY)');
  await outside.sql('CREATE PROCEDURE shop.p() SELECT COUNT(*) FROM shop.orders');
  await outside.sql('CREATE VIEW shop.v AS SELECT id FROM shop.orders');
  await outside.sql("INSERT INTO shop.orders (word) SELECT CONCAT('row ', seq) FROM mysql.help_keyword, (SELECT 1 seq) s LIMIT 400");
  writer = startWriter();
  const { user, password, address } = outside;
  lab.credentials.upstream = { user, password };
  await lab.respec({ role: 'slave', upstream: { host: address, port: 3306, tls: true } });
  one = await lab.member('shop-1');
});
afterAll(async () => {
  await writer?.stop();
  await outside?.remove();
  await lab?.stop();
});

function startWriter(): { stop(): Promise<number> } {
  let stopped = false;
  let written = 0;
  const running = (async () => {
    const connection = await outside.connect();
    while (!stopped) {
      await connection.query('INSERT INTO shop.orders (word) VALUES (UUID())');
      if (written % 7 === 0) await connection.query('UPDATE shop.orders SET word = UUID() ORDER BY id LIMIT 3');
      written += 1;
    }
    connection.destroy();
  })();
  return {
    async stop() {
      stopped = true;
      await running;
      return written;
    },
  };
}

const standing = async () => UpstreamStanding.parse((await one.admin('GET', '/upstream')).body);
const checksum = async () => {
  const [there] = await outside.sql<{ Checksum: string }>('CHECKSUM TABLE shop.orders EXTENDED');
  return { there: String(there?.Checksum), here: (await one.local('CHECKSUM TABLE shop.orders EXTENDED')).split('\t')[1] };
};
const caughtUp = () =>
  eventually('everything has been received', async () => (await standing()).reached && (await standing()).lagSeconds === 0);

describe('a slave of an outside MariaDB', () => {
  it('is copied while its master is written to, and follows', async () => {
    await eventually('shop-1 follows', async () => (await one.status()).state === 'running', 90_000);
    const status = await one.status();
    expect(status).toMatchObject({ readOnly: true, sentence: expect.stringMatching(/shop-1 follows [\d.]+:3306, \d+ s behind/) });
    expect(await one.local("SELECT COUNT(*) FROM information_schema.ROUTINES WHERE ROUTINE_NAME = 'p'")).toBe('1');
    const before = Number(await one.local('SELECT COUNT(*) FROM shop.orders'));
    await eventually('it has more', async () => Number(await one.local('SELECT COUNT(*) FROM shop.orders')) > before);
    expect(await one.local('SELECT Master_SSL_Allowed FROM information_schema.SLAVE_STATUS')).toBe('Yes');
  });

  it('is identical, also after its engine was killed in the middle, and takes no writes', async () => {
    await one.signal('mariadbd', 'KILL');
    await eventually('it follows again', async () => (await one.status()).state === 'running');
    await writer.stop();
    await caughtUp();
    const { there, here } = await checksum();
    expect(here).toBe(there);
    await expect(one.sql("INSERT INTO orders (word) VALUES ('mine')")).rejects.toThrow(/read-only/);
    expect(await one.sql('SELECT COUNT(*) > 400 n FROM orders')).toEqual([{ n: 1 }]);
  });

  it('leaves the accounts and our own schema of the master where they are, also later ones', async () => {
    await outside.sql("CREATE USER later@'%' IDENTIFIED BY 'x'");
    await outside.sql("GRANT ALL ON *.* TO later@'%'");
    await outside.sql('CREATE DATABASE xcaas');
    await outside.sql('CREATE TABLE xcaas.heartbeat (id INT)');
    await outside.sql('CREATE TABLE shop.later (id INT PRIMARY KEY)');
    await eventually('the table is here', async () => (await one.local("SHOW TABLES IN shop LIKE 'later'")) === 'later');
    expect(await one.local("SELECT COUNT(*) FROM mysql.global_priv WHERE User IN ('later', 'mig', 'admin')")).toBe('0');
    expect((await one.status()).state).toBe('running');
  });

  it('says why it does not follow while its master is away, and goes on after', async () => {
    await run('docker', ['pause', outside.name]);
    await eventually('it says so', async () => {
      const now = await standing();
      return now.answers === false && /tries to connect/.test((await one.status()).sentence);
    });
    expect(await standing()).toMatchObject({ reached: false, error: expect.stringMatching(/3306/) });
    await run('docker', ['unpause', outside.name]);
    await eventually('it follows again', async () => (await one.status()).state === 'running');
  });

  it.each<[string, Record<string, unknown>, string, RegExp]>([
    ['a wrong password', { password: 'wrong' }, 'forbidden', /refuses the user mig: access denied/],
    ['a port that nobody serves', { port: 3999 }, 'unavailable', /3999/],
  ])('refuses %s when it is asked about a master', async (_, change, code, message) => {
    const { address: host, user, password } = outside;
    const answer = await one.admin('POST', '/inspect-upstream', { host, port: 3306, user, password, tls: true, ...change });
    expect(answer.body).toMatchObject({ error: { code, message: expect.stringMatching(message) } });
    expect(JSON.stringify(answer.body)).not.toContain(password);
  });

  it('tells what decides whether a server can be a master', async () => {
    const { address: host, user, password } = outside;
    // Made in secret: in the binlog it would stop whoever follows.
    const connection = await outside.connect();
    await connection.query('SET SESSION sql_log_bin = 0');
    await connection.query('CREATE TABLE shop.old (id INT) ENGINE=Aria');
    connection.destroy();
    const answer = await one.admin('POST', '/inspect-upstream', { host, port: 3306, user, password, tls: true });
    expect(answer.body).toMatchObject({
      ...{ flavor: 'mariadb', binlog: true, binlogFormat: 'MIXED', serverId: 1, tls: true, missing: [], unreadable: [] },
      ...{ databases: ['odd-name', 'shop'], otherEngines: ['shop.old (Aria)'], lowerCaseTables: '0', readOnly: false },
    });
    await outside.sql("REVOKE EVENT, TRIGGER ON *.* FROM mig@'%'");
    const poorer = await one.admin('POST', '/inspect-upstream', { host, port: 3306, user, password, tls: true });
    expect(poorer.body).toMatchObject({ missing: ['TRIGGER', 'EVENT'] });
  });
});

describe('the cutover', () => {
  it('applies what was received, forgets the master, and takes writes, also while that does not answer', async () => {
    await caughtUp();
    const { there, here } = await checksum();
    expect(here).toBe(there);
    const rows = await one.local('SELECT COUNT(*) FROM shop.orders');
    await run('docker', ['pause', outside.name]);
    await lab.respec({ role: 'pair', upstream: undefined });
    await eventually('a write is taken', async () => {
      await one.sql("INSERT INTO orders (word) VALUES ('after')");
      return true;
    });
    expect(await one.local('SHOW ALL SLAVES STATUS')).toBe('');
    expect(await one.local('SELECT @@replicate_wild_ignore_table')).toBe('');
    expect(Number(await one.local('SELECT COUNT(*) FROM shop.orders'))).toBe(Number(rows) + 1);
    await run('docker', ['unpause', outside.name]);
    await outside.sql("INSERT INTO shop.orders (word) VALUES ('too late')");
    expect(await one.local("SELECT COUNT(*) FROM shop.orders WHERE word = 'too late'")).toBe('0');
  });

  it('is a pair like any other once it has a second member, and survives its master', async () => {
    const members = ['shop-1', 'shop-2'].map((id) => ({ id, role: 'member' as const, delaySeconds: 0 }));
    await lab.respec({ role: 'pair', upstream: undefined, members });
    const two = await lab.member('shop-2');
    await eventually('the pair is in sync', async () => (await lab.sync())?.sync?.id === 'shop-2', 90_000);
    await one.sql("INSERT INTO orders (word) VALUES ('acknowledged')");
    await one.kill();
    await eventually('shop-2 takes writes', async () => {
      await two.sql("INSERT INTO orders (word) VALUES ('by shop-2')");
      return true;
    });
    expect(await two.local("SELECT COUNT(*) FROM shop.orders WHERE word = 'acknowledged'")).toBe('1');
  });
});
