import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually, startXdbLab, type XdbLab, type XdbMember } from '#test/xdb-lab.ts';
import { peerSecretOf } from '#xdb/peer-secret.ts';
import { UpstreamStanding } from '#xdb/upstream/standing.ts';

/** A slave of a pair of ours: a copy from its leader, then its slave's port; a failover of the pair is followed. */
let lab: XdbLab;
let copy: XdbLab;
let one: XdbMember;
let two: XdbMember;
let follower: XdbMember;

beforeAll(async () => {
  const account = { user: 'xcaas_follow_bdb', password: 'follows' };
  lab = await startXdbLab({ secrets: { followers: { bdb: account.password } } });
  const args = ['--network-alias', 'adb'];
  [one, two] = await Promise.all([lab.member('adb-1', { args }), lab.member('adb-2', { args })]);
  await eventually('the pair is in sync', async () => (await lab.sync())?.sync?.id === 'adb-2', 90_000);
  await eventually('a table can be made', async () => {
    await one.sql('CREATE TABLE IF NOT EXISTS t (id INT PRIMARY KEY AUTO_INCREMENT, word VARCHAR(64))');
    return true;
  });
  for (let id = 0; id < 20; id += 1) await one.sql("INSERT INTO t (word) VALUES ('before')");
  copy = await startXdbLab({
    db: 'bdb',
    members: ['bdb-1'],
    spec: { role: 'slave', upstream: { host: 'adb', port: 3306, tls: true, ours: 'adb' }, database: 'adb', user: 'adb' },
    beside: lab,
    secrets: { upstream: { ...account, peerSecret: peerSecretOf(lab.credentials) }, users: lab.credentials.users },
  });
  follower = await copy.member('bdb-1');
  await eventually('bdb-1 follows', async () => (await follower.status()).state === 'running', 90_000);
});
afterAll(async () => {
  await copy?.stop();
  await lab?.stop();
});

const count = (member: XdbMember) => member.local('SELECT COUNT(*) FROM adb.t');
const leader = async () => ((await lab.sync())?.leader.id === 'adb-1' ? one : two);
const same = () => eventually('both have the same', async () => (await count(follower)) === (await count(await leader())));
const standing = async () => UpstreamStanding.parse((await follower.admin('GET', '/upstream')).body);

describe('a slave of a database of ours', () => {
  it('has what its master has, says how far behind it is, and takes no writes', async () => {
    await one.sql("INSERT INTO t (word) VALUES ('later')");
    await same();
    const status = await follower.status();
    expect(status).toMatchObject({ readOnly: true, sentence: expect.stringMatching(/bdb-1 follows adb, \d+ s behind/) });
    expect(status.lagSeconds).toBeLessThan(5);
    expect(await standing()).toMatchObject({ following: true, answers: true, readOnly: false });
  });

  it('never acknowledges: the pair has one acknowledger, and stays a pair', async () => {
    const status = await (await leader()).local("SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync_master_clients'");
    expect(status.split('\t')[1]).toBe('1');
    expect((await lab.sync())?.sync).not.toBeNull();
    expect(await follower.local('SELECT @@rpl_semi_sync_slave_enabled')).toBe('0');
  });

  it('follows whoever leads after a failover', async () => {
    const was = await leader();
    await was.signal('mariadbd', 'KILL');
    await eventually('the other one leads', async () => (await leader()) !== was && (await lab.sync())?.state === 'open');
    await eventually('a write is taken', async () => {
      await (await leader()).sql("INSERT INTO t (word) VALUES ('after the failover')");
      return true;
    });
    await eventually(
      'the write is here',
      async () => (await follower.local("SELECT COUNT(*) FROM adb.t WHERE word = 'after the failover'")) !== '0',
    );
    await eventually('it follows', async () => (await follower.status()).state === 'running');
    await same();
  });

  it('is cut over: it takes writes of its own, and its master goes on without it', async () => {
    await eventually('everything has been received', async () => (await standing()).reached);
    await copy.respec({ role: 'pair', upstream: undefined });
    await eventually('it takes a write', async () => {
      const connection = await follower.connect().catch(() => undefined);
      connection?.destroy();
      return (await follower.status()).readOnly === false;
    });
    expect(await follower.local('SHOW ALL SLAVES STATUS')).toBe('');
    await (await leader()).sql("INSERT INTO t (word) VALUES ('too late')");
    expect(await follower.local("SELECT COUNT(*) FROM adb.t WHERE word = 'too late'")).toBe('0');
    // It has nobody to follow it any more; its master's accounts went with the copy.
    await eventually(
      'accounts of followers are gone',
      async () => (await follower.local("SELECT COUNT(*) FROM mysql.global_priv WHERE User LIKE 'xcaas\\\\_follow%'")) === '0',
    );
  });
});
