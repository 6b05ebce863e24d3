import { randomBytes } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { createServer, type TLSSocket } from 'node:tls';
import { messageOf } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import { Ask, line, macOf, type Position, readLine, sameMac } from './peer-protocol.ts';
import { readTls, type TlsPaths } from './tls-files.ts';

export interface PeerServerOptions {
  db: string;
  port: number;
  tls: TlsPaths;
  /** Known to the members of this database only; undefined while it is not known. */
  secret(): string | undefined;
  position(): Promise<Position>;
  /** Serves a copy: writes the head line and the stream. */
  clone(socket: TLSSocket, member: string): Promise<void>;
  log: Logger;
}

/** Between two looks whether the certificate's files have changed, in milliseconds. */
const RENEW_MS = 60_000;
const HANDSHAKE_MS = 5000;

/** Serves the other members of this database, and nobody else who has a certificate of the pool. */
export async function startPeerServer(options: PeerServerOptions): Promise<{ port: number; stop(): Promise<void> }> {
  const { db, tls, secret, log } = options;
  let files = await readTls(tls);
  const sockets = new Set<TLSSocket>();
  const server = createServer({
    ...files,
    requestCert: true,
    rejectUnauthorized: true,
    minVersion: 'TLSv1.2',
    handshakeTimeout: HANDSHAKE_MS,
  });

  server.on('tlsClientError', (error) => log.debug({ err: messageOf(error) }, 'a peer could not shake hands'));
  server.on('secureConnection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', (error) => log.debug({ err: messageOf(error) }, 'a connection of a peer broke'));
    serve(socket).catch((error: unknown) => {
      log.info({ err: messageOf(error) }, 'a peer was not served');
      if (!socket.destroyed) socket.end(line({ error: messageOf(error) }));
      setTimeout(() => socket.destroy(), 1000).unref();
    });
  });

  async function serve(socket: TLSSocket): Promise<void> {
    const challenge = randomBytes(24).toString('hex');
    socket.write(line({ v: 1, challenge }));
    const ask = await readLine(socket, Ask, AbortSignal.timeout(HANDSHAKE_MS));
    const known = secret();
    if (known === undefined || !sameMac(ask.mac, macOf(known, db, ask, challenge))) {
      // To whom it is not, nothing is told.
      socket.destroy();
      log.warn({ member: ask.member }, 'somebody who is no member of this database asked for its data');
      return;
    }
    if (ask.what === 'position') socket.end(line(await options.position()));
    else await options.clone(socket, ask.member);
  }

  const renewal = setInterval(() => {
    readTls(tls)
      .then((next) => {
        if (next.cert === files.cert && next.ca === files.ca) return;
        files = next;
        server.setSecureContext(next);
        log.info('the certificate of this member was replaced');
      })
      .catch((error: unknown) => log.warn({ err: messageOf(error) }, 'the certificate of this member could not be read again'));
  }, RENEW_MS);
  renewal.unref();

  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    async stop() {
      clearInterval(renewal);
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
