import http from 'node:http';
import https from 'node:https';
import { AppError, messageOf, systemCode, toAppError } from '#core/errors.ts';
import { errorFromBody, isRecord, requestJson } from '#core/http.ts';
import { sleep } from '#core/sleep.ts';

export interface ApiClient {
  /** @param options.once true = an API that cannot be reached is not asked again */
  get(path: string, options?: { once?: boolean }): Promise<unknown>;
  post(path: string, body?: unknown, timeoutMs?: number): Promise<unknown>;
  patch(path: string, body: unknown): Promise<unknown>;
  delete(path: string, body?: unknown): Promise<unknown>;
  /**
   * Reads an answer of JSON lines as they come.
   *
   * @param options.timeoutMs milliseconds until the last line; no end when not given
   * @throws AppError as the answer says, `timeout`, `unavailable` when it broke off
   */
  lines(method: string, path: string, body: unknown, onLine: (value: unknown) => void, options?: { timeoutMs?: number }): Promise<void>;
}

export interface ApiClientOptions {
  /** e.g. `http://127.0.0.1:7400` */
  url: string;
  token: string | undefined;
  /** Milliseconds that no single call goes beyond: the command's own `--timeout`. */
  timeoutMs?: number;
}

/** Milliseconds a single call may take; what takes longer is polled or followed line by line. */
const CALL_TIMEOUT_MS = 30_000;
/** Milliseconds during which an API that cannot be reached is asked again: control replicas change their leader in a few seconds. */
const PATIENCE_MS = 15_000;
const RETRY_MS = 500;

/** @throws AppError `usage` when the URL is none */
export function createApiClient({ url, token, timeoutMs: limitMs = Number.POSITIVE_INFINITY }: ApiClientOptions): ApiClient {
  const target = parseUrl(url);
  const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const isTls = target.protocol === 'https:';
  // A URL writes an IPv6 address in brackets, a socket does not.
  const where = { host: target.hostname.replace(/^\[|\]$/g, ''), port: Number(target.port || (isTls ? 443 : 80)) };
  const base = target.pathname.replace(/\/+$/, '');

  /** Asks again while that can do no harm. */
  async function patiently<T>(method: string, once: boolean, ask: () => Promise<T>): Promise<T> {
    const end = Date.now() + (once ? 0 : Math.min(PATIENCE_MS, limitMs));
    for (;;) {
      try {
        return await ask();
      } catch (thrown) {
        const error = toAppError(thrown);
        const harmless = error.code === 'unavailable' && (method === 'GET' || nothingWasDone(error));
        if (!harmless || Date.now() + RETRY_MS > end) throw explain(error, url, method);
        await sleep(RETRY_MS);
      }
    }
  }

  function call(method: string, path: string, body?: unknown, timeoutMs = CALL_TIMEOUT_MS, once = false): Promise<unknown> {
    const tls = isTls ? { tls: {} } : {};
    return patiently(method, once, async () => {
      const answer = await requestJson({
        ...where,
        ...tls,
        method,
        path: base + path,
        headers,
        body,
        timeoutMs: Math.min(timeoutMs, limitMs),
      });
      if (answer.status >= 200 && answer.status < 300) return answer.body;
      throw errorFromBody(answer, `${method} ${path}`);
    });
  }

  /** One try of {@link ApiClient.lines}. */
  function stream(method: string, path: string, body: unknown, onLine: (value: unknown) => void, timeoutMs?: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const text = body === undefined ? undefined : JSON.stringify(body);
      const outgoing = (isTls ? https : http).request({
        ...where,
        method,
        path: base + path,
        headers: {
          ...headers,
          ...(text === undefined ? {} : { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(text)) }),
        },
      });
      const timer =
        timeoutMs === undefined
          ? undefined
          : setTimeout(() => fail(new AppError('timeout', `${method} ${path} did not end within ${timeoutMs / 1000} s`)), timeoutMs);
      const fail = (error: unknown) => {
        clearTimeout(timer);
        reject(error);
        outgoing.destroy();
      };
      outgoing.on('error', (cause) => fail(new AppError('unavailable', messageOf(cause), { cause })));
      outgoing.on('response', (incoming) => {
        const isStream = incoming.statusCode !== undefined && incoming.statusCode >= 200 && incoming.statusCode < 300;
        let rest = '';
        const take = (line: string) => {
          if (line.trim() === '') return;
          const value = parseLine(line, path);
          if (isRecord(value) && isRecord(value.error)) throw errorFromBody({ status: 500, headers: {}, body: value }, path);
          onLine(value);
        };
        incoming.setEncoding('utf8');
        incoming.on('data', (chunk: string) => {
          rest += chunk;
          if (!isStream) return;
          const lines = rest.split('\n');
          rest = lines.pop() ?? '';
          try {
            lines.forEach(take);
          } catch (error) {
            fail(error);
          }
        });
        incoming.on('error', (cause) => fail(new AppError('unavailable', `the answer broke off: ${cause.message}`, { cause })));
        incoming.on('end', () => {
          try {
            if (!isStream) throw errorFromBody({ status: incoming.statusCode ?? 0, headers: {}, body: parseOr(rest) }, `${method} ${path}`);
            take(rest);
            clearTimeout(timer);
            resolve();
          } catch (error) {
            fail(error);
          }
        });
      });
      outgoing.end(text);
    });
  }

  return {
    get: (path, { once = false } = {}) => call('GET', path, undefined, CALL_TIMEOUT_MS, once),
    post: (path, body, timeoutMs) => call('POST', path, body, timeoutMs),
    patch: (path, body) => call('PATCH', path, body),
    delete: (path, body) => call('DELETE', path, body),
    lines: (method, path, body, onLine, { timeoutMs } = {}) => {
      let began = false;
      const tell = (value: unknown) => {
        began = true;
        onLine(value);
      };
      return patiently(method, false, async () => {
        try {
          await stream(method, path, body, tell, timeoutMs);
        } catch (error) {
          // What was told once is not told again.
          throw began && error instanceof AppError && error.code === 'unavailable' ? brokenOff(error, method) : error;
        }
      });
    },
  };
}

