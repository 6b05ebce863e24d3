import { randomBytes } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { createServer, type TLSSocket } from 'node:tls';
import { AppError, messageOf } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import { sleep } from '#core/sleep.ts';
import { readTls, type TlsFiles, type TlsPaths } from '#member/tls-files.ts';
import { Ask, line, macOf, type Position, readLine, sameMac } from './peer-protocol.ts';

export interface PeerServerOptions {
  db: string;
  port: number;
  tls: TlsPaths;
  /** Known to the members of this database only; undefined while it is not known. */
  secret(): string | undefined;
  position(): Promise<Position>;
  /** Serves a copy: writes the head line and the stream. */
  clone(socket: TLSSocket, member: string): Promise<void>;
  /** Serves what is on the backup volume. */
  store?(socket: TLSSocket, object: NonNullable<Ask['object']>): Promise<void>;
  log: Logger;
}

/** Between two looks whether the certificate's files have changed, in milliseconds. */
const RENEW_MS = 60_000;
const RETRY_MS = 1000;
const HANDSHAKE_MS = 5000;

/** Serves the other members of this database, and nobody else who has a certificate of the pool. Begins as soon as there is a certificate. */
export function startPeerServer(options: PeerServerOptions): { port(): number | undefined; stop(): Promise<void> } {
  const { db, tls, secret, log } = options;
  const stopping = new AbortController();
  let files: TlsFiles | undefined;
  const sockets = new Set<TLSSocket>();
  const server = createServer({ requestCert: true, rejectUnauthorized: true, minVersion: 'TLSv1.2', handshakeTimeout: HANDSHAKE_MS });

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
    else if (ask.what === 'clone') await options.clone(socket, ask.member);
    else if (ask.object !== undefined && options.store !== undefined) await options.store(socket, ask.object);
    else throw new AppError('unavailable', 'this member does not serve that');
  }

  async function renew(): Promise<void> {
    const next = await readTls(tls);
    if (next.cert === files?.cert && next.ca === files?.ca) return;
    if (files !== undefined) log.info('the certificate of this member was replaced');
    files = next;
    server.setSecureContext(next);
  }

  async function listen(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(options.port, () => {
        server.off('error', reject);
        resolve();
      });
    });
  }

  const running = (async () => {
    let complaint = '';
    while (!stopping.signal.aborted) {
      try {
        await renew();
        if (!server.listening) await listen();
        complaint = '';
      } catch (error) {
        const text = messageOf(error);
        if (text !== complaint) log.warn({ err: text }, 'other members are not served with a certificate that is in force');
        complaint = text;
      }
      await sleep(server.listening ? RENEW_MS : RETRY_MS, stopping.signal);
    }
  })();

  return {
    port: () => (server.listening ? (server.address() as AddressInfo).port : undefined),
    async stop() {
      stopping.abort();
      for (const socket of sockets) socket.destroy();
      await running;
      if (server.listening) await new Promise((resolve) => server.close(resolve));
    },
  };
}
