import { pipeline } from 'node:stream/promises';
import type { TLSSocket } from 'node:tls';
import { AppError } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import type { Engine } from '#xdb/engine/engine.ts';
import { encodeClone } from './clone-stream.ts';
import { line } from './peer-protocol.ts';

export interface DonorOptions {
  engine: Pick<Engine, 'dump'>;
  /** The data and the epoch that a copy may be taken of: this member is the open leader, and its engine runs; undefined else. */
  leading(): { gen: string; epoch: number } | undefined;
  log: Logger;
}

/** A connection through which nothing goes for so long is given up, in milliseconds: a copy waits for locks, but not for ever. */
const IDLE_MS = 120_000;
/** Between two looks whether this member still leads, in milliseconds. */
const LOOK_MS = 1000;

/** R3, the donor's side: one copy at a time, of the leader's data only, and only as long as they are the leader's. */
export function createDonor({ engine, leading, log }: DonorOptions) {
  let busy: string | undefined;

  return async function serve(socket: TLSSocket, member: string): Promise<void> {
    const head = leading();
    if (head === undefined) throw new AppError('unavailable', 'this member does not lead');
    if (busy !== undefined) throw new AppError('conflict', `${busy} is being given a copy at this moment`);
    busy = member;
    const stop = new AbortController();
    const looking = setInterval(() => {
      if (leading()?.gen !== head.gen || leading()?.epoch !== head.epoch) stop.abort();
    }, LOOK_MS);
    socket.setTimeout(IDLE_MS, () => stop.abort());
    socket.once('close', () => stop.abort());
    const began = performance.now();
    try {
      log.info({ to: member, gen: head.gen }, 'a copy of the data is given');
      socket.write(line(head));
      const framed = encodeClone();
      const sent = pipeline(framed, socket, { signal: stop.signal });
      // Both must end well; which of the two says first what went wrong does not matter.
      const [{ gtid }] = await Promise.all([
        engine.dump(framed, { signal: stop.signal }).then((done) => {
          framed.finish(done.gtid);
          return done;
        }),
        sent,
      ]);
      log.info({ to: member, gtid, bytes: framed.bytes(), ms: Math.round(performance.now() - began) }, 'a copy of the data was given');
    } catch (error) {
      // Without its trailer the other side throws it away.
      stop.abort();
      socket.destroy();
      throw error;
    } finally {
      clearInterval(looking);
      busy = undefined;
    }
  };
}
