import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeClone, encodeClone } from './clone-stream.ts';

/** Feeds `bytes` in pieces of these sizes, over and over. */
function pieces(bytes: Buffer, sizes: readonly number[]): Buffer[] {
  const parts: Buffer[] = [];
  for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
    const size = sizes[turn % sizes.length] ?? 1;
    parts.push(bytes.subarray(at, at + size));
    at += size;
  }
  return parts;
}

async function encoded(chunks: readonly Buffer[]): Promise<Buffer> {
  const stream = encodeClone();
  const all = buffer(stream);
  for (const chunk of chunks) stream.write(chunk);
  // What was written is through before the end is added, as after a dump that has ended.
  await new Promise<void>((resolve) => stream.write(Buffer.alloc(0), () => resolve()));
  stream.finish('0-1-42');
  return all;
}

async function decoded(parts: readonly Buffer[]): Promise<Buffer> {
  const stream = decodeClone();
  const all = buffer(stream);
  await Promise.all([pipeline(Readable.from(parts), stream), all]);
  return all;
}

const chunksOf = fc.array(
  fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
  { maxLength: 8 },
);
const sizesOf = fc.array(fc.integer({ min: 1, max: 64 }), { minLength: 1, maxLength: 5 });

describe('a copy on its way', () => {
  it('arrives as it was, however it is cut into packets', async () => {
    await fc.assert(
      fc.asyncProperty(chunksOf, sizesOf, async (chunks, sizes) => {
        const got = await decoded(pieces(await encoded(chunks), sizes));
        expect(got.equals(Buffer.concat(chunks))).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  it('is never taken for whole when it ends early, at whatever byte', async () => {
    const whole = await encoded([Buffer.from('all of a database'), Buffer.from('and more')]);
    for (let length = 0; length < whole.length; length += 1) {
      await expect(decoded([whole.subarray(0, length)])).rejects.toThrow();
    }
    await expect(decoded([whole])).resolves.toEqual(Buffer.from('all of a databaseand more'));
  });

  it('is never taken for whole when a byte of it was changed', async () => {
    const whole = await encoded([Buffer.from('all of a database')]);
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: whole.length - 1 }), fc.integer({ min: 1, max: 255 }), async (at, by) => {
        const damaged = Buffer.from(whole);
        damaged[at] = (damaged[at] ?? 0) ^ by;
        const result = await decoded([damaged]).catch(() => 'refused' as const);
        // The position in the trailer is not what the data are made from.
        if (result !== 'refused') expect(result.equals(Buffer.from('all of a database'))).toBe(true);
        if (at < 4 + 17) expect(result).toBe('refused');
      }),
      { numRuns: 100 },
    );
  });

  it('with something after its end is refused', async () => {
    const whole = await encoded([Buffer.from('data')]);
    await expect(decoded([whole, Buffer.from('x')])).rejects.toMatchObject({ message: expect.stringContaining('after its end') });
  });

  it('that claims a huge chunk is refused before anything is waited for', async () => {
    const claim = Buffer.alloc(4);
    claim.writeUInt32BE(2 ** 31);
    await expect(decoded([claim, Buffer.alloc(10)])).rejects.toMatchObject({ code: 'engine' });
  });
});
