import { chmod, mkdtemp, readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { sleep } from '#core/sleep.ts';
import { eventually, startXdbLab, type XdbLab, type XdbMember } from '#test/xdb-lab.ts';

/**
 * A slave acknowledges what its kernel has and its disk may not have yet. Here a host is started anew by another boot id, and what it loses by that is taken from the relay
 * log by hand: containers share the kernel and its page cache, which no kill takes anything from.
 */
const ROWS = 5;
let folder: string;
let lab: XdbLab;
let leader: XdbMember;
let slave: XdbMember;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'xdb-boot-'));
  await chmod(folder, 0o755);
  lab = await startXdbLab();
  const member = async (id: string) => {
    await reboot(id, 'first');
    return lab.member(id, { env: { XCAAS_TEST_BOOT_ID: `/boot-id/${id}` }, args: ['--volume', `${folder}:/boot-id:ro`] });
  };
  [leader, slave] = [await member('adb-1'), await member('adb-2')];
  await inSync();
  await eventually('the user may log in', async () => (await leader.sql('SELECT 1')).length === 1);
  await leader.sql('CREATE TABLE t (id INT PRIMARY KEY)');
});
afterEach(async () => {
  await lab?.stop();
  await rm(folder, { recursive: true, force: true });
});

const reboot = (id: string, bootId: string) => writeFile(join(folder, id), `${bootId}\n`, { mode: 0o644 });
const inSync = () =>
  eventually('the pair is in sync', async () => {
    const sync = await lab.sync();
    return (sync?.state === 'open' && sync.sync !== null) || sync;
  });
const rowsOf = async (member: XdbMember) => Number(await member.local('SELECT COUNT(*) FROM adb.t'));

/** Commits that were acknowledged and that the slave has in its relay log only; then both containers end at once. */
async function acknowledgedAndNotApplied(): Promise<void> {
  await eventually('the slave has the table', async () => (await rowsOf(slave)) === 0);
  void slave.local('LOCK TABLES adb.t READ; DO SLEEP(600)').catch(() => undefined);
  await eventually('the table is locked', async () => (await slave.local('SHOW PROCESSLIST')).includes('DO SLEEP(600)'));
  for (let id = 0; id < ROWS; id += 1) await leader.sql(`INSERT INTO t VALUES (${id})`);
  expect((await lab.sync())?.sync?.id).toBe(slave.id);
  expect(await rowsOf(slave)).toBe(0);
  await Promise.all([slave.kill(), leader.kill()]);
}

/** As a power failure leaves it whose kernel had written nothing of it. */
async function loseRelayLog(): Promise<void> {
  const data = join(slave.folder, 'data/db');
  for (const file of await readdir(data)) if (/^relay\.\d+$/.test(file)) await truncate(join(data, file), 0);
}

describe('what a slave has acknowledged and not applied', () => {
  it('outlives its engine and its container: it leads with all of it, and still does after a start of its host', async () => {
    await acknowledgedAndNotApplied();
    await slave.start();
    await eventually('the slave leads', async () => {
      const sync = await lab.sync();
      return (sync?.leader.id === slave.id && sync.state === 'open') || [sync, await slave.status()];
    });
    await eventually('it is written to', async () => (await slave.sql('INSERT INTO t VALUES (100)')) !== undefined);
    expect(await rowsOf(slave)).toBe(ROWS + 1);
    const before = await lab.sync();
    await slave.kill();
    await reboot(slave.id, 'second');
    await slave.start();
    await eventually('it is written to again', async () => (await slave.sql('INSERT INTO t VALUES (101)')) !== undefined);
    expect((await lab.sync())?.leader).toEqual(before?.leader);
    expect(await rowsOf(slave)).toBe(ROWS + 2);
  });

  it('counts for nothing after a start of its host: it waits for its master, which has everything, and gets it from there', async () => {
    const before = await lab.sync();
    await acknowledgedAndNotApplied();
    await loseRelayLog();
    await reboot(slave.id, 'second');
    await slave.start();
    await eventually('the record names it no more', async () => (await lab.sync())?.sync === null);
    // Longer than a master that is gone is waited for by a slave that may lead.
    await sleep(8000);
    expect(await lab.sync()).toMatchObject({ leader: before!.leader, sync: null, state: 'open', epoch: before!.epoch });
    await reboot(leader.id, 'second');
    await leader.start();
    await inSync();
    const after = await lab.sync();
    expect(after).toMatchObject({ leader: before!.leader, epoch: before!.epoch });
    expect(after?.sync?.id).toBe(slave.id);
    expect(after?.sync?.gen).not.toBe(before!.sync!.gen);
    expect(await rowsOf(leader)).toBe(ROWS);
    await eventually('the slave has what was acknowledged', async () => (await rowsOf(slave)) === ROWS);
  });
});
