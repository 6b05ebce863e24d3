import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { AwsV4Signer } from 'aws4fetch';
import { AppError } from '#core/errors.ts';
import { exchange, patiently, refusal, type StreamResponse, settle } from './http.ts';
import { ABANDONED_MS, type BackupStore, type StoredObject } from './store.ts';
import { xmlText, xmlValues } from './xml.ts';

export interface S3Options {
  /** `https://host:port` */
  endpoint: string;
  bucket: string;
  /** Before each key: empty, or ending with '/'. */
  prefix: string;
  accessKey: string;
  secretKey: string;
  region: string;
  ca?: string;
  /** Bytes of the first parts of a large object; tests make it small, S3 itself wants 5 MiB at least. */
  partBytes?: number;
  /** Keys of one page of a list, at most 1,000. */
  pageKeys?: number;
}

/** S3 allows 10,000 parts: they grow, so that 8 MiB at first are enough for 5 TiB, and memory is used for what is large only. */
const FIRST_PART_BYTES = 8 * 2 ** 20;
const PARTS_OF_A_SIZE = 1000;
const MAX_PART_BYTES = 512 * 2 ** 20;

/**
 * An S3-compatible object store: signature version 4, path-style addresses (every implementation serves them), multipart uploads for what is larger than one
 * part, which S3 makes visible as a whole or not at all.
 */
export function createS3Store(options: S3Options): BackupStore {
  const { endpoint, bucket, prefix, accessKey, secretKey, region, ca, partBytes = FIRST_PART_BYTES, pageKeys = 1000 } = options;
  const name = `s3://${new URL(endpoint).host}/${bucket}/${prefix}`.replace(/\/$/, '');

  async function call(method: string, key: string | undefined, query: Record<string, string>, body?: Buffer, signal?: AbortSignal) {
    const url = new URL(`${endpoint}/${encodePath(bucket)}${key === undefined ? '' : `/${encodePath(prefix + key)}`}`);
    for (const [field, value] of Object.entries(query)) url.searchParams.set(field, value);
    const signed = await new AwsV4Signer({
      method,
      url: url.href,
      headers: {
        'x-amz-content-sha256': createHash('sha256')
          .update(body ?? '')
          .digest('hex'),
      },
      accessKeyId: accessKey,
      secretAccessKey: secretKey,
      service: 's3',
      region,
    }).sign();
    const headers = Object.fromEntries(signed.headers.entries());
    return exchange({ method, url: signed.url, headers, ...(body ? { body } : {}), ...(ca ? { ca } : {}), ...(signal ? { signal } : {}) });
  }

  /** An exchange with a small answer, tried again when the store was not there. */
  function ask(what: string, method: string, key: string | undefined, query: Record<string, string>, expected: number[], body?: Buffer) {
    return patiently(async () => {
      const response = await call(method, key, query, body);
      return { headers: response.headers, text: await settle(response, what, expected) };
    });
  }

  async function putParts(key: string, parts: AsyncIterator<Buffer>, first: Buffer, second: Buffer, signal: AbortSignal | undefined) {
    const what = `an upload to ${name}`;
    const { text } = await ask(what, 'POST', key, { uploads: '' }, [200]);
    const uploadId = xmlValues(text, 'UploadId')[0];
    if (uploadId === undefined) throw new AppError('engine', `${what}: no upload id in the answer`);
    try {
      const etags: string[] = [];
      let bytes = 0;
      const upload = async (part: Buffer) => {
        signal?.throwIfAborted();
        const answer = await ask(what, 'PUT', key, { partNumber: String(etags.length + 1), uploadId }, [200], part);
        if (answer.headers.etag === undefined) throw new AppError('engine', `${what}: a part was taken without an etag`);
        etags.push(answer.headers.etag);
        bytes += part.length;
      };
      await upload(first);
      await upload(second);
      for (let next = await parts.next(); !next.done; next = await parts.next()) await upload(next.value);
      const list = etags.map((etag, index) => `<Part><PartNumber>${index + 1}</PartNumber><ETag>${xmlText(etag)}</ETag></Part>`).join('');
      const body = Buffer.from(
        `<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${list}</CompleteMultipartUpload>`,
      );
      const done = await ask(what, 'POST', key, { uploadId }, [200], body);
      // S3 says 200 at once, and what came of it in the body.
      if (done.text.includes('<Error>')) throw refusal(500, what, done.text);
      return { bytes };
    } catch (error) {
      await ask(what, 'DELETE', key, { uploadId }, [200, 204, 404]).catch(() => undefined);
      throw signal?.aborted && !(error instanceof AppError) ? new AppError('timeout', `${what} was called off`) : error;
    }
  }

  return {
    name,
    async put(key, content, { signal } = {}) {
      const parts = inParts(content, partBytes);
      const first = await parts.next();
      const second = first.done ? first : await parts.next();
      if (!second.done) return putParts(key, parts, first.value!, second.value, signal);
      const body: Buffer = first.done ? Buffer.alloc(0) : first.value;
      await ask(`an upload to ${name}`, 'PUT', key, {}, [200], body);
      return { bytes: body.length };
    },
    async get(key, { signal } = {}) {
      const response: StreamResponse = await patiently(async () => {
        const answer = await call('GET', key, {}, undefined, signal);
        if (answer.status !== 200) await settle(answer, `${key} at ${name}`, []);
        return answer;
      });
      return whole(response, `${key} at ${name}`);
    },
    async list(inner) {
      const found: StoredObject[] = [];
      let token: string | undefined;
      do {
        const query = {
          'list-type': '2',
          'max-keys': String(pageKeys),
          prefix: prefix + inner,
          ...(token === undefined ? {} : { 'continuation-token': token }),
        };
        const { text } = await ask(`the list of ${name}`, 'GET', undefined, query, [200]);
        const keys = xmlValues(text, 'Contents').map((entry) => ({ key: xmlValues(entry, 'Key')[0], size: xmlValues(entry, 'Size')[0] }));
        for (const { key, size } of keys) {
          if (key?.startsWith(prefix)) found.push({ key: key.slice(prefix.length), bytes: Number(size) });
        }
        token = xmlValues(text, 'IsTruncated')[0] === 'true' ? xmlValues(text, 'NextContinuationToken')[0] : undefined;
      } while (token !== undefined);
      return found;
    },
    async delete(key) {
      await ask(`the removal of ${key} at ${name}`, 'DELETE', key, {}, [200, 204, 404]);
    },
    async tidy(now) {
      const { text } = await ask(`the uploads of ${name}`, 'GET', undefined, { uploads: '', prefix }, [200]);
      for (const upload of xmlValues(text, 'Upload')) {
        const [key, uploadId, begun] = ['Key', 'UploadId', 'Initiated'].map((field) => xmlValues(upload, field)[0]);
        if (key === undefined || uploadId === undefined || begun === undefined || !key.startsWith(prefix)) continue;
        if (now.getTime() - Date.parse(begun) <= ABANDONED_MS) continue;
        await ask(`the end of an upload to ${name}`, 'DELETE', key.slice(prefix.length), { uploadId }, [200, 204, 404]);
      }
    },
  };
}

