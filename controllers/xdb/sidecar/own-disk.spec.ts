import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { silentLogger } from '#core/log.ts';
import { sidecarPaths } from './config.ts';
import { createFailpoints } from './failpoint.ts';
import { openOwnDisk } from './own-disk.ts';

let root: string;
let done: string[];
let hasData: boolean;
let discard: () => Promise<void>;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'xdb-own-'));
  done = [];
  hasData = false;
  discard = async () => void done.push('discarded');
  await kernel('boot-1');
});
afterEach(() => rm(root, { recursive: true, force: true }));

const kernel = (id: string) => writeFile(join(root, 'boot_id'), `${id}\n`);
const begin = () =>
  openOwnDisk(
    { db: 'adb', member: 'adb-1', paths: { ...sidecarPaths(root), bootId: join(root, 'boot_id') } },
    { hasData: async () => hasData, discardReceived: () => discard() },
    createFailpoints(''),
    silentLogger(),
  );

it('a start of the sidecar alone changes nothing', async () => {
  const disk = await begin();
  const gen = await disk.beginGeneration();
  await disk.noteReceiving();
  expect((await begin()).now()).toMatchObject({ gen, receivingSince: 'boot-1' });
  expect(done).toEqual([]);
});

it('after a start of the host what was received is thrown away, then the data are others', async () => {
  const disk = await begin();
  const gen = await disk.beginGeneration();
  await disk.noteReceiving();
  await kernel('boot-2');
  // Broken off in between it is done again: the former generation never stands beside a relay log of which something is missing.
  discard = async () => {
    throw new Error('power failure');
  };
  await expect(begin()).rejects.toThrow('power failure');
  discard = async () => void done.push('discarded');
  const after = (await begin()).now();
  expect(after.gen).not.toBe(gen);
  expect(after.receivingSince).toBeNull();
  expect(done).toEqual(['discarded']);
  expect((await begin()).now().gen).toBe(after.gen);
  expect(done).toEqual(['discarded']);
});

it('a leader keeps its generation over a start of its host', async () => {
  const disk = await begin();
  const gen = await disk.beginGeneration();
  await disk.noteReceiving();
  await disk.noteWhole();
  await kernel('boot-2');
  expect((await begin()).now().gen).toBe(gen);
  expect(done).toEqual([]);
});

it('without a boot id, or with data of which nothing is known, it does not begin', async () => {
  hasData = true;
  await expect(begin()).rejects.toMatchObject({ code: 'conflict' });
  await kernel('');
  await expect(begin()).rejects.toMatchObject({ code: 'unavailable', message: expect.stringContaining('boot_id') });
});
