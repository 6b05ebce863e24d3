import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface ScriptedServer {
  port: number;
  /** URLs in the order they were asked for. */
  asked: string[];
  close(): Promise<void>;
}

/** An HTTP server on loopback whose n-th request is answered by the n-th function; the last one answers all further ones. */
export async function startScript(...script: ((request: IncomingMessage, response: ServerResponse) => void)[]): Promise<ScriptedServer> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    const answer = script[Math.min(asked.length, script.length - 1)];
    asked.push(request.url ?? '');
    answer?.(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    asked,
    close() {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}
