import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { BackupStore } from '#backup/stores/store.ts';
import { createVolumeStore } from '#backup/stores/volume.ts';
import { createRandom } from '#test/random.ts';
import { readCatalog } from './catalog.ts';
import { type FullOptions, makeFull } from './full.ts';

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'full-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

const CHUNKS = 20;
const ID = '20260101-020000-abcd';
const chunk = randomBytes(20_000);

interface Script {
  /** Before this chunk the dump fails. */
  failAt?: number;
  /** Before this chunk it is called off. */
  abortAt?: number;
  store?: (volume: BackupStore) => BackupStore;
}

/** As an engine's dump does it: each chunk is taken before the next, and the end is the caller's. */
async function make({ failAt, abortAt, store = (volume) => volume }: Script) {
  const folder = await mkdtemp(join(root, 'v-'));
  const stop = new AbortController();
  const options: FullOptions = {
    ...{ id: ID, db: 'adb', member: 'adb-2', engineVersion: '11.8', sums: undefined, signal: stop.signal },
    engine: {
      flavor: 'mariadb',
      async dump(to, { signal }) {
        const broken = new Promise<never>((_, reject) => {
          to.once('error', reject);
          to.once('close', () => reject(new Error('the receiver is gone')));
        });
        broken.catch(() => undefined);
        for (let sent = 0; sent < CHUNKS; sent += 1) {
          if (sent === abortAt) stop.abort();
          if (sent === failAt) throw new Error('the engine failed');
          signal.throwIfAborted();
          await Promise.race([new Promise((resolve) => to.write(chunk, resolve)), broken]);
        }
        return { gtid: '0-1-7' };
      },
    },
    store: store(createVolumeStore(folder)),
    pack: { codec: 'gzip', key: { id: 'k', secret: Buffer.alloc(32, 7) } },
    timeOf: async () => 1767232800,
    progress: () => undefined,
  };
  const outcome = await makeFull(options).catch((error: unknown) => error);
  const files = (await readdir(folder, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile());
  return { outcome, files: files.map(({ name }) => name), catalog: () => readCatalog(createVolumeStore(folder)) };
}

describe('a full backup', () => {
  it('is there once its marker is, with what the dump said', async () => {
    const { outcome, catalog } = await make({});
    expect(outcome).toMatchObject({ id: ID, gtid: '0-1-7', at: 1767232800, contentBytes: CHUNKS * chunk.length, encrypted: true });
    expect((await catalog()).fulls).toEqual([outcome]);
  });

  it('leaves nothing when the dump fails or is called off, wherever that is', async () => {
    const random = createRandom(1);
    for (let turn = 0; turn < 12; turn += 1) {
      const at = random.between(0, CHUNKS - 1);
      const failed = await make({ failAt: at });
      expect(failed).toMatchObject({ outcome: expect.objectContaining({ message: 'the engine failed' }), files: [] });
      const off = await make({ abortAt: at });
      expect(off).toMatchObject({ outcome: expect.any(Error), files: [] });
    }
  });

  it('ends the dump when the store fails, early or late', async () => {
    for (const after of [0, 1, 5, CHUNKS - 1]) {
      const failing = (volume: BackupStore): BackupStore => ({
        ...volume,
        async put(_key, content) {
          let seen = 0;
          for await (const _ of content) {
            seen += 1;
            if (seen > after) break;
            await nextTurn();
          }
          throw new Error('the store is full');
        },
      });
      expect(await make({ store: failing })).toMatchObject({
        outcome: expect.objectContaining({ message: 'the store is full' }),
        files: [],
      });
    }
  });
});
