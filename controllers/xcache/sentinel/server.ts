import { createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type TlsOptions } from 'node:tls';
import { messageOf } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import { answer, messages, type SentinelClient, type SentinelDeps, type SentinelView } from './commands.ts';
import { createRequestReader, encode } from './resp.ts';

export interface SentinelServer {
  /**
   * What it says may have changed: subscribers are told of a new master.
   *
   * @param cut connections to the old master were ended: clients look for the new one already, and those of ioredis give up for ever when they are told just then. They are told
   * a little later
   */
  changed(cut: boolean): void;
  close(): void;
}

export interface SentinelServerOptions extends Omit<SentinelDeps, 'clientId' | 'view'> {
  port: number;
  /** Undefined while nothing is known yet: clients then try another one. */
  view(): SentinelView | undefined;
  /** Certificate and key, where it speaks TLS: read from time to time. */
  tls?: (() => Promise<Pick<TlsOptions, 'cert' | 'key'>>) | undefined;
  log: Logger;
}

const MAX_CLIENTS = 2000;
const TELL_LATER_MS = 2000;
/** A subscriber that does not read what it asked for is no use. */
/** Between two looks at the certificate, in milliseconds. */
const CERTIFICATE_MS = 60_000;
const MAX_UNSENT = 1 << 20;

/** The Sentinel protocol on one port, from the record that the sidecar knows. @returns it, listening or trying to */
export function serveSentinel({ port, view, tls, log, ...deps }: SentinelServerOptions): SentinelServer {
  const clients = new Map<SentinelClient, { socket: Socket; id: number }>();
  let lastId = 0;
  let told: SentinelView['master'];
  const timers = new Set<NodeJS.Timeout>();

  const serve = (socket: Socket) => {
    const known = view();
    if (known === undefined || clients.size >= MAX_CLIENTS) return void socket.destroy();
    const client: SentinelClient = { protocol: 2, name: '', channels: new Set(), patterns: new Set() };
    lastId += 1;
    clients.set(client, { socket, id: lastId });
    const read = createRequestReader();
    socket.setNoDelay(true);
    socket.setKeepAlive(true, 60_000);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => clients.delete(client));
    socket.on('data', (chunk) => {
      try {
        for (const words of read(chunk)) {
          const full = { ...deps, view: () => view() ?? known, clientId: () => clients.get(client)?.id ?? 0 };
          for (const reply of answer(full, client, words)) socket.write(encode(reply, client.protocol));
          if (words[0]?.toLowerCase() === 'quit') socket.end();
        }
      } catch (error) {
        socket.end(encode({ error: `ERR Protocol error: ${messageOf(error)}` }, 2));
      }
    });
  };
  const server = tls === undefined ? createServer(serve) : secured(serve, tls, log);
  server.on('error', (error) => log.error({ err: messageOf(error), port }, 'the Sentinel protocol cannot be served'));
  server.listen(port);

  function publish(channel: string, text: string): void {
    for (const [client, { socket }] of clients) {
      const data = messages(client, channel, text);
      if (data === '') continue;
      socket.write(data);
      if (socket.writableLength > MAX_UNSENT) socket.destroy();
    }
  }

  return {
    changed(cut) {
      const now = view();
      const { master } = now ?? {};
      if (now === undefined || master === undefined) return;
      const before = told;
      told = master;
      if (before === undefined || (before.address === master.address && before.port === master.port)) return;
      // `<name> <old address> <old port> <new address> <new port>`, as Sentinels write it.
      const text = `${now.name} ${before.address} ${before.port} ${master.address} ${master.port}`;
      if (!cut) return publish('+switch-master', text);
      const timer = setTimeout(() => {
        timers.delete(timer);
        publish('+switch-master', text);
      }, TELL_LATER_MS);
      timers.add(timer);
    },
    close() {
      for (const timer of timers) clearTimeout(timer);
      server.close();
      for (const { socket } of clients.values()) socket.destroy();
    },
  };
}

/** Who comes before there is a certificate is refused, and comes again. */
function secured(serve: (socket: Socket) => void, files: () => Promise<Pick<TlsOptions, 'cert' | 'key'>>, log: Logger): Server {
  const server = createTlsServer({}, serve);
  let complaint = '';
  const refresh = async () => {
    try {
      const { cert, key } = await files();
      server.setSecureContext({ cert, key });
      complaint = '';
    } catch (error) {
      const text = messageOf(error);
      if (text !== complaint) log.warn({ err: text }, 'the certificate of the Sentinel protocol cannot be read');
      complaint = text;
    }
  };
  void refresh();
  const timer = setInterval(() => void refresh(), CERTIFICATE_MS);
  timer.unref();
  server.on('close', () => clearInterval(timer));
  return server;
}
