import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { storeContract } from '../spec-lib/store-contract.ts';
import { putText, under } from './store.ts';
import { createVolumeStore } from './volume.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'xv-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('a store on a volume', () => {
  storeContract(() => createVolumeStore(join(folder, 'made')), { largeBytes: 3_000_000 });

  it('never leaves its folder', async () => {
    for (const key of ['../x', 'a/../../x', '/etc/passwd', 'a//b', '']) {
      await expect(createVolumeStore(folder).put(key, Readable.from([]))).rejects.toMatchObject({ code: 'internal' });
    }
  });

  it('does not take what a crash left for an object', async () => {
    await writeFile(join(folder, 'x.part'), 'half');
    const store = createVolumeStore(folder);
    expect((await store.list('')).map(({ key }) => key)).toEqual([]);
    await store.tidy(new Date());
    expect(await readdir(folder)).toContain('x.part');
    await store.tidy(new Date(Date.now() + 25 * 3_600_000));
    expect(await readdir(folder)).not.toContain('x.part');
  });
});

describe('a folder of a store', () => {
  storeContract(() => under(createVolumeStore(folder), 'adb/history'), { largeBytes: 100_000 });

  it('sees nothing beside it', async () => {
    const store = createVolumeStore(folder);
    await putText(under(store, 'a'), 'x', '1');
    await putText(under(store, 'ab'), 'y', '2');
    expect((await under(store, 'a').list('')).map(({ key }) => key)).toEqual(['x']);
    expect((await store.list('')).map(({ key }) => key).sort()).toEqual(['a/x', 'ab/y']);
  });
});
