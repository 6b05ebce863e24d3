import http from 'node:http';
import https from 'node:https';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { AppError, messageOf, systemCode } from '#core/errors.ts';

export interface StreamRequest {
  method: string;
  url: URL;
  headers?: Record<string, string>;
  /** A stream is sent as it comes, without a length. */
  body?: Buffer | Readable;
  /** PEM of an authority besides the system's. */
  ca?: string;
  signal?: AbortSignal;
}

export interface StreamResponse {
  status: number;
  headers: http.IncomingHttpHeaders;
  body: Readable;
}

/** Milliseconds without a byte in either direction after which the other side is given up. */
const SILENCE_MS = 60_000;
const ATTEMPTS_SPACED_MS = 300;

/**
 * One exchange whose bodies may be larger than memory. Time counts only while nothing moves.
 *
 * @returns once the head of the answer is there; the body has to be read or destroyed
 * @throws AppError `unavailable`, `timeout`
 */
export async function exchange(request: StreamRequest): Promise<StreamResponse> {
  const { method, url, headers = {}, body, ca, signal } = request;
  const where = `${url.host}`;
  const length = body === undefined ? 0 : body instanceof Buffer ? body.length : undefined;
  const sent = { ...headers, ...(length === undefined ? { 'transfer-encoding': 'chunked' } : { 'content-length': String(length) }) };
  const secure = url.protocol === 'https:';
  const outgoing = (secure ? https : http).request(url, {
    method,
    headers: sent,
    ...(signal ? { signal } : {}),
    ...(secure && ca ? { ca } : {}),
  });
  outgoing.setTimeout(SILENCE_MS, () => outgoing.destroy(new AppError('timeout', `${where} was silent for ${SILENCE_MS / 1000} s`)));
  const answered = new Promise<StreamResponse>((resolve, reject) => {
    outgoing.once('error', (cause) => reject(unreachable(where, cause, signal)));
    outgoing.once('response', (incoming) => {
      // A break in the middle of the body is the reader's to hear of.
      incoming.on('error', () => undefined);
      resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, body: incoming });
    });
  });
  if (body instanceof Readable) {
    // An answer may come (a refusal) before all is sent; an own failure to read the content must not look like one of the store.
    const sending = pipeline(body, outgoing).catch((error: unknown) => {
      if (body.errored) throw body.errored;
      throw unreachable(where, error as Error, signal);
    });
    sending.catch(() => undefined);
    return await Promise.race([answered, sending.then(() => answered)]);
  }
  outgoing.end(body);
  return answered;
}

/** Reads an answer's body, and throws an AppError for an unexpected status. */
export async function settle(response: StreamResponse, what: string, expected: readonly number[]): Promise<string> {
  const parts: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of response.body) {
      size += (chunk as Buffer).length;
      if (size > 64 * 2 ** 20) throw new AppError('engine', `${what}: the answer is too long`);
      parts.push(chunk as Buffer);
    }
  } catch (error) {
    throw error instanceof AppError
      ? error
      : new AppError('unavailable', `${what}: the connection broke: ${messageOf(error)}`, { cause: error });
  }
  const text = Buffer.concat(parts).toString('utf8');
  if (expected.includes(response.status)) return text;
  throw refusal(response.status, what, text);
}

export function refusal(status: number, what: string, text: string): AppError {
  const detail = /<Code>([^<]*)<\/Code>|"exception"\s*:\s*"([^"]*)"/.exec(text);
  const said =
    detail?.[1] ??
    detail?.[2] ??
    text
      .replace(/<[^>]*>/g, ' ')
      .trim()
      .slice(0, 200);
  const why = `${what}: the store answered ${status}${said === '' ? '' : ` (${said})`}`;
  if (status === 401 || status === 403)
    return new AppError('forbidden', why, { hint: 'check the user, the key and the rights of it at the store' });
  if (status === 404) return new AppError('not_found', why);
  if (status === 507) return new AppError('disk_full', why);
  if (status >= 500 || status === 429) return new AppError('unavailable', why);
  return new AppError('engine', why);
}

/**
 * Tries again what may be tried again.
 *
 * @param attempt must be repeatable as a whole
 */
export async function patiently<T>(attempt: () => Promise<T>, attempts = 4): Promise<T> {
  for (let tried = 1; ; tried++) {
    try {
      return await attempt();
    } catch (error) {
      const worth = error instanceof AppError && (error.code === 'unavailable' || error.code === 'timeout');
      if (!worth || tried >= attempts) throw error;
      await new Promise((resolve) => setTimeout(resolve, ATTEMPTS_SPACED_MS * 3 ** (tried - 1) * (0.5 + Math.random() / 2)));
    }
  }
}

function unreachable(where: string, cause: Error, signal: AbortSignal | undefined): AppError {
  if (cause instanceof AppError) return cause;
  if (signal?.aborted) return new AppError('timeout', 'called off', { cause });
  const code = systemCode(cause);
  const why = code === 'ECONNREFUSED' ? 'nothing listens there' : code === 'ENOTFOUND' ? 'there is no such host' : messageOf(cause);
  return new AppError('unavailable', `the backup store at ${where} cannot be reached: ${why}`, { cause });
}
