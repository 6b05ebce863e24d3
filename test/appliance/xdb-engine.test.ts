import type { Connection } from 'mysql2/promise';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { sleep } from '#core/sleep.ts';
import { caughtUp, connected, insert, type Lab, makePair, type Pair, startLab, texts, within } from './xdb-engine-lab.ts';

/** What a call came to, while it may still be under way. */
function watch<T>(promise: Promise<T>): { state: 'waits' | 'done' | 'failed'; error?: unknown; promise: Promise<T> } {
  const seen: { state: 'waits' | 'done' | 'failed'; error?: unknown; promise: Promise<T> } = { state: 'waits', promise };
  promise.then(
    () => {
      seen.state = 'done';
    },
    (error) => {
      seen.state = 'failed';
      seen.error = error;
    },
  );
  return seen;
}

describe('a pair of MariaDB engines', () => {
  let lab: Lab;
  let pair: Pair;
  const clients: Connection[] = [];
  async function client(): Promise<Connection> {
    const one = await pair.a.client();
    clients.push(one);
    return one;
  }
  const freeze = () => pair.b.signal('SIGSTOP');
  const thaw = () => pair.b.signal('SIGCONT');
  const waiters = async () => (await pair.sa.facts()).waiters;

  beforeAll(async () => {
    lab = await startLab();
    pair = await makePair(lab);
  });
  afterEach(async () => {
    // Whatever a test has left, also one that failed: the next one finds a pair that takes writes.
    await pair.a.signal('SIGCONT');
    await thaw();
    await pair.sa.killOwnOthers(5000);
    await within(15_000, 'nobody waits any more', async () => (await waiters()) === 0);
    for (const one of clients.splice(0)) one.destroy();
    await pair.sa.setReadOnly(false, 2000);
  });
  afterAll(async () => {
    await lab?.stop();
  });

  it('says who it is and what it does', async () => {
    const { sa, sb } = pair;
    await caughtUp(sa, sb);
    const [master, slave] = [await sa.facts(), await sb.facts()];
    expect(master).toMatchObject({ readOnly: false, semiSyncMaster: false, waiters: 0, relayUnapplied: false, openAccounts: ['b'] });
    expect(master.dumps).toEqual([{ member: 'b', semiSync: true }]);
    expect(master.slave).toBeUndefined();
    expect(master.instance).toBe(sa.instance);
    expect(slave).toMatchObject({ readOnly: true, binlogGtid: master.binlogGtid, appliedGtid: master.binlogGtid, dumps: [] });
    expect(slave.slave).toMatchObject({
      master: 'a',
      io: 'running',
      sql: 'running',
      ioGtid: master.binlogGtid,
      masterServerId: master.serverId,
    });
    expect(slave.slave?.lagSeconds).toBeGreaterThanOrEqual(0);
    expect(await sb.received(master.binlogGtid)).toBe(true);
    expect(await sb.received('0-11-999999')).toBe(false);
  });

  it('waits with a commit for its acknowledgement, and answers meanwhile', async () => {
    const { sa } = pair;
    await sa.setSemiSyncMaster(true);
    const before = await sa.facts();
    expect(before).toMatchObject({ semiSyncMaster: true, semiSyncActive: true });
    const writer = await client();
    await insert(writer, 'acknowledged');
    expect((await sa.facts()).acknowledged).toBe(before.acknowledged + 1);

    await freeze();
    const writes = [];
    for (const text of ['w1', 'w2', 'w3']) writes.push(watch(insert(await client(), text)));
    // The engine's own counter shows one of them.
    await within(10_000, 'three wait', async () => (await waiters()) === 3);
    const during = await sa.facts();
    expect(during.acknowledged).toBe(before.acknowledged + 1);
    // In the binlog already, and shown to nobody.
    expect(during.binlogGtid).not.toBe(before.binlogGtid);
    expect(await texts(sa)).not.toContain('w1');
    expect(writes.map(({ state }) => state)).toEqual(['waits', 'waits', 'waits']);
    await thaw();
    await Promise.all(writes.map(({ promise }) => promise));
    expect(await texts(sa)).toEqual(expect.arrayContaining(['w1', 'w2', 'w3']));
    expect(await sa.facts()).toMatchObject({ unacknowledged: 0 });
  });

  it('does not become read-only while a commit waits, and is then as it was (W1)', async () => {
    const { sa } = pair;
    await sa.setSemiSyncMaster(true);
    await freeze();
    const write = watch(insert(await client(), 'in the way'));
    await within(10_000, 'it waits', async () => (await waiters()) === 1);
    for (const limit of [300, 1700]) {
      const began = performance.now();
      await expect(sa.setReadOnly(true, limit)).rejects.toMatchObject({ code: 'timeout' });
      expect(performance.now() - began).toBeGreaterThanOrEqual(limit * 0.9);
      expect((await sa.facts()).readOnly).toBe(false);
    }
    expect(write.state).toBe('waits');
    await thaw();
    await write.promise;
    // Nothing of the tries is left: others write at once.
    await insert(await client(), 'after the tries');
    await sa.setReadOnly(true, 2000);
    expect((await sa.facts()).readOnly).toBe(true);
    await expect(insert(await client(), 'too late')).rejects.toMatchObject({ errno: 1290 });
    await expect(sa.heartbeat({ epoch: 1, member: 'a' }, 2000)).rejects.toMatchObject({ code: 'engine' });
    await expect(pair.a.users('createDatabase', 'too_late')).rejects.toMatchObject({ code: 'engine' });
    await sa.setReadOnly(false, 2000);
    await insert(await client(), 'open again');
  });

  it('does not become read-only over a table that is locked', async () => {
    const { sa } = pair;
    const holder = await client();
    await holder.query('LOCK TABLES rows_ WRITE');
    await expect(sa.setReadOnly(true, 500)).rejects.toMatchObject({ code: 'timeout' });
    await holder.query('UNLOCK TABLES');
    await sa.setReadOnly(true, 2000);
    await sa.setReadOnly(false, 2000);
  });

  it('ends what a former life of the sidecar has left, and lets no commit go for it (A1, H1)', async () => {
    const { a, sa } = pair;
    await sa.setSemiSyncMaster(true);
    const [idle, sleeping, locking, beating] = await Promise.all([a.session(), a.session(), a.session(), a.session()]);
    await freeze();
    const write = watch(insert(await client(), 'not to be let go'));
    await within(10_000, 'it waits', async () => (await waiters()) === 1);
    const beat = watch(beating.heartbeat({ epoch: 1, member: 'a' }, 60_000));
    const asleep = watch(sleeping.query('SELECT SLEEP(60)'));
    await within(10_000, 'the heartbeat waits too', async () => (await waiters()) >= 2);
    // Once it is asked for nobody else begins to write.
    const order = watch(locking.setReadOnly(true, 60_000));
    await within(10_000, 'read-only is asked for', async () =>
      (await sa.query<{ n: string }>("SELECT COUNT(*) n FROM information_schema.PROCESSLIST WHERE STATE LIKE 'Waiting for%lock'")).some(
        ({ n }) => Number(n) > 0,
      ),
    );
    const before = await sa.facts();

    expect(await sa.killOwnOthers(5000)).toBe(true);
    await expect(idle.facts()).rejects.toMatchObject({ code: 'unavailable' });
    await within(5000, 'those that did something are gone', () => asleep.state === 'failed' && order.state === 'failed');
    await sleep(500);
    expect(write.state).toBe('waits');
    expect(beat.state).not.toBe('done');
    const after = await sa.facts();
    expect(after).toMatchObject({ unacknowledged: before.unacknowledged, acknowledged: before.acknowledged, readOnly: false });
    await thaw();
    await write.promise;
    expect((await sa.facts()).unacknowledged).toBe(0);
    expect((await sa.facts()).readOnly).toBe(false);
  });

  it('gets a commit whose acknowledgement was lost through by a heartbeat (H6)', async () => {
    const { sa, sb } = pair;
    await sa.setSemiSyncMaster(true);
    await caughtUp(sa, sb);
    await freeze();
    const write = watch(insert(await client(), 'acknowledgement lost'));
    await within(10_000, 'it waits', async () => (await waiters()) === 1);
    // The transaction is on its way; the connection that the answer would come back through is gone.
    const [dump] = await sa.query<{ id: string }>("SELECT ID id FROM information_schema.PROCESSLIST WHERE USER = 'repl_b'");
    await sa.query(`KILL ${dump!.id}`);
    await thaw();
    const { binlogGtid } = await sa.facts();
    await within(15_000, 'the slave has it and is connected again', async () => {
      const { slave } = await sb.facts();
      return slave?.io === 'running' && slave.ioGtid === binlogGtid && (await sa.facts()).dumps.length === 1;
    });
    await sleep(1500);
    expect(write.state).toBe('waits');
    const { ms } = await sa.heartbeat({ epoch: 1, member: 'a' }, 5000);
    expect(ms).toBeGreaterThan(0);
    await write.promise;
    expect(await sa.facts()).toMatchObject({ waiters: 0, unacknowledged: 0 });
  });

  it('sends another heartbeat when the acknowledgement of the first is lost', async () => {
    const { sa, sb } = pair;
    await sa.setSemiSyncMaster(true);
    await caughtUp(sa, sb);
    await freeze();
    const beat = watch(sa.heartbeat({ epoch: 1, member: 'a' }, 30_000));
    await within(10_000, 'it waits', async () => (await waiters()) >= 1);
    const [dump] = await sa.query<{ id: string }>("SELECT ID id FROM information_schema.PROCESSLIST WHERE USER = 'repl_b'");
    await sa.query(`KILL ${dump!.id}`);
    await thaw();
    await beat.promise;
  });

  it('cuts who receives, and they come again by themselves (F2)', async () => {
    const { sa, sb } = pair;
    const dumping = async () =>
      (await sa.query<{ id: string }>("SELECT ID id FROM information_schema.PROCESSLIST WHERE COMMAND LIKE 'Binlog Dump%'")).map(
        ({ id }) => id,
      );
    const [before] = await dumping();
    expect(before).toBeDefined();
    await sa.cutDumps();
    await within(15_000, 'another connection receives', async () => {
      const now = await dumping();
      return now.length === 1 && now[0] !== before;
    });
    await sa.setSemiSyncMaster(true);
    await insert(await client(), 'acknowledged by the new connection');
    await sa.setSemiSyncMaster(false);
    await caughtUp(sa, sb);
  });

  it('lets its sidecar in when hung commits have used up all connections (H17)', async () => {
    const { a, sa } = pair;
    await sa.setSemiSyncMaster(true);
    await sa.query('SET GLOBAL max_connections = 12');
    await freeze();
    const writes: Promise<unknown>[] = [];
    for (let full = false; !full; ) {
      try {
        writes.push(insert(await client(), 'crowd'));
      } catch (error) {
        expect(error).toMatchObject({ errno: 1040 });
        full = true;
      }
    }
    const fresh = await a.session();
    expect((await fresh.facts()).waiters).toBe(writes.length);
    fresh.close();
    await thaw();
    await Promise.all(writes);
    await sa.query('SET GLOBAL max_connections = DEFAULT');
  });

  it('ends the connections of users and of nobody else (W1)', async () => {
    const { sa, sb } = pair;
    const [one, other] = [await client(), await client()];
    await one.query('BEGIN');
    await insert(one, 'never committed');
    await sa.setReadOnly(true, 2000);
    await sa.killUsers();
    await expect(other.query('SELECT 1')).rejects.toThrow();
    await expect(one.query('COMMIT')).rejects.toThrow();
    expect((await sa.facts()).dumps).toHaveLength(1);
    expect((await sb.facts()).slave?.io).toBe('running');
    await sa.setReadOnly(false, 2000);
    expect(await texts(sa)).not.toContain('never committed');
  });

  it('says why it should not be switched over now', async () => {
    const { sa } = pair;
    expect((await sa.facts()).busy).toBeUndefined();
    const [holder, altering] = [await client(), await client()];
    await holder.query('BEGIN');
    await holder.query('SELECT * FROM rows_ LIMIT 1');
    const alter = altering.query('ALTER TABLE rows_ ADD COLUMN later INT');
    await within(10_000, 'the ALTER is seen', async () => /app has been running ALTER TABLE/.test((await sa.facts()).busy ?? ''));
    await holder.query('COMMIT');
    await alter;
    expect((await sa.facts()).busy).toBeUndefined();
  });

  it('stops receiving from a master that is frozen, and says so only when it has (P2)', async () => {
    const { a, sa, sb } = pair;
    await sa.setSemiSyncMaster(false);
    await caughtUp(sa, sb);
    await a.signal('SIGSTOP');
    const began = performance.now();
    await sb.stopReceiving();
    // 1 s for its word to the master that this connection is over, see my.cnf.
    expect(performance.now() - began).toBeLessThan(8000);
    expect((await sb.facts()).slave).toMatchObject({ io: 'stopped', sql: 'running' });
    expect(await sb.drain(5000)).toBe(true);
    await a.signal('SIGCONT');
    await insert(await client(), 'after the slave had stopped');
    await sleep(1000);
    expect(await texts(sb)).not.toContain('after the slave had stopped');
    await sb.follow(a.asMaster(pair.b), { semiSync: true, delaySeconds: 0 });
    await connected(sb);
    await caughtUp(sa, sb);
    expect(await texts(sb)).toContain('after the slave had stopped');
  });

  it('applies what it received only while its own commits wait for nobody: why a promoter that starts anew starts without semi-sync (S1, P3)', async () => {
    const { a, b, sa, sb } = pair;
    await caughtUp(sa, sb);
    await sb.query('STOP SLAVE SQL_THREAD');
    await insert(await client(), 'received and not applied');
    const { binlogGtid } = await sa.facts();
    await within(10_000, 'the slave has received it', () => sb.received(binlogGtid));
    await sb.stopReceiving();
    await sb.setSemiSyncMaster(true);
    expect(await sb.drain(3000)).toBe(false);
    expect(await texts(sb)).not.toContain('received and not applied');
    await sb.setSemiSyncMaster(false);
    expect(await sb.drain(10_000)).toBe(true);
    await sb.follow(a.asMaster(b), { semiSync: true, delaySeconds: 0 });
    await connected(sb);
    await caughtUp(sa, sb);
    expect(await texts(sb)).toContain('received and not applied');
  });

  it('changes roles and back without a gap in its history', async () => {
    const { a, b, sa, sb } = pair;
    await sa.setReadOnly(true, 2000);
    const { binlogGtid } = await sa.facts();
    await within(10_000, 'the slave has received it', () => sb.received(binlogGtid));
    await sb.stopReceiving();
    expect(await sb.drain(5000)).toBe(true);
    await sb.forgetMaster();
    expect((await sb.facts()).slave).toBeUndefined();
    await sb.setSemiSyncMaster(false);
    await sb.ensureReplicationAccount('a', (await import('./xdb-engine-lab.ts')).passwordOf('a'));
    await sb.allowDumps(['a']);
    await sb.setReadOnly(false, 2000);
    await sb.heartbeat({ epoch: 2, member: 'b' }, 2000);
    const [, , before] = binlogGtid.split('-');
    expect((await sb.facts()).binlogGtid).toBe(`0-12-${Number(before) + 1}`);

    expect(await sa.compareWith(b.asMaster(a))).toBe('contained');
    await sa.setSemiSyncMaster(false);
    await sa.follow(b.asMaster(a), { semiSync: true, delaySeconds: 0 });
    await connected(sa);
    await caughtUp(sb, sa);
    expect((await sa.facts()).slave).toMatchObject({ master: 'b', masterServerId: 12 });

    await sb.setReadOnly(true, 2000);
    await sa.stopReceiving();
    expect(await sa.drain(5000)).toBe(true);
    await sa.forgetMaster();
    await sa.allowDumps(['b']);
    await sa.setReadOnly(false, 2000);
    await sa.heartbeat({ epoch: 3, member: 'a' }, 2000);
    expect(await sb.compareWith(a.asMaster(b))).toBe('contained');
    await sb.follow(a.asMaster(b), { semiSync: true, delaySeconds: 0 });
    await connected(sb);
    await caughtUp(sa, sb);
    expect((await sb.facts()).binlogGtid).toBe(`0-11-${Number(before) + 2}`);
  });
});
