import { describe, expect, it } from 'vitest';
import { AppError } from '#core/errors.ts';
import { listEvents } from '#pool/events.ts';
import { living, operationsWorld } from '#test/xdb-operations.ts';
import { recoverDb, viewRecovery } from '#xdb/operations/recover.ts';
import { dbKeys } from '#xdb/store.ts';

const key = dbKeys('adb').sync;
const named = (leader: string, sync: string | null) => ({
  ...{ leader: { id: leader, gen: `gen-${leader}` }, prev: null, state: 'open' },
  sync: sync === null ? null : { id: sync, gen: `gen-${sync}` },
});
type Disk = Record<string, unknown> | undefined;

/** adb, whose members remember this; `undefined`: does not answer. @param present what Consul has of the record */
async function world(disks: Record<string, Disk>, present?: { rev: number; epoch: number }) {
  const made = await operationsWorld({
    admin({ member, path }) {
      const disk = disks[member];
      if (path !== '/decision' || disk === undefined) throw new AppError('unavailable', `${member} does not run`);
      return {
        records: null,
        local: {},
        step: { rule: 'K1' },
        disk: { v: 1, db: 'adb', member, startedSerial: 0, wasMaster: false, gen: `gen-${member}`, ...disk },
      };
    },
  });
  await living(made);
  const before = await made.store.syncs.get(key);
  if (present === undefined) await made.kv.kv.delete(key);
  else await made.store.syncs.cas(key, { ...before!.value, ...present }, before!.modifyIndex);
  return made;
}

const newest = { rev: 12, epoch: 6, named: named('adb-2', 'adb-1') };
const older = { rev: 11, epoch: 5, named: named('adb-1', 'adb-2') };

describe('db recover', () => {
  it('shows what members remember and what would be written, and writes nothing', async () => {
    const { deps, kv } = await world({ 'adb-1': older, 'adb-2': newest }, { rev: 4, epoch: 2 });
    const { writes } = kv;
    expect(await viewRecovery(deps, 'adb')).toMatchObject({
      record: { epoch: 2, rev: 4, leader: 'adb-1' },
      members: [
        { id: 'adb-1', answers: true, epoch: 5, rev: 11, leader: 'adb-1', sync: 'adb-2' },
        { id: 'adb-2', answers: true, epoch: 6, rev: 12, leader: 'adb-2', hasData: true },
      ],
      next: { leader: { id: 'adb-2' }, sync: null, epoch: 7, rev: 13 },
      refused: null,
    });
    expect(kv.writes).toBe(writes);
  });

  it.each([undefined, { rev: 4, epoch: 2 }])('writes it in the place of the one that Consul has (%j), and an event', async (present) => {
    const { deps, store } = await world({ 'adb-1': older, 'adb-2': newest }, present);
    expect(await recoverDb(deps, 'adb')).toMatchObject({ leader: 'adb-2' });
    const { value } = (await store.syncs.get(key))!;
    expect(value).toMatchObject({ leader: { id: 'adb-2', gen: 'gen-adb-2' }, sync: null, cand: null, state: 'open', epoch: 7, rev: 13 });
    expect(value.nonce).not.toBe('n');
    expect(await listEvents(store.consul)).toEqual(
      expect.arrayContaining([expect.objectContaining({ object: 'db/adb', kind: 'warning', reason: 'recover' })]),
    );
    // It is not lost any more.
    await expect(recoverDb(deps, 'adb')).rejects.toMatchObject({ code: 'conflict' });
  });

  it('waits for who does not answer, unless it is said to be lost', async () => {
    const { deps, store, kv } = await world({ 'adb-1': { ...older, named: named('adb-2', 'adb-1') }, 'adb-2': undefined });
    const { writes } = kv;
    await expect(recoverDb(deps, 'adb')).rejects.toMatchObject({
      code: 'conflict',
      hint: expect.stringContaining('db recover adb --lost adb-2'),
    });
    expect(await viewRecovery(deps, 'adb')).toMatchObject({
      members: [{ answers: true }, { answers: false, problem: expect.stringContaining('adb-2') }],
      next: null,
      refused: { message: expect.stringContaining('adb-2') },
    });
    expect(kv.writes).toBe(writes);
    await recoverDb(deps, 'adb', ['adb-2']);
    expect((await store.syncs.get(key))!.value).toMatchObject({ leader: { id: 'adb-1' }, epoch: 6 });
  });

  it.each([
    ['a member that there is not', ['adb-9'], 'not_found'],
    ['a member that answers', ['adb-1'], 'conflict'],
  ])('refuses to take %s for lost', async (_what, lost, code) => {
    const { deps } = await world({ 'adb-1': older, 'adb-2': newest });
    await expect(recoverDb(deps, 'adb', lost)).rejects.toMatchObject({ code });
  });

  it('refuses where nothing is lost', async () => {
    const { deps } = await world({ 'adb-1': older, 'adb-2': newest }, { rev: 12, epoch: 6 });
    await expect(recoverDb(deps, 'adb')).rejects.toMatchObject({ code: 'conflict', message: expect.stringContaining('is not lost') });
  });

  it('writes nothing when somebody else changes the record while members are asked', async () => {
    const made = await world({ 'adb-1': older, 'adb-2': newest }, { rev: 4, epoch: 2 });
    const { agent } = made.deps;
    const changing = {
      ...made.deps,
      agent: (on: Parameters<typeof agent>[0]) => ({
        ...agent(on),
        async memberAdmin(...args: Parameters<ReturnType<typeof agent>['memberAdmin']>) {
          const now = (await made.store.syncs.get(key))!;
          await made.store.syncs.cas(key, { ...now.value, rev: now.value.rev + 1 }, now.modifyIndex);
          return agent(on).memberAdmin(...args);
        },
      }),
    };
    await expect(recoverDb(changing, 'adb')).rejects.toMatchObject({ code: 'cas_lost' });
    expect((await made.store.syncs.get(key))!.value.leader.id).toBe('adb-1');
  });
});
