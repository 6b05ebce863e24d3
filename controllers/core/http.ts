import http from 'node:http';
import https from 'node:https';
import { AppError, errorBody, isErrorCode, messageOf, systemCode } from '#core/errors.ts';
import { MAX_TIMER_MS } from '#core/sleep.ts';

export interface HttpTarget {
  /** A unix socket, or … */
  socketPath?: string;
  /** … a host and port. */
  host?: string;
  port?: number;
  /** Present = TLS; without `ca` the system's own authorities are trusted. */
  tls?: { ca?: string; cert?: string; key?: string; servername?: string };
}

export interface HttpRequest extends HttpTarget {
  method: string;
  path: string;
  headers?: Record<string, string>;
  body?: string | Buffer;
  /** Milliseconds for the whole exchange, the body of the answer included. */
  timeoutMs: number;
  /** Largest answer in bytes; 64 MiB when not given. */
  maxBytes?: number;
  signal?: AbortSignal;
  agent?: http.Agent | https.Agent;
}

export interface HttpResponse {
  status: number;
  headers: http.IncomingHttpHeaders;
  body: Buffer;
}

/**
 * One HTTP exchange with a deadline, over TCP, TLS or a unix socket.
 *
 * @throws AppError `timeout` when the deadline passed or `signal` aborted, `unavailable` when nobody answered or the connection broke, `too_large`,
 * `invalid` when a header or the path holds what HTTP cannot carry
 */
export function httpRequest(request: HttpRequest): Promise<HttpResponse> {
  const { method, path, headers = {}, body, timeoutMs, maxBytes = 64 * 2 ** 20, signal, socketPath, host, port, tls } = request;
  const where = socketPath ?? `${host}:${port}`;
  return new Promise((resolve, reject) => {
    const options = {
      method,
      path,
      headers: { ...headers, ...(body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) }) },
      ...(socketPath === undefined ? { host, port } : { socketPath }),
      ...(request.agent === undefined ? {} : { agent: request.agent }),
      ...(tls ?? {}),
    };
    // Before anything is opened: a request that is destroyed before it has a listener for errors takes the process with it.
    if (signal?.aborted) {
      reject(new AppError('timeout', `${method} ${path} at ${where} was called off`));
      return;
    }
    let outgoing: http.ClientRequest;
    try {
      outgoing = (tls === undefined ? http : https).request(options);
    } catch (cause) {
      reject(new AppError('invalid', `${method} at ${where} cannot be asked for: ${messageOf(cause)}`, { cause }));
      return;
    }
    let settled = false;
    const finish = (action: () => void) => {
      if (settled) return;
      settled = true;
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      action();
    };
    const fail = (error: AppError) => finish(() => reject(error));
    const onAbort = () => {
      fail(new AppError('timeout', `${method} ${path} at ${where} was called off`));
      outgoing.destroy();
    };
    const timer = setTimeout(
      () => {
        fail(new AppError('timeout', `${where} did not answer ${method} ${path} within ${timeoutMs} ms`));
        outgoing.destroy();
      },
      Math.min(timeoutMs, MAX_TIMER_MS),
    );
    signal?.addEventListener('abort', onAbort, { once: true });

    outgoing.on('error', (cause) => fail(unreachable(where, cause)));
    outgoing.on('response', (incoming) => {
      const chunks: Buffer[] = [];
      let size = 0;
      incoming.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size > maxBytes) {
          fail(new AppError('too_large', `the answer of ${where} to ${method} ${path} is larger than ${maxBytes} bytes`));
          outgoing.destroy();
          return;
        }
        chunks.push(chunk);
      });
      incoming.on('error', (cause) => fail(unreachable(where, cause)));
      incoming.on('aborted', () => fail(unreachable(where, new Error('the connection broke in the middle of the answer'))));
      incoming.on('end', () =>
        finish(() => resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, body: Buffer.concat(chunks) })),
      );
    });
    outgoing.end(body);
  });
}

export interface JsonRequest extends Omit<HttpRequest, 'body'> {
  /** Sent as JSON when given. */
  body?: unknown;
}

export interface JsonResponse {
  status: number;
  headers: http.IncomingHttpHeaders;
  /** Parsed when the answer says it is JSON, else its text. */
  body: unknown;
}

/** Like {@link httpRequest} with JSON both ways. Answers of any status are returned, see {@link expectOk}. */
export async function requestJson(request: JsonRequest): Promise<JsonResponse> {
  const { body, headers = {}, ...rest } = request;
  const answer = await httpRequest({
    ...rest,
    headers: { accept: 'application/json', ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return { status: answer.status, headers: answer.headers, body: parseBody(answer) };
}

/** The body of a 2xx answer; any other one becomes the AppError that its body holds, or `engine` with its text. */
export function expectOk(answer: JsonResponse, what: string): unknown {
  if (answer.status >= 200 && answer.status < 300) return answer.body;
  throw errorFromBody(answer, what);
}

export function errorFromBody(answer: JsonResponse, what: string): AppError {
  const error = isRecord(answer.body) && isRecord(answer.body.error) ? answer.body.error : undefined;
  if (error !== undefined && isErrorCode(error.code) && typeof error.message === 'string') {
    return new AppError(error.code, error.message, typeof error.hint === 'string' ? { hint: error.hint } : {});
  }
  const text = typeof answer.body === 'string' ? answer.body.slice(0, 500) : JSON.stringify(answer.body)?.slice(0, 500);
  return new AppError('engine', `${what} answered ${answer.status}: ${text}`);
}

/** Writes an AppError as an HTTP answer's status and JSON text. */
export function errorAnswer(error: AppError): { status: number; text: string } {
  return { status: error.status, text: JSON.stringify(errorBody(error)) };
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function parseBody(answer: HttpResponse): unknown {
  const text = answer.body.toString('utf8');
  if (!String(answer.headers['content-type'] ?? '').includes('json')) return text;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function unreachable(where: string, cause: Error): AppError {
  const code = systemCode(cause);
  const why =
    code === 'ECONNREFUSED'
      ? 'nothing listens there'
      : code === 'ENOENT'
        ? 'there is no such socket'
        : code === 'EACCES'
          ? 'permission denied'
          : messageOf(cause);
  return new AppError('unavailable', `${where} cannot be reached: ${why}`, { cause });
}
