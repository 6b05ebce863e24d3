import { createHash, createHmac } from 'node:crypto';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/**
 * One bucket of an object store as far as Amazon's "S3 API Reference" describes what we use: every request's signature (version 4) and content hash are
 * checked; an upload in parts is visible when it was completed, and not before.
 */
export interface S3Server {
  endpoint: string;
  objects: Map<string, Buffer>;
  /** Uploads in parts that were begun and neither completed nor aborted. */
  uploads: Map<string, { key: string; begun: Date; parts: Map<number, Buffer> }>;
  /** Answers the next requests with this status. */
  fail(times: number, status: number): void;
  stop(): Promise<void>;
}

export const ACCOUNT = {
  accessKey: 'AKIDEXAMPLE',
  secretKey: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY',
  region: 'eu-test-1',
  bucket: 'backups',
};

const sha256 = (data: string | Buffer) => createHash('sha256').update(data).digest('hex');
const hmac = (key: string | Buffer, data: string) => createHmac('sha256', key).update(data).digest();
/** What RFC 3986 does not reserve stays as it is; nothing else does. */
const encode = (text: string) =>
  encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);

export interface ToSign {
  method: string;
  /** As it was sent. */
  path: string;
  query: [string, string][];
  /** Those that are signed, by their names in small letters. */
  headers: [string, string][];
  contentHash: string;
  /** `20130524T000000Z` */
  time: string;
  region: string;
  secretKey: string;
}

/** "Signature Calculations for the Authorization Header" for the service s3. */
export function signatureOf({ method, path, query, headers, contentHash, time, region, secretKey }: ToSign): string {
  const uri = path
    .split('/')
    .map((part) => encode(decodeURIComponent(part)))
    .join('/');
  const fields = query
    .map(([name, value]) => `${encode(name)}=${encode(value)}`)
    .sort()
    .join('&');
  const sorted = headers.toSorted(([a], [b]) => (a < b ? -1 : 1));
  const lines = sorted.map(([name, value]) => `${name}:${value.trim()}\n`).join('');
  const request = [method, uri, fields, lines, sorted.map(([name]) => name).join(';'), contentHash].join('\n');
  const day = time.slice(0, 8);
  const scope = `${day}/${region}/s3/aws4_request`;
  const key = [region, 's3', 'aws4_request'].reduce((before, part) => hmac(before, part), hmac(`AWS4${secretKey}`, day));
  return hmac(key, `AWS4-HMAC-SHA256\n${time}\n${scope}\n${sha256(request)}`).toString('hex');
}

