import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type BackupKey, bestCodec, type Codec, pack, unpack } from './envelope.ts';

const key: BackupKey = { id: 'k1', secret: randomBytes(32) };
const keyOf = (id: string) => (id === key.id ? key : undefined);

async function bytesOf(stream: Readable): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const chunk of stream) parts.push(chunk as Buffer);
  return Buffer.concat(parts);
}

const packed = (content: Buffer, codec: Codec, sealed: boolean) =>
  bytesOf(pack(Readable.from([content], { objectMode: false }), { codec, key: sealed ? key : undefined }));
const unpacked = async (object: Buffer, keys = keyOf) => bytesOf(await unpack(Readable.from([object], { objectMode: false }), keys));

describe('what is stored', () => {
  it('comes back as it was, compressed and sealed or not', async () => {
    for (const codec of new Set<Codec>(['gzip', 'none', bestCodec()])) {
      for (const sealed of [true, false]) {
        for (const size of [0, 1, 100_000, 2 ** 20, 2 ** 20 + 1, 3 * 2 ** 20]) {
          const content = Buffer.concat([randomBytes(Math.ceil(size / 2)), Buffer.alloc(Math.floor(size / 2))]);
          expect((await unpacked(await packed(content, codec, sealed))).equals(content)).toBe(true);
        }
      }
    }
  });

  it('holds nothing readable when it is sealed', async () => {
    const object = await packed(Buffer.from('a very secret line'.repeat(50)), 'none', true);
    expect(object.includes('secret line')).toBe(false);
    expect(JSON.parse(object.subarray(0, object.indexOf(10)).toString())).toMatchObject({ codec: 'none', cipher: { key: 'k1' } });
  });

  it('does not open when anything of it was changed, cut off, put together differently, or the key is not there', async () => {
    const content = randomBytes(2.5 * 2 ** 20);
    const object = await packed(content, 'none', true);
    const head = object.indexOf(10) + 1;
    const frame = 2 ** 20 + 16;
    const frames = [0, 1, 2].map((index) => object.subarray(head + index * frame, head + (index + 1) * frame));
    const start = object.subarray(0, head);
    for (const order of [[0, 1], [0, 2], [1, 0, 2], [0, 1, 2, 2], [0]]) {
      await expect(unpacked(Buffer.concat([start, ...order.map((index) => frames[index]!)]))).rejects.toMatchObject({ code: 'invalid' });
    }
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: head, max: object.length - 1 }), async (at) => {
        const changed = Buffer.from(object);
        changed[at] = changed[at]! ^ 1;
        await expect(unpacked(changed)).rejects.toMatchObject({ code: 'invalid' });
      }),
      { numRuns: 10 },
    );
    await expect(unpacked(object, () => undefined)).rejects.toThrow(/encrypted with the key k1, which is not here/);
    await expect(unpacked(object, () => ({ ...key, secret: randomBytes(32) }))).rejects.toMatchObject({ code: 'invalid' });
  });

  it('is refused when it was cut off without being sealed', async () => {
    const object = await packed(randomBytes(200_000), 'gzip', false);
    for (const length of [0, 5, 100, object.length - 1]) {
      await expect(unpacked(object.subarray(0, length))).rejects.toMatchObject({ code: 'invalid' });
    }
    await expect(unpacked(Buffer.from('{"some":"file"}\nof somebody else'))).rejects.toThrow(/no version that this one knows/);
  });

  it('fails when its content fails: half a backup is none', async () => {
    const content = Readable.from(
      (async function* () {
        yield Buffer.alloc(1000);
        throw new Error('the dump broke');
      })(),
      { objectMode: false },
    );
    await expect(bytesOf(pack(content, { codec: 'gzip', key }))).rejects.toThrow('the dump broke');
  });
});
