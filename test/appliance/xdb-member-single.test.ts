import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually, startXdbLab, type XdbLab, type XdbMember } from '#test/xdb-lab.ts';

let lab: XdbLab;
let member: XdbMember;
beforeAll(async () => {
  lab = await startXdbLab({ members: ['adb-1'] });
  member = await lab.member('adb-1');
});
afterAll(() => lab?.stop());

describe('a database of one member', () => {
  it('is born, opens and takes writes through its endpoint', async () => {
    await eventually('adb-1 runs', async () => (await member.status()).state === 'running');
    expect(await lab.sync()).toMatchObject({ leader: { id: 'adb-1' }, sync: null, state: 'open', epoch: 1 });
    await eventually('a write through 3306', async () => {
      await member.sql('CREATE TABLE IF NOT EXISTS t (id INT PRIMARY KEY)');
      await member.sql('REPLACE INTO t VALUES (1)');
      return true;
    });
    expect(await member.sql('SELECT id FROM t', 3307)).toEqual([{ id: 1 }]);
  });
});
