import { messageOf } from '#core/errors.ts';
import { sleep } from '#core/sleep.ts';
import type { Random } from '../random.ts';
import type { Acked, Journal } from './journal.ts';

/** Thrown by a write of which nothing is there for certain; anything else leaves that unknown. */
export class CertainlyNot extends Error {
  override name = 'CertainlyNot';
}

export interface WritingOptions {
  worker: number;
  /** `steady` keeps its connection; `fresh` opens one for each transaction, as a client without a pool does. */
  kind: 'steady' | 'fresh';
  client: string;
  /** Mean pause between two transactions, ms. */
  thinkMs: number;
  /** Pause before the next try after a failure, ms. */
  retryMs: number;
}

/** One transaction, chosen and not yet begun. */
export interface Writing<S> {
  rows: number;
  chain: boolean;
  /** @returns what the server said, and when @throws CertainlyNot */
  write(session: S, place: { seq: number; round: number }): Promise<Acked>;
}

export interface WritingDeps<S extends { close(): void }> {
  connect(): Promise<S>;
  next(): Writing<S>;
  journal: Journal;
  random: Random;
  now(): number;
  /** Round that transactions are counted to. */
  round(): number;
  /** Returns at once unless the client is paused. */
  mayGo(): Promise<void>;
  stopped: AbortSignal;
  seen(what: 'acked' | 'refused' | 'unknown' | 'unconnected', why: string, at: number): void;
}

/** Writes until stopped. Never tries a transaction twice: what is unknown stays unknown, the next one has the next number. */
export async function keepWriting<S extends { close(): void }>(
  { worker, kind, thinkMs, retryMs }: WritingOptions,
  { journal, random, now, stopped, ...deps }: WritingDeps<S>,
): Promise<void> {
  let session: S | undefined;
  let seq = 0;
  while (!stopped.aborted) {
    await deps.mayGo();
    if (stopped.aborted) break;
    try {
      session ??= await deps.connect();
    } catch (error) {
      deps.seen('unconnected', messageOf(error), now());
      await sleep(retryMs, stopped);
      continue;
    }
    const next = deps.next();
    const place = { seq: ++seq, round: deps.round() };
    journal.write({ k: 'begin', w: worker, s: seq, n: next.rows, r: place.round, chain: next.chain, at: now() });
    try {
      const acked = await next.write(session, place);
      journal.write({ k: 'acked', w: worker, s: seq, ...acked });
      deps.seen('acked', '', acked.at);
    } catch (error) {
      const outcome = error instanceof CertainlyNot ? 'refused' : 'unknown';
      const at = now();
      journal.write({ k: outcome, w: worker, s: seq, at, why: messageOf(error).slice(0, 200) });
      deps.seen(outcome, messageOf(error), at);
      session.close();
      session = undefined;
      await sleep(retryMs, stopped);
      continue;
    }
    if (kind === 'fresh') {
      session.close();
      session = undefined;
    }
    await sleep(thinkMs * (0.5 + random.next()), stopped);
  }
  session?.close();
}
