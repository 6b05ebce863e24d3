import { chmod, mkdir, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { dirname } from 'node:path';
import { AppError, errorBody, toAppError } from '#core/errors.ts';
import type { SidecarPeers, SidecarStatus } from '#xlb/schema.ts';

/** What the sidecar tells the agent of its host, over a unix socket that nobody else can open. Nothing here needs Consul. */
export interface AdminHandlers {
  status(): SidecarStatus;
  peers(): Promise<SidecarPeers>;
  metrics(): Promise<string>;
  health(): Promise<{ ok: boolean; sentence: string }>;
  /** Looks at everything anew, now. @returns the status afterwards */
  check(): Promise<SidecarStatus>;
  /** The newest sentences, oldest first. */
  logs(lines: number): string[];
}

/** @returns the server, listening; a socket that a killed sidecar left is replaced */
export async function serveAdmin(socketPath: string, handlers: AdminHandlers): Promise<Server> {
  const server = createServer((request, response) => {
    answer(request, handlers).then(
      ({ status, type, text }) => end(response, status, type, text),
      (error: unknown) => {
        const known = toAppError(error);
        end(response, known.status, 'application/json', JSON.stringify(errorBody(known)));
      },
    );
  });
  server.requestTimeout = 10_000;
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

interface Answer {
  status: number;
  type: string;
  text: string;
}

async function answer(request: IncomingMessage, handlers: AdminHandlers): Promise<Answer> {
  const url = new URL(request.url ?? '/', 'http://sidecar');
  request.resume();
  switch (`${request.method} ${url.pathname}`) {
    case 'GET /status':
      return json(200, handlers.status());
    case 'GET /peers':
      return json(200, await handlers.peers());
    case 'GET /metrics':
      return { status: 200, type: 'text/plain; version=0.0.4; charset=utf-8', text: await handlers.metrics() };
    case 'GET /health': {
      const health = await handlers.health();
      return json(health.ok ? 200 : 503, health);
    }
    case 'GET /logs':
      return json(200, { lines: handlers.logs(lineCount(url.searchParams.get('lines'))) });
    case 'POST /reload-check':
      return json(200, await handlers.check());
    default:
      throw new AppError('not_found', `the sidecar has no ${request.method} ${url.pathname.slice(0, 100)}`);
  }
}

function lineCount(text: string | null): number {
  if (text === null) return 100;
  if (!/^\d{1,5}$/.test(text)) throw new AppError('invalid', 'lines must be a number');
  return Number(text);
}

function json(status: number, value: unknown): Answer {
  return { status, type: 'application/json', text: JSON.stringify(value) };
}

function end(response: ServerResponse, status: number, type: string, text: string): void {
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(text) });
  response.end(text);
}
