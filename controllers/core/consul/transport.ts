import http from 'node:http';
import { AppError } from '#core/errors.ts';
import { type HttpTarget, httpRequest } from '#core/http.ts';

export interface ConsulTarget extends Pick<HttpTarget, 'socketPath' | 'host' | 'port'> {
  token?: string;
  /** Milliseconds between the tries of a read that Consul answers with "not now". */
  readPausesMs?: readonly number[];
}

export interface ConsulRequest {
  query?: Record<string, string | number | boolean | undefined>;
  body?: unknown;
  /** Sent as it is instead of `body`. */
  raw?: string;
  signal?: AbortSignal;
  /** Milliseconds; 5,000 when not given. */
  timeoutMs?: number;
}

export interface ConsulAnswer {
  status: number;
  headers: http.IncomingHttpHeaders;
  /** The answer as it came: cheaper to compare than what was parsed of it. */
  text: string;
  /** Parsed at the first look, when the answer says that it is JSON; else its text. */
  readonly body: unknown;
}

export type ConsulTransport = (method: string, path: string, request?: ConsulRequest) => Promise<ConsulAnswer>;

const DEFAULT_TIMEOUT_MS = 5000;
/** Plain calls in flight at once; the others wait within their deadlines. */
const MAX_CALLS = 64;

/** Plain calls of Consul's HTTP API with a deadline. Answers of any status are returned. */
export function createTransport(target: ConsulTarget): { request: ConsulTransport; close(): void } {
  const agent = new http.Agent({ keepAlive: true, maxSockets: MAX_CALLS });
  // Apart from the others: blocking queries keep their connections, and many of them would leave none for plain calls.
  const blocking = new http.Agent({ keepAlive: true });
  const request: ConsulTransport = async (method, path, { query = {}, body, raw, signal, timeoutMs = DEFAULT_TIMEOUT_MS } = {}) => {
    const search = new URLSearchParams();
    for (const [key, value] of Object.entries(query)) if (value !== undefined) search.set(key, value === true ? '' : String(value));
    const text = raw ?? (body === undefined ? undefined : JSON.stringify(body));
    const answer = await httpRequest({
      ...(target.socketPath === undefined
        ? { host: target.host ?? '127.0.0.1', port: target.port ?? 8500 }
        : { socketPath: target.socketPath }),
      method,
      path: search.size === 0 ? path : `${path}?${search}`,
      headers: target.token === undefined ? {} : { 'x-consul-token': target.token },
      ...(text === undefined ? {} : { body: text }),
      timeoutMs,
      agent: query.index === undefined ? agent : blocking,
      ...(signal === undefined ? {} : { signal }),
    });
    return consulAnswer(answer.status, answer.headers, answer.body.toString('utf8'));
  };
  return {
    request,
    close() {
      agent.destroy();
      blocking.destroy();
    },
  };
}

/** Turns a status that means failure into an AppError that says what Consul said. */
export function consulError(answer: ConsulAnswer, what: string): AppError {
  const text = typeof answer.body === 'string' ? answer.body.trim().slice(0, 300) : JSON.stringify(answer.body).slice(0, 300);
  if (answer.status === 403) {
    return new AppError('forbidden', `Consul refuses ${what}: ${text}`, {
      hint: 'the token of this program lacks a right, see docs/runbook.md',
    });
  }
  // Consul says 500 for "no leader", "rpc error" and other passing states, 503 while it starts or is too busy.
  if (answer.status >= 500 || answer.status === 429) return new AppError('unavailable', `Consul cannot answer ${what} now: ${text}`);
  return new AppError('engine', `Consul answered ${what} with ${answer.status}: ${text}`);
}

export function consulAnswer(status: number, headers: http.IncomingHttpHeaders, text: string): ConsulAnswer {
  let parsed: { value: unknown } | undefined;
  return {
    status,
    headers,
    text,
    get body() {
      parsed ??= { value: parse(text, headers['content-type']) };
      return parsed.value;
    },
  };
}

function parse(text: string, type: string | undefined): unknown {
  if (!(type ?? '').includes('json')) return text;
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new AppError('unavailable', 'Consul sent an answer that is not whole JSON', { cause });
  }
}
