import http from 'node:http';
import https from 'node:https';
import { AppError } from '#core/errors.ts';
import { errorFromBody, expectOk, isRecord, requestJson } from '#core/http.ts';
import { sleep } from '#core/sleep.ts';

export interface ApiClient {
  get(path: string): Promise<unknown>;
  post(path: string, body?: unknown, timeoutMs?: number): Promise<unknown>;
  patch(path: string, body: unknown): Promise<unknown>;
  delete(path: string, body?: unknown): Promise<unknown>;
  /** Reads an answer of JSON lines as they come. @throws AppError as the answer says */
  lines(method: string, path: string, body: unknown, onLine: (value: unknown) => void): Promise<void>;
}

/** Milliseconds a single call may take; what takes longer is polled or followed line by line. */
const CALL_TIMEOUT_MS = 30_000;
/** Milliseconds during which an API that cannot be reached is asked again: control replicas change their leader in a few seconds. */
const PATIENCE_MS = 15_000;

/** @param url e.g. `http://127.0.0.1:7400` */
export function createApiClient({ url, token }: { url: string; token: string | undefined }): ApiClient {
  const target = new URL(url);
  const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const where = { host: target.hostname, port: Number(target.port || (target.protocol === 'https:' ? 443 : 80)) };

  async function call(method: string, path: string, body?: unknown, timeoutMs = CALL_TIMEOUT_MS): Promise<unknown> {
    const end = Date.now() + PATIENCE_MS;
    for (;;) {
      try {
        const answer = await requestJson({ ...where, method, path, headers, body, timeoutMs });
        return expectOk(answer, `${method} ${path}`);
      } catch (error) {
        // `unavailable` is said before anything was done: nobody listens, or there is no leader yet.
        if (!(error instanceof AppError) || error.code !== 'unavailable' || Date.now() > end) throw explain(error, url);
        await sleep(500);
      }
    }
  }

  return {
    get: (path) => call('GET', path),
    post: (path, body, timeoutMs) => call('POST', path, body, timeoutMs),
    patch: (path, body) => call('PATCH', path, body),
    delete: (path, body) => call('DELETE', path, body),
    lines(method, path, body, onLine) {
      return new Promise((resolve, reject) => {
        const text = body === undefined ? undefined : JSON.stringify(body);
        const outgoing = (target.protocol === 'https:' ? https : http).request({
          ...where,
          method,
          path,
          headers: {
            ...headers,
            ...(text === undefined ? {} : { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(text)) }),
          },
        });
        outgoing.on('error', (error) => reject(explain(new AppError('unavailable', error.message), url)));
        outgoing.on('response', (incoming) => {
          let rest = '';
          const take = (line: string) => {
            if (line.trim() === '') return;
            const value: unknown = JSON.parse(line);
            if (isRecord(value) && isRecord(value.error)) throw errorFromBody({ status: 500, headers: {}, body: value }, path);
            onLine(value);
          };
          incoming.setEncoding('utf8');
          incoming.on('data', (chunk: string) => {
            const lines = (rest + chunk).split('\n');
            rest = lines.pop() ?? '';
            try {
              lines.forEach(take);
            } catch (error) {
              outgoing.destroy();
              reject(error);
            }
          });
          incoming.on('error', (error) => reject(new AppError('unavailable', `the answer broke off: ${error.message}`)));
          incoming.on('end', () => {
            try {
              take(rest);
              resolve();
            } catch (error) {
              reject(error);
            }
          });
        });
        outgoing.end(text);
      });
    },
  };
}

function explain(error: unknown, url: string): unknown {
  if (!(error instanceof AppError) || error.code !== 'unavailable' || error.hint !== undefined) return error;
  return new AppError('unavailable', `the API at ${url} cannot be reached: ${error.message}`, {
    hint: 'is the agent of this host running? ./xcaas up starts it; XCAAS_URL names another address',
    cause: error,
  });
}
