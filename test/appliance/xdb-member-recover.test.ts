import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AppError } from '#core/errors.ts';
import { silentLogger } from '#core/log.ts';
import { createEvents } from '#pool/events.ts';
import { eventually, startXdbLab, type XdbLab, type XdbMember } from '#test/xdb-lab.ts';
import type { DbDeps } from '#xdb/operations/deps.ts';
import { recoverDb, viewRecovery } from '#xdb/operations/recover.ts';
import { AckedRecord, type SyncRecord } from '#xdb/schema.ts';
import { createDbStore, dbKeys } from '#xdb/store.ts';

/** K1 with real members and a real Consul that has lost the record, or has an old one. */

let lab: XdbLab;
let members: XdbMember[];
let deps: DbDeps;
const KEY = dbKeys('adb').sync;

beforeAll(async () => {
  lab = await startXdbLab();
  members = [await lab.member('adb-1'), await lab.member('adb-2')];
  // As control asks them: by way of their host's agent.
  const agent = {
    async memberAdmin(id: string, method: string, path: string) {
      const { status, body } = await members.find((member) => member.id === id)!.admin(method, path);
      if (status !== 200) throw new AppError('unavailable', `${id} answered ${status}`);
      return body;
    },
  };
  deps = {
    ...{ store: createDbStore(lab.consul), log: silentLogger(), events: createEvents({ consul: lab.consul, log: silentLogger() }) },
    ...{ hosts: async () => [{ spec: { name: 'test' } }], agent: () => agent, markDirty: () => undefined },
  } as unknown as DbDeps;
  await inSync('adb-2');
  await onLeader((leader) => leader.sql('CREATE TABLE t (id INT PRIMARY KEY)'));
});
afterAll(() => lab?.stop());

const inSync = (slave: string) =>
  eventually(`${slave} is in sync`, async () => (await lab.sync())?.state === 'open' && (await lab.sync())?.sync?.id === slave);
const member = (id: string) => members.find((each) => each.id === id)!;

async function onLeader<T>(what: (leader: XdbMember) => Promise<T>): Promise<T> {
  const { leader } = (await lab.sync())!;
  return what(member(leader.id));
}
const write = (id: number) =>
  eventually(`${id} is written`, () =>
    onLeader((leader) => leader.sql(`INSERT INTO t VALUES (${id})`)).then(
      () => true,
      () => false,
    ),
  );
const written = async (on: XdbMember) => (await on.sql<{ id: number }>('SELECT id FROM t ORDER BY id', 3305)).map(({ id }) => id);
/** A slave acknowledges what it has received, and applies it a moment later. */
async function allHave(ids: readonly number[]): Promise<void> {
  for (const each of members) {
    await eventually(`${each.id} has ${ids.length} rows`, async () => (await written(each)).length >= ids.length);
    expect(await written(each)).toEqual(ids);
  }
}

/** Each member has noticed, and nobody takes a write. */
async function allStand(): Promise<void> {
  for (const each of members)
    await eventually(`${each.id} stands by K1`, async () => (await each.status()).rule === 'K1' || (await each.status()).sentence);
}
const change = (record: SyncRecord) => lab.consul.kv.put(KEY, JSON.stringify(record));