/** True when nobody took the command: nobody listens, or there is no leader to take it. */
function nothingWasDone(error: AppError): boolean {
  return ['ECONNREFUSED', 'ENOENT', 'EHOSTUNREACH', 'ENETUNREACH'].includes(systemCode(error.cause) ?? '') || NO_LEADER.test(error.message);
}
/** How the API and the agent before it begin to say so. */
const NO_LEADER = /^(no control replica|this control replica does not lead)/;

function brokenOff(error: AppError, method: string): AppError {
  return new AppError('unavailable', error.message, { hint: method === 'GET' ? 'type the command again' : UNKNOWN_OUTCOME });
}
const UNKNOWN_OUTCOME = 'whether it was carried out is not known; look with the status verb, then type the command again';

function explain(error: AppError, url: string, method: string): AppError {
  if (error.hint !== undefined) return error;
  if (error.code === 'timeout' && method !== 'GET') return new AppError('timeout', error.message, { hint: UNKNOWN_OUTCOME, cause: error });
  if (error.code !== 'unavailable') return error;
  if (method !== 'GET' && !nothingWasDone(error))
    return new AppError('unavailable', error.message, { hint: UNKNOWN_OUTCOME, cause: error });
  return new AppError('unavailable', `the API at ${url} cannot be reached: ${error.message}`, {
    hint: 'is the agent of this host running? ./xcaas up starts it; XCAAS_URL names another address',
    cause: error,
  });
}

function parseUrl(url: string): URL {
  const target = URL.canParse(url) ? new URL(url) : undefined;
  if (target?.protocol === 'http:' || target?.protocol === 'https:') return target;
  throw new AppError('usage', `"${url}" is no address of an API`, { hint: 'XCAAS_URL is such as http://127.0.0.1:7400' });
}

function parseLine(line: string, path: string): unknown {
  try {
    return JSON.parse(line);
  } catch (cause) {
    throw new AppError('engine', `${path} answered with something else than JSON lines: ${line.slice(0, 100)}`, { cause });
  }
}

function parseOr(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
