import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import { pipeline, Readable, Transform, type TransformCallback } from 'node:stream';
import zlib from 'node:zlib';
import { z } from 'zod';
import { AppError, messageOf } from '#core/errors.ts';

/**
 * How everything that a backup stores is packed: one line that says how, then the content, compressed and (when there is a key) encrypted. Whoever has the
 * object and the key can read it without any record.
 *
 * Encryption is AES-256-GCM in frames of 1 MiB, each with its number in its nonce and the last one marked as such, under a key derived for this object alone:
 * what was cut off, put together differently or changed does not open, and no plain text is given out that was not checked. (The construction is STREAM of
 * Hoang, Reyhanitabar, Rogaway and Vizár, "Online Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance", 2015.)
 */

const Header = z.object({
  xdb: z.literal('backup'),
  v: z.literal(1),
  codec: z.enum(['zstd', 'gzip', 'none']),
  /** Name of the key, and what this object's key is derived with. */
  cipher: z.object({ name: z.literal('aes-256-gcm-stream'), key: z.string(), salt: z.string() }).optional(),
});
type Header = z.infer<typeof Header>;

export interface BackupKey {
  id: string;
  /** 32 bytes. */
  secret: Buffer;
}

export type Codec = Header['codec'];

/** zstd where Node has it (22.15 and later, as in the images), else gzip. */
export function bestCodec(): Codec {
  return 'createZstdCompress' in zlib ? 'zstd' : 'gzip';
}

export interface PackOptions {
  codec: Codec;
  key: BackupKey | undefined;
}

const FRAME_BYTES = 2 ** 20;
const TAG_BYTES = 16;
const MAX_HEADER_BYTES = 4096;

/** @returns the object's bytes; when `content` fails, so do they */
export function pack(content: Readable, { codec, key }: PackOptions): Readable {
  const salt = randomBytes(32);
  const header: Header = {
    xdb: 'backup',
    v: 1,
    codec,
    ...(key === undefined ? {} : { cipher: { name: 'aes-256-gcm-stream' as const, key: key.id, salt: salt.toString('base64url') } }),
  };
  const line = Buffer.from(`${JSON.stringify(header)}\n`);
  return chain([content, ...compressor(codec), ...(key === undefined ? [] : [sealer(objectKey(key, salt))]), prefixer(line)]);
}

/**
 * @param keyOf finds a key by its name
 * @returns the content; it fails with AppError `invalid` where the object is damaged or cut off
 * @throws AppError `invalid` when its beginning is damaged, or it is sealed with a key that is not there
 */