/** @param address of this machine that it listens at */
export async function startS3(address = '127.0.0.1'): Promise<S3Server> {
  const objects: S3Server['objects'] = new Map();
  const uploads: S3Server['uploads'] = new Map();
  let failures = { times: 0, status: 0 };
  let counter = 0;

  const xml = (response: ServerResponse, status: number, body: string) =>
    response.writeHead(status, { 'content-type': 'application/xml' }).end(`<?xml version="1.0" encoding="UTF-8"?>${body}`);
  const error = (response: ServerResponse, status: number, code: string) => xml(response, status, `<Error><Code>${code}</Code></Error>`);
  const etag = (data: Buffer) => `"${createHash('md5').update(data).digest('hex')}"`;
  const text = (value: string) => value.replaceAll('&', '&amp;').replaceAll('<', '&lt;');

  function refusalOf(request: IncomingMessage, url: URL, rawPath: string, body: Buffer): string | undefined {
    const header =
      /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/s3\/aws4_request, ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/.exec(
        request.headers.authorization ?? '',
      );
    if (header === null) return 'AccessDenied';
    const [, accessKey, day, region = '', signed = '', signature] = header;
    const time = String(request.headers['x-amz-date']);
    const contentHash = String(request.headers['x-amz-content-sha256']);
    if (accessKey !== ACCOUNT.accessKey) return 'InvalidAccessKeyId';
    if (region !== ACCOUNT.region || !time.startsWith(day ?? '')) return 'AuthorizationHeaderMalformed';
    if (contentHash !== sha256(body)) return 'XAmzContentSHA256Mismatch';
    const names = signed.split(';');
    if (!names.includes('host')) return 'AccessDenied';
    const wanted = signatureOf({
      ...{
        method: request.method ?? '',
        path: rawPath,
        query: [...url.searchParams],
        contentHash,
        time,
        region,
        secretKey: ACCOUNT.secretKey,
      },
      headers: names.map((name) => [name, String(request.headers[name])]),
    });
    return wanted === signature ? undefined : 'SignatureDoesNotMatch';
  }

  function list(response: ServerResponse, query: URLSearchParams): void {
    const keys = [...objects.keys()].filter((key) => key.startsWith(query.get('prefix') ?? '')).sort();
    const after = query.get('continuation-token');
    const left = after === null ? keys : keys.filter((key) => key > Buffer.from(after, 'base64').toString());
    const page = left.slice(0, Number(query.get('max-keys') ?? 1000));
    const contents = page.map((key) => `<Contents><Key>${text(key)}</Key><Size>${objects.get(key)!.length}</Size></Contents>`).join('');
    const more = left.length > page.length;
    const next = more ? `<NextContinuationToken>${Buffer.from(page.at(-1)!).toString('base64')}</NextContinuationToken>` : '';
    xml(response, 200, `<ListBucketResult><IsTruncated>${more}</IsTruncated>${next}${contents}</ListBucketResult>`);
  }

  function inParts(response: ServerResponse, method: string, key: string, query: URLSearchParams, body: Buffer): void {
    const id = query.get('uploadId');
    if (id === null) {
      counter += 1;
      uploads.set(`upload+${counter}/=`, { key, begun: new Date(), parts: new Map() });
      return void xml(
        response,
        200,
        `<InitiateMultipartUploadResult><UploadId>upload+${counter}/=</UploadId></InitiateMultipartUploadResult>`,
      );
    }
    const upload = uploads.get(id);
    if (upload?.key !== key) return void error(response, 404, 'NoSuchUpload');
    if (method === 'DELETE') {
      uploads.delete(id);
      return void response.writeHead(204).end();
    }
    if (method === 'PUT') {
      upload.parts.set(Number(query.get('partNumber')), body);
      return void response.writeHead(200, { etag: etag(body) }).end();
    }
    const asked = [...body.toString().matchAll(/<PartNumber>(\d+)<\/PartNumber><ETag>([^<]*)<\/ETag>/g)];
    const parts = asked.map(([, number, tag]) => ({ data: upload.parts.get(Number(number)), tag: tag?.replace(/&(#34|quot);/g, '"') }));
    if (parts.some(({ data, tag }) => data === undefined || etag(data) !== tag)) return void error(response, 400, 'InvalidPart');
    uploads.delete(id);
    objects.set(key, Buffer.concat(parts.map(({ data }) => data!)));
    xml(response, 200, '<CompleteMultipartUploadResult></CompleteMultipartUploadResult>');
  }

  function answer(request: IncomingMessage, response: ServerResponse, body: Buffer): void {
    const url = new URL(request.url!, 'http://x');
    const rawPath = request.url!.split('?')[0]!;
    if (failures.times > 0) {
      failures.times -= 1;
      return void error(response, failures.status, 'SlowDown');
    }
    const refused = refusalOf(request, url, rawPath, body);
    if (refused !== undefined) return void error(response, 403, refused);
    const [, bucket, ...rest] = rawPath.split('/').map(decodeURIComponent);
    if (bucket !== ACCOUNT.bucket) return void error(response, 404, 'NoSuchBucket');
    const key = rest.join('/');
    const { searchParams: query } = url;
    const method = request.method ?? '';
    if (key === '' && query.has('uploads')) {
      const open = [...uploads].map(
        ([id, { key: of, begun }]) =>
          `<Upload><Key>${text(of)}</Key><UploadId>${id}</UploadId><Initiated>${begun.toISOString()}</Initiated></Upload>`,
      );
      return void xml(response, 200, `<ListMultipartUploadsResult>${open.join('')}</ListMultipartUploadsResult>`);
    }
    if (key === '') return void list(response, query);
    if (query.has('uploads') || query.has('uploadId')) return void inParts(response, method, key, query, body);
    if (method === 'PUT') {
      objects.set(key, body);
      return void response.writeHead(200, { etag: etag(body) }).end();
    }
    if (method === 'DELETE') {
      objects.delete(key);
      return void response.writeHead(204).end();
    }
    const content = objects.get(key);
    if (content === undefined) return void error(response, 404, 'NoSuchKey');
    response.writeHead(200, { 'content-length': content.length }).end(content);
  }

  const server = http.createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (chunk: Buffer) => parts.push(chunk));
    request.on('end', () => answer(request, response, Buffer.concat(parts)));
  });
  await new Promise<void>((resolve) => server.listen(0, address, resolve));
  return {
    endpoint: `http://${address}:${(server.address() as AddressInfo).port}`,
    objects,
    uploads,
    fail(times, status) {
      failures = { times, status };
    },
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
