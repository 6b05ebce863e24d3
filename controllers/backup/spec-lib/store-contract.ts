import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { expect, it } from 'vitest';
import { type BackupStore, getText, putText } from '../stores/store.ts';

const stream = (content: Iterable<Buffer>) => Readable.from(content, { objectMode: false });

async function bytesOf(readable: Readable): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const chunk of readable) parts.push(chunk as Buffer);
  return Buffer.concat(parts);
}

/** What every store keeps to. @param largeBytes of an object that the store has to take in several parts, if it knows such */
export function storeContract(open: () => BackupStore, { largeBytes }: { largeBytes: number }): void {
  const keys = async (prefix = '') => (await open().list(prefix)).map(({ key, bytes }) => `${key} ${bytes}`).sort();
  const tidy = async () => {
    for (const { key } of await open().list('')) await open().delete(key);
  };

  it('gives back what it was given, and lists it with its size', async () => {
    const store = open();
    const large = randomBytes(largeBytes);
    const chunks = Array.from({ length: Math.ceil(largeBytes / 60_001) }, (_, index) =>
      large.subarray(index * 60_001, (index + 1) * 60_001),
    );
    expect(await store.put('full/a/data', stream(chunks))).toEqual({ bytes: largeBytes });
    await putText(store, 'full/a/backup.json', '{"é": 1}');
    const piece = 'binlog/00000001_000000000000002_0-0_1@1,2@2_1-2_adb-1.whole';
    expect(await store.put(piece, stream([]))).toEqual({ bytes: 0 });
    expect((await bytesOf(await store.get('full/a/data'))).equals(large)).toBe(true);
    expect(await getText(store, 'full/a/backup.json')).toBe('{"é": 1}');
    expect((await bytesOf(await store.get(piece))).length).toBe(0);
    expect(await keys()).toEqual([`${piece} 0`, 'full/a/backup.json 9', `full/a/data ${largeBytes}`]);
    expect(await keys('full/a/')).toHaveLength(2);
    expect(await keys('none/')).toEqual([]);
    await tidy();
  });

  it('writes over what was there, as a whole', async () => {
    await putText(open(), 'x', 'a long text');
    await putText(open(), 'x', 'short');
    expect(await getText(open(), 'x')).toBe('short');
    await tidy();
  });

  it('keeps nothing of what failed in the middle, small or large, and keeps what was there before', async () => {
    const failing = (bytes: number) =>
      stream(
        (function* () {
          for (let sent = 0; sent < bytes; sent += 100_000) yield randomBytes(100_000);
          throw new Error('the content broke');
        })(),
      );
    await putText(open(), 'kept', 'before');
    await expect(open().put('kept', failing(100_000))).rejects.toThrow('the content broke');
    await expect(open().put('new/large', failing(largeBytes))).rejects.toThrow('the content broke');
    expect(await keys()).toEqual(['kept 6']);
    expect(await getText(open(), 'kept')).toBe('before');
    await tidy();
  });

  it('can be called off', async () => {
    const off = new AbortController();
    const endless = stream(
      (function* () {
        for (let sent = 0; ; sent += 1) {
          if (sent === 20) off.abort();
          yield Buffer.alloc(50_000);
        }
      })(),
    );
    await expect(open().put('x', endless, { signal: off.signal })).rejects.toThrow();
    expect(await keys()).toEqual([]);
  });

  it('says that something is not there, and deletes what may be gone already', async () => {
    await expect(open().get('nothing/here')).rejects.toMatchObject({ code: 'not_found' });
    await putText(open(), 'a/b/c', 'x');
    await open().delete('a/b/c');
    await open().delete('a/b/c');
    expect(await keys()).toEqual([]);
  });
}
