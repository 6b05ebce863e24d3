import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type MemberDisk, openDisk as openAt, type SeenRecord } from './disk.ts';
import { createFailpoints, type Failpoints } from './failpoint.ts';

const owner = { db: 'adb', member: 'adb-1' };
const none = createFailpoints('');
let folder: string;
let path: string;
const openDisk = (at: string, who: typeof owner, failpoints: Failpoints, kernel = 'boot-1'): Promise<MemberDisk> =>
  openAt(at, who, failpoints, kernel);
/** @param leader its member, to tell records apart by */
const record = (rev: number, epoch: number, leader = `adb-${rev}`): SeenRecord => ({
  ...{ rev, epoch, leader: { id: leader, gen: 'g' }, sync: null, prev: null, state: 'open' },
});
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'xdb-disk-'));
  path = join(folder, 'xdb.json');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe('openDisk', () => {
  it('remembers over a restart what was written, and only the highest of what was seen', async () => {
    const disk = await openDisk(path, owner, none);
    expect(disk.isNew).toBe(true);
    await disk.claim();
    const gen = await disk.beginGeneration();
    await disk.markMaster(true);
    await disk.raise(record(7, 3));
    await disk.raise(record(5, 4));
    await disk.raise(record(1, 1));
    const again = await openDisk(path, owner, none);
    expect(again.isNew).toBe(false);
    expect(again.now()).toMatchObject({ gen, wasMaster: true, rev: 7, epoch: 4 });
  });

  it('K1: remembers whom the newest record named, and nothing of an older one', async () => {
    const disk = await openDisk(path, owner, none);
    await disk.raise(record(7, 3, 'adb-2'));
    await disk.raise(record(8, 3, 'adb-1'));
    await disk.raise(record(7, 3, 'adb-2'));
    expect((await openDisk(path, owner, none)).now().named).toEqual({
      leader: { id: 'adb-1', gen: 'g' },
      sync: null,
      prev: null,
      state: 'open',
    });
  });

  it('K1: a memory of a version before knows it once it has seen that record again, not an older one', async () => {
    await writeFile(path, JSON.stringify({ v: 1, ...owner, gen: 'g', wasMaster: true, rev: 8, epoch: 3 }));
    const disk = await openDisk(path, owner, none);
    await disk.raise(record(7, 3));
    expect(disk.now().named).toBeNull();
    await disk.raise(record(8, 3));
    expect(disk.now()).toMatchObject({ rev: 8, epoch: 3, named: { leader: { id: 'adb-8' } } });
  });

  it('a generation that ends takes the mark of a master with it, and no two generations are the same', async () => {
    const disk = await openDisk(path, owner, none);
    const first = await disk.beginGeneration();
    await disk.markMaster(true);
    await disk.endGeneration();
    expect((await openDisk(path, owner, none)).now()).toMatchObject({ gen: null, wasMaster: false });
    expect(await disk.beginGeneration()).not.toBe(first);
  });

  it.each([
    { db: 'other', member: 'adb-1' },
    { db: 'adb', member: 'adb-2' },
  ])('a volume of $member of $db is refused and left as it is', async (stranger) => {
    await (await openDisk(path, stranger, none)).claim();
    const before = await readFile(path, 'utf8');
    await expect(openDisk(path, owner, none)).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringContaining(stranger.member),
    });
    expect(await readFile(path, 'utf8')).toBe(before);
  });

  it.each(['', '{', '{"v":1}', '{"v":1,"db":"adb","member":"adb-1","gen":"","wasMaster":false,"rev":0,"epoch":0}'])(
    'a damaged file is never taken for a new volume: %j',
    async (text) => {
      await writeFile(path, text);
      await expect(openDisk(path, owner, none)).rejects.toMatchObject({ code: 'internal' });
    },
  );

  it('writes at the same time undo nothing of each other', async () => {
    const disk = await openDisk(path, owner, none);
    await Promise.all([
      disk.markMaster(true),
      disk.raise(record(7, 3)),
      disk.noteStart(4),
      disk.raise(record(6, 2)),
      disk.beginGeneration(),
      disk.raise(record(8, 3)),
    ]);
    await disk.markMaster(true);
    const there = (await openDisk(path, owner, none)).now();
    expect(there).toEqual(disk.now());
    expect(there).toMatchObject({ gen: expect.any(String), wasMaster: true, rev: 8, epoch: 3, startedSerial: 4 });
  });

  it('what could not be written did not happen', async () => {
    const disk = await openDisk(path, owner, createFailpoints('disk:before=error*2'));
    await disk.claim();
    await expect(disk.raise(record(9, 9))).rejects.toThrow();
    expect(disk.now()).toMatchObject({ rev: 0, epoch: 0 });
    await disk.raise(record(3, 2));
    expect((await openDisk(path, owner, none)).now()).toMatchObject({ rev: 3, epoch: 2 });
  });
});

describe('what was received, over a start of the host', () => {
  const reboot = () => openDisk(path, owner, none, 'boot-2');

  it('counts as long as the host runs on, whatever happens to the sidecar', async () => {
    const disk = await openDisk(path, owner, none);
    await disk.beginGeneration();
    await disk.noteReceiving();
    expect(disk.lostMemory()).toBe(false);
    expect((await openDisk(path, owner, none)).lostMemory()).toBe(false);
  });

  it('may be gone after it: the data get a new generation, once', async () => {
    const disk = await openDisk(path, owner, none);
    const gen = await disk.beginGeneration();
    await disk.markMaster(true);
    await disk.raise(record(7, 3));
    await disk.noteReceiving();
    const after = await reboot();
    expect(after.lostMemory()).toBe(true);
    const renewed = await after.renewGeneration();
    expect(renewed).not.toBe(gen);
    expect(after.lostMemory()).toBe(false);
    // What an old leader must cut off (S2) is in its binlog still.
    expect((await reboot()).now()).toMatchObject({ gen: renewed, wasMaster: true, receivingSince: null, rev: 7, epoch: 3 });
  });

  it('is none that matters once all of it is applied, for a leader, and in new data', async () => {
    for (const whole of ['noteWhole', 'markMaster', 'endGeneration', 'beginGeneration'] as const) {
      const disk = await openDisk(path, owner, none);
      await disk.beginGeneration();
      await disk.noteReceiving();
      if (whole === 'markMaster') {
        await disk.markMaster(false);
        expect((await reboot()).lostMemory()).toBe(true);
        await disk.markMaster(true);
      } else await disk[whole]();
      expect((await reboot()).lostMemory(), whole).toBe(false);
    }
  });
});
