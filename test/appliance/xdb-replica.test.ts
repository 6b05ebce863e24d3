import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually, startXdbLab, type XdbLab, type XdbMember } from '#test/xdb-lab.ts';

/** A pair with a read replica, and one that keeps behind on purpose. */
const DELAY_SECONDS = 10;
let lab: XdbLab;
let one: XdbMember;
let two: XdbMember;
let reader: XdbMember;
let late: XdbMember;

beforeAll(async () => {
  lab = await startXdbLab({
    members: ['adb-1', 'adb-2', 'adb-3', 'adb-4'],
    spec: {
      members: [
        { id: 'adb-1', role: 'member', delaySeconds: 0 },
        { id: 'adb-2', role: 'member', delaySeconds: 0 },
        { id: 'adb-3', role: 'replica', delaySeconds: 0 },
        { id: 'adb-4', role: 'replica', delaySeconds: DELAY_SECONDS },
      ],
    },
  });
  [one, two] = await Promise.all([lab.member('adb-1'), lab.member('adb-2')]);
  await eventually('the pair is in sync', async () => (await lab.sync())?.sync?.id === 'adb-2', 90_000);
  await eventually('a table can be made', async () => {
    await one.sql('CREATE TABLE IF NOT EXISTS t (id INT PRIMARY KEY AUTO_INCREMENT, word VARCHAR(64))');
    return true;
  });
  reader = await lab.member('adb-3');
  late = await lab.member('adb-4');
  for (const member of [reader, late]) {
    await eventually(`${member.id} follows`, async () => (await member.status()).state === 'running', 120_000);
  }
});
afterAll(() => lab?.stop());

const has = async (member: XdbMember, word: string) => (await member.local(`SELECT COUNT(*) FROM adb.t WHERE word = '${word}'`)) === '1';
const clients = async (member: XdbMember) => (await member.local("SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync_master_clients'")).split('\t')[1];

describe('read replicas of a pair', () => {
  it('follow, and nobody waits for them: the pair has one acknowledger', async () => {
    await one.sql("INSERT INTO t (word) VALUES ('now')");
    await eventually('adb-3 has it', () => has(reader, 'now'));
    expect(await reader.status()).toMatchObject({ role: 'replica', readOnly: true });
    expect(await clients(one)).toBe('1');
    expect((await lab.sync())?.sync?.id).toBe('adb-2');
  });

  it('keep behind on purpose where they are to, and no client that asks for a slave is led there', async () => {
    await one.sql("INSERT INTO t (word) VALUES ('dropped by mistake')");
    await eventually('adb-3 has it', () => has(reader, 'dropped by mistake'));
    expect(await has(late, 'dropped by mistake')).toBe(false);
    const delayed = await late.local('SELECT @@server_id');
    for (let at = 0; at < 12; at += 1) {
      const [row] = await one.sql<{ id: string }>('SELECT @@server_id id', 3307);
      expect(String(row?.id)).not.toBe(delayed);
    }
    await eventually('adb-4 has it at last', () => has(late, 'dropped by mistake'), (DELAY_SECONDS + 60) * 1000);
  });

  it('never lead: when the master is gone its slave does, and they follow that', async () => {
    await one.kill();
    await eventually('adb-2 takes writes', async () => {
      await two.sql("INSERT INTO t (word) VALUES ('by adb-2')");
      return true;
    });
    expect((await lab.sync())?.leader.id).toBe('adb-2');
    await eventually('adb-3 has it', () => has(reader, 'by adb-2'), 120_000);
    // With the master gone there is nobody else, and still neither of them is made the slave.
    expect((await lab.sync())?.sync).toBeNull();
    await one.start();
    await eventually('adb-1 is the slave', async () => (await lab.sync())?.sync?.id === 'adb-1', 120_000);
    expect(await clients(two)).toBe('1');
  });
});