export async function unpack(object: Readable, keyOf: (id: string) => BackupKey | undefined): Promise<Readable> {
  try {
    const bytes = object[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
    let head: Buffer = Buffer.alloc(0);
    let end = -1;
    while (end < 0) {
      const { value, done } = await bytes.next();
      if (done || head.length > MAX_HEADER_BYTES) throw damaged('its first line is missing');
      head = Buffer.concat([head, value]);
      end = head.indexOf(10);
    }
    const { codec, cipher } = parseHeader(head.toString('utf8', 0, end));
    const body = Readable.from(after(head.subarray(end + 1), bytes), { objectMode: false });
    const content = chain([body, ...(cipher === undefined ? [] : [opener(keyFor(cipher, keyOf))]), ...decompressor(codec)]);
    return Readable.from(complaining(content), { objectMode: false });
  } catch (error) {
    object.destroy();
    throw error;
  }
}

async function* after(first: Buffer, rest: AsyncIterator<Buffer>): AsyncGenerator<Buffer> {
  try {
    if (first.length > 0) yield first;
    for (let next = await rest.next(); !next.done; next = await rest.next()) yield next.value;
  } finally {
    await rest.return?.();
  }
}

/** zlib's errors say nothing to a person; what is ours or the store's stays as it is. */
async function* complaining(content: Readable): AsyncGenerator<Buffer> {
  try {
    yield* content as AsyncIterable<Buffer>;
  } catch (error) {
    if (error instanceof AppError || !String((error as { code?: unknown }).code).startsWith('Z')) throw error;
    throw damaged(messageOf(error), error);
  }
}

function keyFor(cipher: NonNullable<Header['cipher']>, keyOf: (id: string) => BackupKey | undefined): Buffer {
  const key = keyOf(cipher.key);
  if (key === undefined) {
    throw new AppError('invalid', `this backup is encrypted with the key ${cipher.key}, which is not here`, {
      hint: 'keys of backups are among the credentials of the database that it was made of',
    });
  }
  return objectKey(key, Buffer.from(cipher.salt, 'base64url'));
}

/** One stream out of several, the last of which is returned; a failure of any is a failure of it, and ends all. */
function chain(streams: (Readable | NodeJS.ReadWriteStream)[]): Readable {
  const last = streams.at(-1) as Readable;
  // Who reads it hears of the error; before somebody does, it must not end the process.
  last.on('error', () => undefined);
  if (streams.length > 1) pipeline(streams, () => undefined);
  return last;
}

function parseHeader(line: string): Header {
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch {
    throw damaged('its first line is not readable');
  }
  const parsed = Header.safeParse(json);
  if (!parsed.success) throw damaged('its first line is of no version that this one knows');
  return parsed.data;
}

interface Zstd {
  createZstdCompress(options: { params: Record<number, number> }): NodeJS.ReadWriteStream;
  createZstdDecompress(): NodeJS.ReadWriteStream;
  constants: { ZSTD_c_checksumFlag: number };
}

function compressor(codec: Codec): NodeJS.ReadWriteStream[] {
  if (codec === 'none') return [];
  if (codec === 'gzip') return [zlib.createGzip({ level: 1, chunkSize: 256 * 1024 })];
  const { createZstdCompress, constants } = zstd();
  return [createZstdCompress({ params: { [constants.ZSTD_c_checksumFlag]: 1 } })];
}

function decompressor(codec: Codec): NodeJS.ReadWriteStream[] {
  if (codec === 'none') return [];
  if (codec === 'gzip') return [zlib.createGunzip({ chunkSize: 256 * 1024 })];
  return [zstd().createZstdDecompress()];
}

function zstd(): Zstd {
  if (!('createZstdCompress' in zlib)) {
    throw new AppError('invalid', 'this backup is compressed with zstd, which this version of Node does not know', {
      hint: 'read it with the image',
    });
  }
  return zlib as unknown as Zstd;
}

function objectKey(key: BackupKey, salt: Buffer): Buffer {
  return Buffer.from(hkdfSync('sha256', key.secret, salt, 'xcaas backup object', 32));
}

/** Number of the frame, and whether it is the last one, as GCM's nonce; the key is this object's alone, so that nothing of it repeats. */
function nonce(frame: number, last: boolean): Buffer {
  const bytes = Buffer.alloc(12);
  bytes.writeUInt8(last ? 1 : 0, 0);
  bytes.writeUInt32BE(frame, 8);
  return bytes;
}

/** Collects bytes until `size` of them and at least one more are there: only then it is known that a frame is not the last one. */
function framed(size: number, each: (frame: Buffer, last: boolean) => Buffer): Transform {
  let parts: Buffer[] = [];
  let held = 0;
  const attempt = (done: TransformCallback, action: () => void) => {
    try {
      action();
    } catch (error) {
      return done(error as Error);
    }
    done();
  };
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      parts.push(chunk);
      held += chunk.length;
      if (held <= size) return done();
      attempt(done, () => {
        let all = Buffer.concat(parts);
        while (all.length > size) {
          this.push(each(all.subarray(0, size), false));
          all = all.subarray(size);
        }
        parts = [Buffer.from(all)];
        held = all.length;
      });
    },
    flush(done) {
      attempt(done, () => this.push(each(Buffer.concat(parts), true)));
    },
  });
}

function sealer(key: Buffer): Transform {
  let frame = 0;
  return framed(FRAME_BYTES, (content, last) => {
    const cipher = createCipheriv('aes-256-gcm', key, nonce(frame++, last));
    return Buffer.concat([cipher.update(content), cipher.final(), cipher.getAuthTag()]);
  });
}

function opener(key: Buffer): Transform {
  let frame = 0;
  return framed(FRAME_BYTES + TAG_BYTES, (sealed, last) => {
    try {
      const decipher = createDecipheriv('aes-256-gcm', key, nonce(frame++, last), { authTagLength: TAG_BYTES });
      decipher.setAuthTag(sealed.subarray(-TAG_BYTES));
      return Buffer.concat([decipher.update(sealed.subarray(0, -TAG_BYTES)), decipher.final()]);
    } catch (cause) {
      throw damaged('it was cut off, or changed, or sealed with another key of the same name', cause);
    }
  });
}

function prefixer(line: Buffer): Transform {
  let first = true;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      if (first) this.push(line);
      first = false;
      done(null, chunk);
    },
    flush(done) {
      if (first) this.push(line);
      done();
    },
  });
}

function damaged(why: string, cause?: unknown): AppError {
  return new AppError('invalid', `the stored object is damaged: ${why}`, { cause });
}
