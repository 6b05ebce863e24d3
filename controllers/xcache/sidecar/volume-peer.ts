import { createHmac, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { request as ask, createServer, type Server } from 'node:https';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { z } from 'zod';
import type { BackupStore } from '#backup/stores/store.ts';
import { AppError, messageOf, toAppError } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import { readTls, type TlsPaths } from '#member/tls-files.ts';

/** What a member has on its backup volume, read by members of a cache that is restored from it: HTTPS with the pool's certificates, and a secret of that cache's. */

export interface VolumeServerOptions {
  port: number;
  tls: TlsPaths;
  secret(): string | undefined;
  /** @throws AppError while the place of backups is not known */
  store(): BackupStore;
  log: Logger;
}

const SILENCE_MS = 60_000;
const CERTIFICATE_MS = 60_000;
const Listed = z.array(z.object({ key: z.string(), bytes: z.number() }));

/** @returns it, listening as soon as there is a certificate */
export function serveVolume({ port, tls, secret, store, log }: VolumeServerOptions): Server {
  const server = createServer({}, (request, response) => {
    handle(request, response).catch((error: unknown) => {
      const known = toAppError(error);
      if (response.headersSent) return void response.destroy();
      response.writeHead(known.status, { 'content-type': 'text/plain' }).end(known.message);
    });
  });
  let complaint = '';

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (!isKnown(request.headers.authorization, secret())) throw new AppError('forbidden', 'this is not the secret of this cache');
    const url = new URL(request.url ?? '/', 'https://member');
    const [what, key] = [url.pathname, url.searchParams.get('key') ?? ''];
    if (what === '/list') {
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(await store().list(key)));
      return;
    }
    if (what !== '/object') throw new AppError('not_found', 'there is nothing here by that name');
    const found = (await store().list(key.replace(/[^/]*$/, ''))).find((object) => object.key === key);
    if (found === undefined) throw new AppError('not_found', `${key.slice(0, 100)} is not on this volume`);
    response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': found.bytes });
    await pipeline(await store().get(key), response);
  }

  const refresh = async () => {
    try {
      const { cert, key } = await readTls(tls);
      server.setSecureContext({ cert, key });
      if (!server.listening) server.listen(port);
      complaint = '';
    } catch (error) {
      if (messageOf(error) !== complaint) log.warn({ err: messageOf(error) }, 'backups of this member cannot be read by others');
      complaint = messageOf(error);
    }
  };
  server.on('error', (error) => log.warn({ err: messageOf(error), port }, 'backups of this member cannot be read by others'));
  server.setTimeout(SILENCE_MS);
  void refresh();
  const timer = setInterval(() => void refresh(), CERTIFICATE_MS);
  timer.unref();
  server.on('close', () => clearInterval(timer));
  return server;
}

function isKnown(given: string | undefined, secret: string | undefined): boolean {
  if (given === undefined || secret === undefined) return false;
  const [a, b] = [given, `Bearer ${secret}`].map((each) => createHmac('sha256', 'compare').update(each).digest());
  return a !== undefined && b !== undefined && timingSafeEqual(a, b);
}

export interface VolumePeer {
  member: string;
  address: string;
  port: number;
  /** The cache that it is a member of: its certificate is for that name. */
  cache: string;
  secret: string;
  /** PEM. */
  ca: string;
}

/** The backup volume of a member of another cache, to be read only. */
export function volumeOf(peer: VolumePeer): BackupStore {
  const readOnly = () => Promise.reject(new AppError('internal', 'the backup volume of another member is not written to'));

  async function get(path: string, key: string, signal?: AbortSignal): Promise<IncomingMessage> {
    const { address, port, cache, secret, ca, member } = peer;
    const options = { host: address, port, ca, servername: cache, headers: { authorization: `Bearer ${secret}` }, agent: false as const };
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      const request = ask(
        { ...options, path: `${path}?${new URLSearchParams({ key })}`, timeout: SILENCE_MS, ...(signal === undefined ? {} : { signal }) },
        resolve,
      );
      request.on('timeout', () => request.destroy(new Error('it fell silent')));
      request.on('error', (error) =>
        reject(new AppError('unavailable', `${member} does not give its backups: ${messageOf(error)}`, { cause: error })),
      );
      request.end();
    });
    if (answer.statusCode === 200) return answer;
    const why = (await text(answer)).slice(0, 200);
    throw new AppError(answer.statusCode === 404 ? 'not_found' : 'unavailable', `${member}: ${why}`);
  }

  return {
    name: `volume of ${peer.member}`,
    put: readOnly,
    delete: readOnly,
    tidy: readOnly,
    get: async (key, { signal } = {}) =>
      Readable.from(whole(await get('/object', key, signal), `${key} of ${peer.member}`), { objectMode: false }),
    list: async (prefix) => Listed.parse(JSON.parse(await text(await get('/list', prefix)))),
  };
}

/** The end of a connection is no proof that all came. */
async function* whole(answer: IncomingMessage, what: string): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of answer) yield chunk as Buffer;
  } catch (cause) {
    throw new AppError('unavailable', `${what}: the connection broke: ${messageOf(cause)}`, { cause });
  }
  if (!answer.complete) throw new AppError('unavailable', `${what}: the connection broke`);
}
