import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { type WebSocket, WebSocketServer } from 'ws';
import type { Peer } from '#xlb/schema.ts';
import { peer } from './nginx-fixture.ts';

/** A server of this process that containers reach by the bridge's address; it answers with its name. */
export interface Backend {
  name: string;
  port: number;
  /** Every request that arrived, also those that were not answered. */
  requests: { method: string; url: string; headers: IncomingMessage['headers'] }[];
  /** Connections that were ever accepted. */
  connections: number;
  sockets: Set<WebSocket>;
  /** `close`: the connection ends when the request has come; `hang`: no answer. */
  mode: 'answer' | 'close' | 'hang';
  peer(address: string, more?: Partial<Peer>): Peer;
  /** Stops listening and cuts what is connected. */
  stop(): Promise<void>;
  /** Listens again on the same port. */
  listen(): Promise<void>;
}

export async function startBackend(name: string): Promise<Backend> {
  const connected = new Set<Socket>();
  const sockets = new Set<WebSocket>();
  const upgrader = new WebSocketServer({ noServer: true });
  let server: Server;
  const backend: Backend = {
    name,
    port: 0,
    requests: [],
    connections: 0,
    sockets,
    mode: 'answer',
    peer: (address, more) => peer(name, address, backend.port, more),
    async stop() {
      for (const socket of connected) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
    async listen() {
      server = make();
      await new Promise<void>((resolve) => server.listen(backend.port, '0.0.0.0', 4096, resolve));
      backend.port = (server.address() as AddressInfo).port;
    },
  };

  function make(): Server {
    const made = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
      backend.requests.push({ method: request.method ?? '', url: request.url ?? '', headers: request.headers });
      request.resume();
      request.on('end', () => {
        if (backend.mode === 'close') return void request.socket.destroy();
        if (backend.mode === 'hang') return;
        const url = new URL(request.url ?? '/', 'http://backend');
        const wait = Number(url.searchParams.get('ms') ?? 0);
        const status = Number(url.searchParams.get('status') ?? 200);
        const answer = () => {
          response.writeHead(status, { 'content-type': 'text/plain', 'content-length': name.length });
          response.end(name);
        };
        if (wait > 0) setTimeout(answer, wait);
        else answer();
      });
    });
    made.on('connection', (socket: Socket) => {
      backend.connections++;
      connected.add(socket);
      socket.on('close', () => connected.delete(socket));
    });
    made.on('upgrade', (request, socket: Socket, head) => {
      upgrader.handleUpgrade(request, socket, head, (webSocket) => {
        sockets.add(webSocket);
        webSocket.on('message', (data) => webSocket.send(`${name} ${String(data)}`));
        webSocket.on('close', () => sockets.delete(webSocket));
        webSocket.on('error', () => webSocket.terminate());
      });
    });
    return made;
  }

  await backend.listen();
  return backend;
}