describe('the record of who leads', () => {
  it('that is older than what members have seen is followed by nobody; made anew it names who led last, and nothing is missing', async () => {
    await write(1);
    const old = (await lab.sync())!;
    await member('adb-1').signal('mariadbd', 'KILL');
    await eventually('adb-2 leads', async () => (await lab.sync())?.leader.id === 'adb-2');
    await inSync('adb-1');
    await write(2);
    const last = (await lab.sync())!;
    await change(old);
    await allStand();
    for (const each of members) await expect(each.sql('INSERT INTO t VALUES (99)', 3305)).rejects.toThrow();

    expect(await viewRecovery(deps, 'adb')).toMatchObject({
      record: { leader: 'adb-1' },
      next: { leader: last.leader, sync: null },
      refused: null,
    });
    expect(await recoverDb(deps, 'adb')).toMatchObject({ leader: 'adb-2' });
    await inSync('adb-1');
    await write(3);
    const now = (await lab.sync())!;
    expect(now.epoch).toBeGreaterThan(last.epoch);
    expect(now.rev).toBeGreaterThan(last.rev);
    await allHave([1, 2, 3]);
  });

  it('that is gone is made anew too; who led goes on meanwhile, and never as a second one', async () => {
    const last = (await lab.sync())!;
    await lab.consul.kv.delete(KEY);
    await allStand();
    // H10: its slave acknowledges.
    await member('adb-2').sql('INSERT INTO t VALUES (4)', 3305);
    await recoverDb(deps, 'adb');
    await inSync('adb-1');
    expect((await lab.sync())!).toMatchObject({ leader: last.leader, epoch: last.epoch + 1 });
    await write(5);
    await allHave([1, 2, 3, 4, 5]);
  });

  it('that is gone together with who led is made anew from its slave, once it is said that nobody else is to come', async () => {
    const last = (await lab.sync())!;
    expect(last).toMatchObject({ leader: { id: 'adb-2' }, sync: { id: 'adb-1' } });
    // What it received is applied by its promotion, not before.
    await member('adb-1').local('STOP SLAVE SQL_THREAD');
    await lab.consul.kv.delete(KEY);
    await member('adb-2').sql('INSERT INTO t VALUES (6)', 3305);
    await member('adb-2').kill();
    await eventually('adb-1 stands by K1', async () => (await member('adb-1').status()).rule === 'K1');
    await expect(recoverDb(deps, 'adb')).rejects.toMatchObject({ code: 'conflict', hint: expect.stringContaining('--lost adb-2') });
    await recoverDb(deps, 'adb', ['adb-2']);
    await write(7);
    expect((await lab.sync())!).toMatchObject({ leader: { id: 'adb-1' } });
    expect(await written(member('adb-1'))).toEqual([1, 2, 3, 4, 5, 6, 7]);
    // It comes back all the same.
    await member('adb-2').start();
    await inSync('adb-2');
    await eventually('adb-2 has everything', async () => (await written(member('adb-2'))).length === 7);
  });

  it('K2: what a slave acknowledged is written down, and one that lacks it does not take over before an operator says so', async () => {
    const { leader, sync, epoch } = (await lab.sync())!;
    expect([leader.id, sync?.id]).toEqual(['adb-1', 'adb-2']);
    const key = dbKeys('adb').acked(epoch);
    const acked = async () => AckedRecord.parse(JSON.parse((await lab.consul.kv.get(key))?.value ?? '{}'));
    await eventually('it is written down', async () => (await acked()).epoch === epoch);
    expect(await acked()).toMatchObject({ sync });
    // As if its disk had lost the end of what it had. Its leader may write once more before it dies.
    const lost = { ...(await acked()), gtid: (await acked()).gtid.replace(/\d+$/, '999999') };
    await lab.consul.kv.put(key, JSON.stringify(lost));
    await member('adb-1').kill();
    await lab.consul.kv.put(key, JSON.stringify(lost));
    await eventually(
      'adb-2 refuses',
      async () => (await member('adb-2').status()).rule === 'K2' || (await member('adb-2').status()).sentence,
    );
    expect((await lab.sync())!.leader.id).toBe('adb-1');
    await expect(recoverDb(deps, 'adb')).rejects.toMatchObject({ code: 'conflict' });
    await recoverDb(deps, 'adb', ['adb-1']);
    await write(8);
    expect((await lab.sync())!.leader.id).toBe('adb-2');
    await member('adb-1').start();
    await inSync('adb-1');
  });

  it('that is not lost is left alone', async () => {
    const before = await lab.sync();
    await expect(recoverDb(deps, 'adb')).rejects.toMatchObject({ code: 'conflict' });
    expect(await lab.sync()).toEqual(before);
  });
});
