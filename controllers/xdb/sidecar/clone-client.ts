import { AppError } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import type { Engine } from '#xdb/engine/engine.ts';
import { decodeClone } from './clone-stream.ts';
import type { PeerAddress, PeerClient } from './peer-client.ts';
import { CloneHead, readLine } from './peer-protocol.ts';

export interface RecipientOptions {
  engine: Pick<Engine, 'load'>;
  peers: Pick<PeerClient, 'clone'>;
  log: Logger;
}

/** Bytes that do not grow for so long are no copy any more, in milliseconds. */
const IDLE_MS = 150_000;
const HEAD_MS = 10_000;

/** What is known of a copy under way. */
export interface CloneProgress {
  from: string;
  bytes: number;
  /** What is being done, where that says more than bytes. */
  doing?: string;
}

/**
 * R3, the recipient's side: fills an empty data directory with a copy of the leader's data.
 *
 * @param expected whose data they must be: another leader's are of no use; undefined for those of another database, of which nothing is known here
 * @returns the position to follow from; only then the data are whole
 * @throws AppError when they are not; what is in the directory then is nothing
 */
export function createRecipient({ engine, peers, log }: RecipientOptions) {
  return async function take(
    peer: PeerAddress,
    expected: CloneHead | undefined,
    { signal, onProgress }: { signal: AbortSignal; onProgress(progress: CloneProgress): void },
  ): Promise<{ gtid: string }> {
    const idle = new AbortController();
    const both = AbortSignal.any([signal, idle.signal]);
    const socket = await peers.clone(peer, both);
    let bytes = 0;
    const began = performance.now();
    try {
      const head = await readLine(socket, CloneHead, AbortSignal.any([both, AbortSignal.timeout(HEAD_MS)]));
      if (expected !== undefined && (head.gen !== expected.gen || head.epoch !== expected.epoch)) {
        throw new AppError('unavailable', `${peer.member} has other data, or leads another epoch, than the record says`);
      }
      let idleTimer = setTimeout(() => idle.abort(), IDLE_MS);
      const decoded = decodeClone((now) => {
        if (now === bytes) return;
        bytes = now;
        clearTimeout(idleTimer);
        idleTimer = setTimeout(() => idle.abort(), IDLE_MS);
        onProgress({ from: peer.member, bytes });
      });
      const broken = (error: Error) => decoded.destroy(error);
      socket.on('error', broken);
      socket.once('close', () => {
        if (!socket.readableEnded) broken(new AppError('unavailable', `the connection to ${peer.member} broke`));
      });
      both.addEventListener('abort', () => broken(new AppError('timeout', 'the copy was called off')), { once: true });
      // After the last byte it is prepared, which may take as long as it likes.
      decoded.once('end', () => clearTimeout(idleTimer));
      socket.pipe(decoded);
      try {
        const loaded = await engine.load(decoded, { signal: both });
        if (!decoded.readableEnded) throw new AppError('engine', `the copy of ${peer.member}'s data ended before its end`);
        log.info(
          { from: peer.member, bytes, gtid: loaded.gtid, ms: Math.round(performance.now() - began) },
          'a copy of the data was taken',
        );
        return loaded;
      } finally {
        clearTimeout(idleTimer);
      }
    } finally {
      socket.destroy();
    }
  };
}
