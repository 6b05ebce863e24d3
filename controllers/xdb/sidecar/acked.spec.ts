import { expect, it } from 'vitest';
import type { ConsulClient } from '#core/consul/client.ts';
import { silentLogger } from '#core/log.ts';
import { createFakeKv } from '#test/fake-kv.ts';
import type { Local } from '#xdb/protocol/types.ts';
import type { SyncRecord } from '#xdb/schema.ts';
import { createAcked } from './acked.ts';
import type { Part } from './part.ts';

const SLAVE = { id: 'adb-2', gen: 'g2' };

/** A leader that looks around each second; what it is acknowledged is told by `beat`. */
function leader() {
  const kv = createFakeKv();
  let now = 0;
  let through: { instance: string; epoch: number; beganAt: number } | undefined;
  const note = createAcked({
    ...{ consul: kv as unknown as ConsulClient, db: 'adb', heartbeat: { through: () => through }, log: silentLogger(), now: () => now },
  });
  const turn = async (gtid: string, change: Partial<SyncRecord> = {}, engine: object = {}, instance = 'i') => {
    now += 1000;
    const sync = { epoch: 4, rev: 9, sync: SLAVE, state: 'open', ...change } as SyncRecord;
    const part = { writes: { sync, facts: { instance, binlogGtid: gtid } } } as unknown as Part;
    note(part, { engine: { state: 'running', semiSyncMaster: true, semiSyncLapsed: false, ...engine } } as unknown as Local);
    await new Promise((resolve) => setImmediate(resolve));
  };
  const beat = (beganAt = now, epoch = 4, instance = 'i') => {
    through = { instance, epoch, beganAt };
  };
  const written = async (epoch = 4) => {
    const entry = await kv.kv.get(`xcaas/db/adb/acked/${epoch}`);
    return entry === undefined ? undefined : JSON.parse(entry.value);
  };
  return { turn, beat, written, later: (ms: number) => (now += ms) };
}

it('K2: what stood in the binlog before a heartbeat was sent is acknowledged with it, not what came later', async () => {
  const { turn, beat, written, later } = leader();
  await turn('0-1-10');
  await turn('0-1-20');
  expect(await written()).toBeUndefined();
  later(100);
  beat();
  await turn('0-1-30');
  expect(await written()).toEqual({ v: 1, epoch: 4, sync: SLAVE, gtid: '0-1-10' });
});

it.each<[string, Parameters<ReturnType<typeof leader>['turn']>]>([
  ['a record that names no slave', ['0-1-20', { sync: null }]],
  ['another record than before', ['0-1-20', { rev: 10 }]],
  ['semi-sync off', ['0-1-20', {}, { semiSyncMaster: false }]],
  ['semi-sync that lapsed', ['0-1-20', {}, { semiSyncLapsed: true }]],
  ['another start of the engine', ['0-1-20', {}, {}, 'j']],
])('K2: nothing is written by %s', async (_what, arguments_) => {
  const { turn, beat, written, later } = leader();
  await turn('0-1-10');
  later(100);
  beat();
  await turn(...arguments_);
  expect(await written()).toBeUndefined();
});

it('K2: a heartbeat that was begun before proves nothing, nor one of another epoch', async () => {
  const { turn, beat, written, later } = leader();
  beat();
  await turn('0-1-10');
  await turn('0-1-20');
  later(100);
  beat(undefined, 3);
  await turn('0-1-30');
  expect(await written()).toBeUndefined();
});

it('K2: now and then, in a key of its own for each epoch, the last of which is left', async () => {
  const { turn, beat, written, later } = leader();
  const through = async (gtid: string, epoch: number, rev: number) => {
    await turn(gtid, { epoch, rev });
    later(100);
    beat(undefined, epoch);
    await turn(`${gtid}9`, { epoch, rev });
  };
  await through('0-1-10', 4, 9);
  await through('0-1-20', 4, 9);
  expect((await written()).gtid).toBe('0-1-10');
  later(10_000);
  await through('0-1-30', 4, 9);
  expect((await written()).gtid).toBe('0-1-30');
  later(10_000);
  await through('0-2-31', 5, 12);
  expect(await written(5)).toMatchObject({ epoch: 5, gtid: '0-2-31' });
  expect(await written(4)).toBeUndefined();
});
