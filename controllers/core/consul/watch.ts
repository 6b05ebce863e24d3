import { setMaxListeners } from 'node:events';
import { createBackoff } from '#core/backoff.ts';
import type { ConsulClient } from '#core/consul/client.ts';
import { type ConsulAnswer, consulError } from '#core/consul/transport.ts';
import { AppError, hasCode, toAppError } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import { sleep } from '#core/sleep.ts';
import { createTokenBucket } from '#core/token-bucket.ts';

export interface WatchMeta {
  index: number;
  /** False when the server that answered knew no leader: what it said may be old or, after its restart, empty. */
  knownLeader: boolean;
  /** Milliseconds since that server last heard its leader. */
  lastContactMs: number;
  /** True when the token's rights removed entries from the answer (Consul ≥ 1.11 says so). */
  filtered: boolean;
}

export interface WatchOptions<T> {
  consul: Pick<ConsulClient, 'request'>;
  /** e.g. `/v1/health/service/web` */
  path: string;
  query?: Record<string, string | boolean>;
  /** Also called for a 404, which is how an absent key or prefix answers: `answer.status` tells. */
  parse(answer: ConsulAnswer): T;
  /**
   * Called with the first answer and with each one of other content. When it throws, the same answer is handed over again at the next
   * turn: no update is ever lost.
   */
  onChange(value: T, meta: WatchMeta): void | Promise<void>;
  onError?(error: AppError): void;
  log: Logger;
  signal: AbortSignal;
  /** Longest time a query blocks, in seconds. Consul adds up to a sixteenth. */
  waitSeconds?: number;
  /** Queries a second at the most while changes rain; the first two are never held back. */
  ratePerSecond?: number;
  /** First and longest wait after an error, in milliseconds. */
  retryMs?: { first: number; max: number };
  /** Milliseconds beyond the query's own time after which a connection that says nothing is given up. */
  graceMs?: number;
}

/**
 * Follows one Consul query until `signal` aborts. The rules (Consul's docs on blocking queries, and what clients that broke them met):
 * - an index that goes back, or any error, starts again from nothing: Consul was restored or restarted and its counter with it;
 *   what a restored snapshot changed is seen after one wait at the latest, later writes at once;
 * - an index of 0 is never sent back, it would not block;
 * - a changed index with the same content is no change;
 * - a token bucket bounds the rate (burst 2): indexes can rise with every write of any service;
 * - a server without a leader is asked again before it is believed: it may answer 200 with nothing while it has not caught up;
 * - an answer has a deadline of its own, so that a connection that died without a word is noticed.
 */
export async function watchConsul<T>(options: WatchOptions<T>): Promise<void> {
  const {
    consul,
    path,
    query = {},
    signal,
    log,
    waitSeconds = 60,
    ratePerSecond = 20,
    retryMs = { first: 100, max: 5000 },
    graceMs = ANSWER_GRACE_MS,
  } = options;
  // Many watches end on one signal; each of them listens to it.
  setMaxListeners(0, signal);
  const bucket = createTokenBucket({ burst: 2, perSecond: ratePerSecond });
  const backoff = createBackoff(retryMs.first, retryMs.max);
  let index = 0;
  let delivered: Pick<ConsulAnswer, 'status' | 'text'> | undefined;
  const tellError = (error: AppError) => {
    try {
      options.onError?.(error);
    } catch (thrown) {
      log.warn({ path, err: thrown }, 'a listener for errors of a blocking query failed');
    }
  };

  while (!signal.aborted) {
    await bucket.take(signal);
    if (signal.aborted) return;
    try {
      const answer = await consul.request('GET', path, {
        query: { ...query, ...(index > 0 ? { index, wait: `${waitSeconds}s` } : {}) },
        signal,
        timeoutMs: index > 0 ? waitSeconds * 1000 * (1 + 1 / 16) + graceMs : ANSWER_GRACE_MS,
      });
      if (answer.status !== 200 && answer.status !== 404) throw consulError(answer, path);
      const meta = metaOf(answer);
      if (!meta.knownLeader) throw new AppError('unavailable', `Consul knows no leader while answering ${path}`);

      if (answer.status !== delivered?.status || answer.text !== delivered.text) {
        await options.onChange(options.parse(answer), meta);
        delivered = { status: answer.status, text: answer.text };
      }
      index = meta.index < index ? 0 : meta.index;
      backoff.reset();
    } catch (thrown) {
      if (signal.aborted) return;
      const error = toAppError(thrown);
      index = 0;
      log.debug({ path, err: error.message, code: error.code }, 'a blocking query failed');
      tellError(error);
      await sleep(hasCode(error, 'forbidden') ? retryMs.max : backoff.next(), signal);
    }
  }
}

/** What Consul's own network round trips and a busy server may add to a query's time, in milliseconds. */
const ANSWER_GRACE_MS = 5000;

function metaOf(answer: ConsulAnswer): WatchMeta {
  const header = (name: string) => answer.headers[name]?.toString();
  const index = Number(header('x-consul-index'));
  return {
    index: Number.isSafeInteger(index) && index > 0 ? index : 0,
    knownLeader: header('x-consul-knownleader') !== 'false',
    lastContactMs: Number(header('x-consul-lastcontact') ?? 0),
    filtered: header('x-consul-results-filtered-by-acls') === 'true',
  };
}
