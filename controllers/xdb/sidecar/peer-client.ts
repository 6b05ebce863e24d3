import { connect, type TLSSocket } from 'node:tls';
import { AppError, messageOf } from '#core/errors.ts';
import { readTls, type TlsPaths } from '#member/tls-files.ts';
import { type Ask, Challenge, line, macOf, Position, readLine } from './peer-protocol.ts';

export interface PeerAddress {
  member: string;
  address: string;
  port: number;
}

export interface PeerClientOptions {
  db: string;
  /** Who asks. */
  member: string;
  tls: TlsPaths;
  secret(): string | undefined;
}

/** Asks the sidecars of other members. All calls throw AppError `unavailable`, `timeout` or `engine`. */
export interface PeerClient {
  position(peer: PeerAddress, timeoutMs: number): Promise<Position>;
  /** @returns a connection on which the answer to `clone` comes, its head line first */
  clone(peer: PeerAddress, signal: AbortSignal): Promise<TLSSocket>;
  /** @returns a connection on which something of its backup volume comes, its head line first */
  store(peer: PeerAddress, object: NonNullable<Ask['object']>, signal: AbortSignal): Promise<TLSSocket>;
}

const CONNECT_MS = 3000;

export function createPeerClient({ db, member, tls, secret }: PeerClientOptions): PeerClient {
  async function ask(peer: PeerAddress, what: Ask['what'], signal: AbortSignal, object?: Ask['object']): Promise<TLSSocket> {
    const known = secret();
    if (known === undefined) throw new AppError('unavailable', 'the credentials of this database are not known here yet');
    const socket = await open(peer, await readTls(tls), signal);
    try {
      const { challenge } = await readLine(socket, Challenge, signal);
      socket.write(line({ v: 1, what, member, mac: macOf(known, db, { what, member }, challenge), object }));
      return socket;
    } catch (error) {
      socket.destroy();
      throw error;
    }
  }

  return {
    async position(peer, timeoutMs) {
      const signal = AbortSignal.timeout(timeoutMs);
      const socket = await ask(peer, 'position', signal);
      try {
        return await readLine(socket, Position, signal);
      } finally {
        socket.destroy();
      }
    },
    clone: (peer, signal) => ask(peer, 'clone', AbortSignal.any([signal, AbortSignal.timeout(CONNECT_MS)])),
    store: (peer, object, signal) => ask(peer, 'store', AbortSignal.any([signal, AbortSignal.timeout(CONNECT_MS)]), object),
  };
}

/** The certificate must name the member: another member of the pool with its address is not it. */
function open(peer: PeerAddress, files: { ca: string; cert: string; key: string }, signal: AbortSignal): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const where = `${peer.member} at ${peer.address}:${peer.port}`;
    const socket = connect({ host: peer.address, port: peer.port, servername: peer.member, minVersion: 'TLSv1.2', ...files });
    const settle = (action: () => void) => {
      signal.removeEventListener('abort', aborted);
      socket.off('error', failed);
      action();
    };
    const failed = (cause: Error) =>
      settle(() => reject(new AppError('unavailable', `${where} cannot be reached: ${messageOf(cause)}`, { cause })));
    const aborted = () =>
      settle(() => {
        // Its late error is nobody's.
        socket.on('error', () => undefined);
        socket.destroy();
        reject(new AppError('timeout', `${where} did not answer in time`));
      });
    if (signal.aborted) return aborted();
    signal.addEventListener('abort', aborted, { once: true });
    socket.on('error', failed);
    socket.once('secureConnect', () =>
      settle(() => {
        socket.on('error', () => undefined);
        resolve(socket);
      }),
    );
  });
}
