import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually, startXdbLab, type XdbLab, type XdbMember } from '#test/xdb-lab.ts';

let lab: XdbLab;
let one: XdbMember;
let two: XdbMember;
const byId = (id: string) => (id === 'adb-1' ? one : two);
/** Leader and sync slave, as the record says; undefined while there is no open pair. */
async function pair() {
  const sync = await lab.sync();
  if (sync === undefined || sync.state !== 'open' || sync.sync === null) return undefined;
  return { leader: byId(sync.leader.id), slave: byId(sync.sync.id), epoch: sync.epoch };
}
const inSync = () => eventually('the pair is in sync', async () => (await pair()) !== undefined);

beforeAll(async () => {
  lab = await startXdbLab();
  one = await lab.member('adb-1');
  two = await lab.member('adb-2');
  await inSync();
  await eventually('a table can be made', async () => {
    await one.sql('CREATE TABLE IF NOT EXISTS t (id INT PRIMARY KEY, who VARCHAR(64))');
    return true;
  });
});
afterAll(() => lab?.stop());

describe('a pair', () => {
  it('has come to be by itself: a copy, following, in sync', async () => {
    expect(await lab.sync()).toMatchObject({
      leader: { id: 'adb-1' },
      sync: { id: 'adb-2' },
      state: 'open',
      epoch: 1,
      cand: null,
      prev: null,
    });
    await eventually('adb-2 runs', async () => (await two.status()).state === 'running');
    expect(await two.status()).toMatchObject({ role: 'slave', readOnly: true });
    expect(await one.status()).toMatchObject({ role: 'master', state: 'running', readOnly: false });
  });

  it('is written to and read from by either member, on the port that says what is wanted', async () => {
    await two.sql("INSERT INTO t VALUES (1, 'by adb-2')");
    await eventually('the slave has it', async () => (await one.sql('SELECT id FROM t WHERE id = 1', 3307)).length === 1);
    // Each member leads to a slave once it has heard that there is one.
    await eventually('adb-1 leads to the slave', async () => (await one.sql<{ ro: number }>('SELECT @@read_only ro', 3307))[0]?.ro === 1);
    expect(await two.sql<{ ro: number }>('SELECT @@read_only ro', 3306)).toEqual([{ ro: 0 }]);
  });

  it('a killed engine is succeeded within seconds, what was acknowledged is there, and the old leader comes back by itself', async () => {
    const before = await pair();
    if (before === undefined) throw new Error('no pair');
    for (let id = 100; id < 150; id += 1) await before.slave.sql(`INSERT INTO t VALUES (${id}, 'before')`);
    const began = performance.now();
    await before.leader.signal('mariadbd', 'KILL');
    await eventually('a write is taken again', async () => {
      await before.slave.sql(`REPLACE INTO t VALUES (200, 'after')`);
      return true;
    });
    console.log(`killed engine: writable after ${Math.round(performance.now() - began)} ms`);
    const after = await lab.sync();
    expect(after).toMatchObject({ leader: { id: before.slave.id }, epoch: before.epoch + 1 });
    expect(await before.slave.sql('SELECT COUNT(*) n FROM t WHERE id BETWEEN 100 AND 149')).toEqual([{ n: 50 }]);
    await inSync();
    console.log(`killed engine: in sync again after ${Math.round(performance.now() - began)} ms`);
    expect(await before.leader.sql('SELECT COUNT(*) n FROM t WHERE id BETWEEN 100 AND 149', 3305)).toEqual([{ n: 50 }]);
  });
});
