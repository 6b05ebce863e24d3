import type { Connection } from 'mysql2/promise';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  caughtUp,
  connected,
  copyTo,
  donateFrom,
  insert,
  type Lab,
  makePair,
  type Pair,
  startLab,
  texts,
  within,
} from './xdb-engine-lab.ts';

/** What becomes of data when engines start, are copied and are given to users. */
describe('the data of a pair of MariaDB engines', () => {
  let lab: Lab;
  let pair: Pair;
  beforeAll(async () => {
    lab = await startLab();
    pair = await makePair(lab);
  });
  afterAll(async () => {
    await lab?.stop();
  });
  const on = async <T>(user: string, password: string, use: (connection: Connection) => Promise<T>): Promise<T> => {
    const connection = await pair.a.client(user, password, 'shop_1');
    try {
      return await use(connection);
    } finally {
      connection.destroy();
    }
  };

  it('starts as its parameters say, and takes others at once where it can', async () => {
    const { sa } = pair;
    const memoryBytes = 512 * 2 ** 20;
    expect(await sa.applyParameters({}, memoryBytes)).toEqual({ pendingRestart: [], changed: [] });
    const wanted = { max_connections: '60', innodb_read_io_threads: '8', sql_mode: 'STRICT_TRANS_TABLES' };
    const applied = await sa.applyParameters(wanted, memoryBytes);
    expect(applied.pendingRestart).toEqual(['innodb_read_io_threads']);
    expect(applied.changed.toSorted()).toEqual(['max_connections', 'sql_mode']);
    const [row] = await sa.query<{ n: string }>('SELECT @@GLOBAL.max_connections n');
    expect(Number(row?.n)).toBe(60);
    expect(await sa.applyParameters(wanted, memoryBytes)).toMatchObject({ changed: [] });
    await expect(sa.applyParameters({ sync_binlog: '0' }, memoryBytes)).rejects.toMatchObject({ code: 'invalid' });
    expect((await sa.applyParameters({}, memoryBytes)).changed.toSorted()).toEqual(['max_connections', 'sql_mode']);
  });

  it('belongs to users by database; none can do what would part the members', async () => {
    const { a, sa, sb } = pair;
    await a.users('createDatabase', 'shop_1');
    await a.users('createDatabase', 'shopx1');
    await a.users('ensureUser', 'clerk', ['first'], ['shop_1']);
    await on('clerk', 'first', async (clerk) => {
      await clerk.query('CREATE TABLE shop_1.t (id INT PRIMARY KEY)');
      // In a GRANT "_" stands for any character.
      await expect(clerk.query('CREATE TABLE shopx1.t (id INT PRIMARY KEY)')).rejects.toMatchObject({ errno: 1142 });
      for (const forbidden of [
        'SET GLOBAL read_only = 0',
        'SET GLOBAL rpl_semi_sync_master_enabled = 0',
        'SET SESSION sql_log_bin = 0',
        'STOP SLAVE',
        'RESET MASTER',
        "CREATE USER other IDENTIFIED BY 'x'",
        "GRANT ALL ON shop_1.* TO app@'%'",
        'SELECT * FROM mysql.global_priv',
        'UPDATE xcaas.heartbeat SET epoch = 99',
      ]) {
        await expect(clerk.query(forbidden), forbidden).rejects.toThrow(/denied/i);
      }
    });
    await caughtUp(sa, sb);
    expect(await sb.query("SELECT User FROM mysql.global_priv WHERE User = 'clerk'")).toHaveLength(1);
  });

  it('lets a user in with either password while one is changed, and with one after', async () => {
    const { a } = pair;
    const may = (password: string) =>
      on('clerk', password, async () => true).catch((error: { errno?: number }) => {
        expect(error.errno).toBe(1045);
        return false;
      });
    await a.users('ensureUser', 'clerk', ['second', 'first'], ['shop_1']);
    expect([await may('first'), await may('second'), await may('third')]).toEqual([true, true, false]);
    await a.users('ensureUser', 'clerk', ['second'], ['shop_1']);
    expect([await may('first'), await may('second')]).toEqual([false, true]);
    await a.users('dropUser', 'clerk');
    expect(await may('second')).toBe(false);
    await expect(a.users('dropUser', 'clerk')).rejects.toMatchObject({ code: 'not_found' });
    await expect(a.users('ensureUser', 'repl_b', ['x'], [])).rejects.toMatchObject({ code: 'invalid' });
  });

  it('was acknowledged and is not applied when its slave dies: it is replayed, never thrown away (J1, H3)', async () => {
    const { a, b, sa } = pair;
    let { sb } = pair;
    await sa.setSemiSyncMaster(true);
    await caughtUp(sa, sb);
    await sb.query('STOP SLAVE SQL_THREAD');
    const client = await a.client();
    for (let n = 0; n < 20; n += 1) await insert(client, `received ${n}`);
    client.destroy();
    expect(await sa.facts()).toMatchObject({ unacknowledged: 0, waiters: 0 });
    const goal = (await sa.facts()).binlogGtid;
    await b.signal('SIGKILL');
    sb = await b.up();
    pair.sb = sb;
    await within(10_000, 'it knows what it has received', async () => (await sb.facts()).relayUnapplied);
    expect(await sb.received(goal)).toBe(true);
    expect(await texts(sb)).not.toContain('received 0');
    await expect(sb.follow(a.asMaster(b), { semiSync: true, delaySeconds: 0 })).rejects.toMatchObject({ code: 'conflict' });
    await expect(sb.forgetMaster()).rejects.toMatchObject({ code: 'conflict' });
    await within(30_000, 'it is replayed', () => sb.drain(5000));
    expect(await texts(sb)).toEqual(expect.arrayContaining(['received 0', 'received 19']));
    expect((await sb.facts()).appliedGtid).toBe(goal);
    await sb.follow(a.asMaster(b), { semiSync: true, delaySeconds: 0 });
    await connected(sb);
    await caughtUp(sa, sb);
  });

  it('that nobody acknowledged is cut off by a start as slave, and kept by a start as master (S1, S2)', async () => {
    const { a, b } = pair;
    const crashWith = async (text: string, role: 'MASTER' | 'SLAVE') => {
      await pair.sa.setReadOnly(false, 2000);
      await pair.sa.setSemiSyncMaster(true);
      await caughtUp(pair.sa, pair.sb);
      const before = (await pair.sa.facts()).binlogGtid;
      await b.signal('SIGSTOP');
      const client = await a.client();
      insert(client, text).catch(() => undefined);
      await within(10_000, 'it waits', async () => (await pair.sa.facts()).waiters === 1);
      await a.signal('SIGKILL');
      pair.sa = await a.up({ role, semiSyncMaster: role === 'MASTER' });
      client.destroy();
      return { before, after: (await pair.sa.facts()).binlogGtid, texts: await texts(pair.sa) };
    };
    const cut = await crashWith('nobody has it', 'SLAVE');
    expect(cut.texts).not.toContain('nobody has it');
    expect(cut.after).toBe(cut.before);
    // What the slave may have received is more than the master has now: a new copy.
    await b.signal('SIGCONT');
    await b.signal('SIGKILL');
    await b.engine.wipe();
    expect(await b.engine.hasData()).toBe(false);
    await copyTo(a, b, 3313);
    pair.sb = await b.up();
    await pair.sa.allowDumps(['b']);
    await pair.sb.follow(a.asMaster(b), { semiSync: true, delaySeconds: 0 });
    await connected(pair.sb);

    const kept = await crashWith('everybody will have it', 'MASTER');
    expect(kept.texts).toContain('everybody will have it');
    expect(kept.after).not.toBe(kept.before);
    expect(await pair.sa.facts()).toMatchObject({ readOnly: true, semiSyncMaster: true });
    await b.signal('SIGCONT');
    await within(30_000, 'the slave has it too', async () => (await texts(pair.sb)).includes('everybody will have it'));
  });

  it('that broke off on its way is no copy', async () => {
    const { a } = pair;
    const c = await lab.member('c');
    const { donating } = await donateFrom(a, 3314, 3 * 2 ** 20);
    await expect(c.take(a.address, 3314)).rejects.toThrow();
    await expect(donating).rejects.toThrow();
    // Another one into the same place is whole.
    await c.engine.wipe();
    const { gtid } = await copyTo(a, c, 3315);
    const session = await c.up();
    expect((await session.facts()).readOnly).toBe(true);
    expect(gtid).toBe((await pair.sa.facts()).binlogGtid);
    expect(await texts(session)).toEqual(await texts(pair.sa));
  });
});
