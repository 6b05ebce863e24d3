import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { createBackupRecords } from '#backup/records.ts';
import { putText } from '#backup/stores/store.ts';
import type { ConsulClient } from '#core/consul/client.ts';
import { silentLogger } from '#core/log.ts';
import { waitFor } from '#core/sleep.ts';
import { createFakeKv } from '#test/fake-kv.ts';
import type { DbSpec } from '#xdb/schema.ts';
import { newSpec } from '#xdb/spec.ts';
import { dbKeys } from '#xdb/store.ts';
import { BackupRecord } from '../schema.ts';
import { createBackupService } from './service.ts';

const NOW = new Date('2026-01-02T02:15:30Z');
const DONE: BackupRecord = {
  ...{ v: 1, id: '20260101-020000-abcd', db: 'adb', kind: 'full', by: 'user', state: 'done', created: '2026-01-01T02:00:00Z', bytes: 7 },
  ...{ store: 'volume', member: 'adb-2', finished: '2026-01-01T02:01:00Z', gtid: '0-1-5', at: 1767232800 },
};

const open: { close(): Promise<unknown> }[] = [];
afterEach(async () => {
  for (const each of open.splice(0)) await each.close();
});

/** The service of adb-1, which leads; its slave adb-2 would do the work. */
async function serve(backup: Partial<DbSpec['backup']>, { running = true, ...more }: Partial<DbSpec> & { running?: boolean } = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'backups-'));
  const consul = createFakeKv() as unknown as ConsulClient;
  const records = createBackupRecords(consul, BackupRecord, dbKeys('adb'));
  await records.create(DONE);
  const made = newSpec({ name: 'adb', network: 'xcaas', created: '2026-01-01T00:00:00.000Z' });
  const spec = { ...made, ...more, backup: { ...made.backup, ...backup } };
  const nothing = () => Promise.reject(new Error('no engine here'));
  const service = createBackupService({
    ...{ db: 'adb', member: 'adb-1', consul, log: silentLogger(), agentUser: 'agent', now: () => NOW },
    engine: { flavor: 'mariadb', dump: nothing },
    engineAt: () => ({ load: nothing }),
    credentials: () => undefined,
    spec: () => spec,
    situation: () =>
      running
        ? { spec, epoch: 1, instance: 'i', engineVersion: '11.8', leads: true, faithful: true, sync: 'adb-2', present: ['adb-1', 'adb-2'] }
        : undefined,
    peers: () => [],
    paths: { volume: folder, data: folder, engineSocket: join(folder, 'none') },
  });
  open.push({ close: () => rm(folder, { recursive: true, force: true }) }, { close: () => service.stop() });
  open.reverse();
  service.start();
  return { service, records, list: async () => (await records.list()).map(({ value }) => value) };
}

describe('what is due', () => {
  it('is asked for by itself, once', async () => {
    const { list } = await serve({ schedule: '15 2 * * *' });
    const made = await waitFor(async () => (await list()).find(({ by }) => by === 'schedule'), {
      timeoutMs: 5000,
      intervalMs: 20,
    });
    expect(made).toMatchObject({ state: 'asked', created: '2026-01-02T02:15:00.000Z', store: 'volume' });
    expect(await list()).toHaveLength(2);
  });

  it('is verified by whom the newest lies with', async () => {
    const { records } = await serve({ verify: '15 2 * * *' });
    const seen = await waitFor(async () => (await records.get(DONE.id))?.verify, { timeoutMs: 5000, intervalMs: 20 });
    expect(seen).toEqual({ state: 'asked', time: NOW.toISOString() });
  });

  it('rests while the database is paused', async () => {
    const { list } = await serve({ schedule: '15 2 * * *', verify: '15 2 * * *' }, { pausedUntil: '2026-01-03T00:00:00.000Z' });
    await waitFor(async () => undefined, { timeoutMs: 300, intervalMs: 50 });
    expect(await list()).toEqual([DONE]);
  });
});

it('an archive that fails says so, and since when', async () => {
  const { service } = await serve({ store: 's3://store.example/b' });
  const archive = await waitFor(async () => (service.archive().failingSince === undefined ? undefined : service.archive()), {
    timeoutMs: 5000,
    intervalMs: 20,
  });
  expect(archive).toMatchObject({ active: false, sentence: expect.stringContaining('needs a key'), failingSince: NOW.toISOString() });
});

it('what is stored is told and served while no engine runs', async () => {
  const { service } = await serve({}, { running: false });
  await putText(service.own(), 'full/x/data', 'content');
  expect(await service.own().list('full/')).toEqual([{ key: 'full/x/data', bytes: 7 }]);
  expect(await service.windows()).toEqual([]);
  await expect(service.choose({})).rejects.toMatchObject({ code: 'not_found', message: 'there is no complete backup' });
  expect(service.archive().active).toBe(false);
});
