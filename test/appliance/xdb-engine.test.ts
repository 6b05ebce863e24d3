import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { caughtUp, type Lab, makePair, type Pair, startLab } from './xdb-engine-lab.ts';

describe('a pair of MariaDB engines', () => {
  let lab: Lab;
  let pair: Pair;
  beforeAll(async () => {
    lab = await startLab();
    pair = await makePair(lab);
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
    expect(slave.slave).toMatchObject({
      master: 'a',
      io: 'running',
      sql: 'running',
      ioGtid: master.binlogGtid,
      masterServerId: master.serverId,
    });
    console.log(master, slave);
  });
});
