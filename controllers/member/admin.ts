import { chmod, mkdir, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { dirname } from 'node:path';
import { AppError, errorBody, toAppError } from '#core/errors.ts';

/**
 * What the sidecar tells the agent of its host, over a unix socket that nobody else can open. It is a table of routes: each part of the sidecar brings its own.
 */
export interface AdminRequest {
  params: Readonly<Record<string, string>>;
  query: URLSearchParams;
  /** Parsed JSON; undefined where there was none. */
  body: unknown;
  /** Aborts when the caller has gone. */
  signal: AbortSignal;
}

export interface AdminAnswer {
  status?: number;
  /** Sent as JSON. */
  body?: unknown;
  /** Sent instead of `body`, as Prometheus' text. */
  text?: string;
}

export interface AdminRoute {
  method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** `/users/:name`: a part with a colon matches one segment and is handed over by that name. */
  path: string;
  handle(request: AdminRequest): Promise<AdminAnswer> | AdminAnswer;
}

const MAX_BODY = 2 ** 20;

/** @returns the server, listening; a socket that a killed sidecar left is replaced */
export async function serveAdmin(socketPath: string, routes: readonly AdminRoute[]): Promise<Server> {
  const server = createServer((request, response) => {
    answer(request, response, routes).then(
      (given) => end(response, given),
      (error: unknown) => {
        const known = toAppError(error);
        end(response, { status: known.status, body: errorBody(known) });
      },
    );
  });
  server.keepAliveTimeout = 5000;
  await mkdir(dirname(socketPath), { recursive: true });
  await rm(socketPath, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(socketPath, resolve);
  });
  await chmod(socketPath, 0o600);
  return server;
}

async function answer(request: IncomingMessage, response: ServerResponse, routes: readonly AdminRoute[]): Promise<AdminAnswer> {
  const url = new URL(request.url ?? '/', 'http://sidecar');
  const found = findRoute(routes, request.method ?? 'GET', url.pathname);
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  const text = await readBody(request);
  if (found === undefined) throw new AppError('not_found', `the sidecar has no ${request.method} ${url.pathname.slice(0, 100)}`);
  return found.route.handle({ params: found.params, query: url.searchParams, body: parseBody(text), signal: gone.signal });
}

/** Pure: the first route that fits. */
export function findRoute(
  routes: readonly AdminRoute[],
  method: string,
  path: string,
): { route: AdminRoute; params: Record<string, string> } | undefined {
  const given = path.split('/');
  for (const route of routes) {
    const wanted = route.path.split('/');
    if (route.method !== method || wanted.length !== given.length) continue;
    const params: Record<string, string> = {};
    const fits = wanted.every((part, index) => {
      const value = given[index] ?? '';
      if (!part.startsWith(':')) return part === value;
      params[part.slice(1)] = decode(value);
      return value !== '';
    });
    if (fits) return { route, params };
  }
  return undefined;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new AppError('invalid', 'the path is not well formed');
  }
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    size += (chunk as Buffer).length;
    if (size > MAX_BODY) throw new AppError('too_large', `a request to the sidecar has at most ${MAX_BODY} bytes`);
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function parseBody(text: string): unknown {
  if (text === '') return undefined;
  try {
    return JSON.parse(text);
  } catch {
    throw new AppError('invalid', 'the request is not JSON');
  }
}

function end(response: ServerResponse, { status = 200, body, text }: AdminAnswer): void {
  const [type, content] =
    text === undefined ? ['application/json', JSON.stringify(body ?? {})] : ['text/plain; version=0.0.4; charset=utf-8', text];
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(content) });
  response.end(content);
}
