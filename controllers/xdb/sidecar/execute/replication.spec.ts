import { expect, it } from 'vitest';
import { DbSpec } from '#xdb/schema.ts';
import type { Moment, Tools } from './context.ts';
import { follow, forgetMaster } from './replication.ts';

const spec = DbSpec.parse({
  ...{ v: 1, name: 'adb', role: 'pair', flavor: 'mariadb', cpus: 0, memoryBytes: 2 ** 29, diskBytes: 2 ** 30, network: 'n' },
  ...{ database: 'adb', user: 'adb', members: ['adb-1', 'adb-2'].map((id) => ({ id, role: 'member' })) },
});

/** @param refuses what does not work */
function made(refuses?: string) {
  const done: string[] = [];
  const call = (what: string) => async () => {
    if (what === refuses) throw new Error(what);
    done.push(what);
  };
  const session = { instance: 'i', follow: call('follow'), forgetMaster: call('forget'), setSemiSyncSlave: call('no acknowledging') };
  const tools = {
    config: { db: 'adb', member: 'adb-2', paths: { ca: '/ca.pem' } },
    credentials: { current: () => ({ replication: { 'adb-2': 'secret' } }) },
    disk: { noteReceiving: call('note: receiving'), noteWhole: call('note: whole') },
    link: { session: () => session },
  } as unknown as Tools;
  const moment = { instance: 'i', view: { spec: { value: spec } }, addressOf: () => '10.0.0.1' } as unknown as Moment;
  const run = (what: 'follow' | 'forget_master') =>
    what === 'follow'
      ? follow({ rule: 'J2', do: 'follow', leader: 'adb-1', semiSync: true, reason: '' }, tools, moment)
      : forgetMaster({ rule: 'P4', do: 'forget_master', epoch: 3, reason: '' }, tools, moment);
  return { done, run };
}

it("J2: that what comes may be in the host's memory only is on the disk before anything comes", async () => {
  const { done, run } = made();
  await run('follow');
  expect(done).toEqual(['note: receiving', 'follow']);
  const full = made('note: receiving');
  await expect(full.run('follow')).rejects.toThrow();
  expect(full.done).toEqual([]);
});

it('P4: that all of it is on the disk is noted last', async () => {
  const { done, run } = made();
  await run('forget_master');
  expect(done).toEqual(['forget', 'no acknowledging', 'note: whole']);
  // A relay log that is not applied is refused to be forgotten.
  const refused = made('forget');
  await expect(refused.run('forget_master')).rejects.toThrow();
  expect(refused.done).toEqual([]);
});