/** Buffers of growing size; the last one may be smaller. */
async function* inParts(content: Readable, firstBytes: number): AsyncGenerator<Buffer, undefined> {
  let held: Buffer[] = [];
  let size = 0;
  let given = 0;
  const wanted = () => Math.min(MAX_PART_BYTES, firstBytes * 2 ** Math.floor(given / PARTS_OF_A_SIZE));
  for await (const chunk of content) {
    held.push(chunk as Buffer);
    size += (chunk as Buffer).length;
    while (size >= wanted()) {
      const all = Buffer.concat(held);
      const part = all.subarray(0, wanted());
      held = [all.subarray(part.length)];
      size -= part.length;
      given += 1;
      yield part;
    }
  }
  if (size > 0) yield Buffer.concat(held);
}

/** Node ends a body that was cut off with an error only where a length or chunks tell; this looks at the length itself. */
function whole(response: StreamResponse, what: string): Readable {
  const expected = Number(response.headers['content-length'] ?? Number.NaN);
  return Readable.from(
    (async function* () {
      let bytes = 0;
      try {
        for await (const chunk of response.body) {
          bytes += (chunk as Buffer).length;
          yield chunk;
        }
      } catch (cause) {
        throw new AppError('unavailable', `${what}: the connection broke after ${bytes} bytes`, { cause });
      }
      if (!Number.isNaN(expected) && bytes !== expected) throw new AppError('unavailable', `${what}: ${bytes} of ${expected} bytes came`);
    })(),
    { objectMode: false },
  );
}

function encodePath(path: string): string {
  return path.split('/').map(encodeURIComponent).join('/');
}
