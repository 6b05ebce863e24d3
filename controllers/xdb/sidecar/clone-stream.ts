import { createHash } from 'node:crypto';
import { Transform } from 'node:stream';
import { z } from 'zod';
import { AppError } from '#core/errors.ts';

/**
 * A copy of data on its way from one member to another: chunks with their length before them, then a chunk of length zero and a trailer that says how
 * many bytes there were, their checksum and the position. A stream that ends before its trailer, or differs from it, is an error, never an end: a part of a database
 * cannot be taken for all of it.
 */
export const Trailer = z.object({ bytes: z.number().int().min(0), sha256: z.string(), gtid: z.string() });
export type Trailer = z.infer<typeof Trailer>;

const LENGTH_BYTES = 4;
/** Longest chunk and longest trailer in bytes; what claims more is no such stream. */
const MAX_CHUNK = 4 * 2 ** 20;
const MAX_TRAILER = 4096;

/** Frames what is written to it. `finish` is to be called instead of `end`, when the source has said that it is whole. */
export function encodeClone(): Transform & { finish(gtid: string): void; bytes(): number } {
  const hash = createHash('sha256');
  let bytes = 0;
  const stream = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length;
      hash.update(chunk);
      for (let at = 0; at < chunk.length; at += MAX_CHUNK) {
        const part = chunk.subarray(at, at + MAX_CHUNK);
        this.push(lengthOf(part.length));
        this.push(part);
      }
      done();
    },
  });
  return Object.assign(stream, {
    bytes: () => bytes,
    finish(gtid: string) {
      const trailer = Buffer.from(JSON.stringify({ bytes, sha256: hash.digest('hex'), gtid } satisfies Trailer));
      stream.push(Buffer.concat([lengthOf(0), lengthOf(trailer.length), trailer]));
      stream.push(null);
    },
  });
}

/** Takes the frames off. It fails with `engine` where the stream is not what {@link encodeClone} made, whole. */
export function decodeClone(onProgress: (bytes: number) => void = () => undefined): Transform {
  const hash = createHash('sha256');
  let rest: Buffer = Buffer.alloc(0);
  let bytes = 0;
  let left = 0;
  let state: 'length' | 'chunk' | 'trailer-length' | 'trailer' | 'end' = 'length';

  /** Takes as much as there is. @returns false when more is needed */
  function step(push: (chunk: Buffer) => void): boolean {
    if (state === 'chunk') {
      const part = rest.subarray(0, left);
      if (part.length === 0) return false;
      rest = rest.subarray(part.length);
      left -= part.length;
      bytes += part.length;
      hash.update(part);
      push(part);
      if (left === 0) state = 'length';
      return true;
    }
    if (state === 'trailer') {
      if (rest.length < left) return false;
      check(rest.subarray(0, left).toString('utf8'));
      rest = rest.subarray(left);
      state = 'end';
      return true;
    }
    if (state === 'end') {
      if (rest.length > 0) throw broken('goes on after its end');
      return false;
    }
    if (rest.length < LENGTH_BYTES) return false;
    left = rest.readUInt32BE(0);
    rest = rest.subarray(LENGTH_BYTES);
    if (state === 'trailer-length') {
      if (left > MAX_TRAILER) throw broken('has no trailer');
      state = 'trailer';
    } else {
      if (left > MAX_CHUNK) throw broken('is no stream of a copy');
      state = left === 0 ? 'trailer-length' : 'chunk';
    }
    return true;
  }

  function check(text: string): void {
    const trailer = Trailer.safeParse(parseJson(text));
    if (!trailer.success) throw broken('has a trailer that is not understood');
    if (trailer.data.bytes !== bytes) throw broken(`has ${bytes} bytes where ${trailer.data.bytes} were sent`);
    if (trailer.data.sha256 !== hash.digest('hex')) throw broken('was damaged on its way');
  }

  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      try {
        rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
        while (step((part) => this.push(part)));
        onProgress(bytes);
        done();
      } catch (error) {
        done(error as Error);
      }
    },
    flush(done) {
      done(state === 'end' ? null : broken(`ended after ${bytes} bytes without its trailer`));
    },
  });
}

function lengthOf(length: number): Buffer {
  const buffer = Buffer.alloc(LENGTH_BYTES);
  buffer.writeUInt32BE(length);
  return buffer;
}

function broken(how: string): AppError {
  return new AppError('engine', `the copy of the data ${how}`, { hint: 'it is made again by itself' });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
