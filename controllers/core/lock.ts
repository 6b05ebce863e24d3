import { createBackoff } from '#core/backoff.ts';
import type { ConsulClient, KvEntry } from '#core/consul/client.ts';
import { consulError } from '#core/consul/transport.ts';
import { AppError, messageOf } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import { sleep } from '#core/sleep.ts';

export interface Leadership {
  /** The lock's index: grows with each change of hands, travels with every command as its fencing token. */
  fence: number;
  /** Aborts as soon as the lock may be lost. */
  signal: AbortSignal;
  /**
   * To be called right before each command: timers of a process that was frozen fire only after it has gone on.
   *
   * @throws AppError `fenced` when the lock was not confirmed within its TTL
   */
  check(): void;
}

export interface LeaderLockOptions {
  consul: ConsulClient;
  key: string;
  /** What the key says of its holder. */
  value: string;
  name: string;
  log: Logger;
  signal: AbortSignal;
  /** Consul ends a session between one and two of these without a renewal. */
  ttlSeconds?: number;
  /** Runs while leading; its end, or an error, gives the lock back. */
  lead(leadership: Leadership): Promise<void>;
  now?: () => number;
}

/** Milliseconds between two tries while Consul does not answer. */
const RETRY_MS = { first: 200, max: 2000 };
/** Milliseconds between the end of a leadership and standing again. */
const ELECTION_PAUSE_MS = 1000;
const LOCK_DELAY_MS = 50;

/**
 * Stands for election until `signal` aborts.
 *
 * The lock is for liveness: it keeps two from working against each other. Safety does not rest on it: a leader that was frozen wakes with a lock
 * that others have taken over, and its commands carry a fence that is too low by then. `lead`'s signal aborts once the last confirmed renewal is
 * older than the TTL, by this host's own monotonic clock, so that a leader that cannot reach Consul stops by itself before anyone else may start
 * (Consul ends a session no earlier than its TTL after the last renewal).
 *
 * Answers that are lost say nothing: the same session asks again, which is answered with "yes" when the lock is its own already. A session is given
 * up only when Consul says that it is gone, or when it cannot be confirmed for twice its TTL.
 */
export async function holdLeaderLock(options: LeaderLockOptions): Promise<void> {
  const { consul, key, value, name, log, signal, ttlSeconds = 10, lead, now = () => performance.now() } = options;
  const ttlMs = ttlSeconds * 1000;
  const backoff = createBackoff(RETRY_MS.first, RETRY_MS.max);
  let complaint = '';

  while (!signal.aborted) {
    const session = await attempt(() => consul.session.create({ name, ttlSeconds, behavior: 'release' }));
    if (session === undefined) continue;
    try {
      await contend(session);
    } finally {
      await consul.session.destroy(session).catch(() => undefined);
    }
    await sleep(ELECTION_PAUSE_MS, signal);
  }

  /** Undefined when it failed; each complaint is logged once. */
  async function attempt<T>(ask: () => Promise<T>): Promise<T | undefined> {
    try {
      const answer = await ask();
      complaint = '';
      return answer;
    } catch (error) {
      if (signal.aborted) return undefined;
      const text = messageOf(error);
      if (text !== complaint) log.warn({ err: text, lock: key }, 'the leader lock cannot be asked for');
      complaint = text;
      await sleep(backoff.next(), signal);
      return undefined;
    }
  }

  /** Until this session led, or is gone. */
  async function contend(session: string): Promise<void> {
    let confirmed = now();
    while (!signal.aborted && now() - confirmed < 2 * ttlMs) {
      const asked = now();
      const alive = await attempt(() => consul.session.renew(session, { timeoutMs: ttlMs / 2, signal }));
      if (alive === undefined) continue;
      if (!alive) return;
      confirmed = asked;
      const entry = await attempt(() => acquired(session));
      if (entry === undefined) continue;
      if (entry.session === session) {
        backoff.reset();
        return leadWith(session, entry.lockIndex, confirmed);
      }
      // Free, yet refused: the short time after a session's end in which Consul gives its locks to nobody.
      if (entry.session === undefined) await sleep(LOCK_DELAY_MS, signal);
      else await attempt(() => waitForRelease(entry));
    }
  }

  /** The key as it is after it was asked for; others' locks are not asked for, each asking is a write of Consul's. */
  async function acquired(session: string): Promise<KvEntry> {
    const before = await consul.kv.get(key, { consistent: true });
    if (before?.session !== undefined && before.session !== session) return before;
    await consul.kv.acquire(key, value, session);
    const after = await consul.kv.get(key, { consistent: true });
    if (after === undefined) throw new AppError('unavailable', `${key} was removed meanwhile`);
    return after;
  }

  async function leadWith(session: string, fence: number, since: number): Promise<void> {
    const lost = new AbortController();
    const both = AbortSignal.any([signal, lost.signal]);
    let confirmed = since;
    let watchdog: NodeJS.Timeout | undefined;
    const watch = () => {
      clearTimeout(watchdog);
      watchdog = setTimeout(() => lost.abort(), Math.max(0, confirmed + ttlMs - now()));
    };
    // The age is looked at too: when the process was frozen, nothing says which of its timers fires first.
    const stale = () => both.aborted || now() - confirmed >= ttlMs;
    const renew = async () => {
      while (!both.aborted) {
        await sleep(ttlMs / 4, both);
        if (stale()) break;
        const asked = now();
        try {
          if (!(await consul.session.renew(session, { timeoutMs: ttlMs / 2, signal: both }))) break;
        } catch (error) {
          if (!both.aborted) log.warn({ err: messageOf(error), lock: key }, 'the leader lock could not be renewed');
          continue;
        }
        // An answer that was read too late confirms nothing: what ran on `check` meanwhile was refused, and stays so.
        if (stale()) break;
        confirmed = asked;
        watch();
      }
      lost.abort();
    };

    log.info({ lock: key, fence }, 'leading');
    watch();
    const renewing = renew();
    try {
      await lead({
        fence,
        signal: both,
        check() {
          if (stale())
            throw new AppError('fenced', 'this control replica leads no longer', { hint: 'repeat the command; the leader takes it' });
        },
      });
    } catch (error) {
      log.error({ err: error, lock: key, fence }, 'what the leader does failed');
    } finally {
      lost.abort();
      clearTimeout(watchdog);
      await renewing;
      await consul.kv.release(key, session).catch(() => undefined);
      log.info({ lock: key, fence }, 'no longer leading');
    }
  }

  /** Blocks until the key changes, or for a quarter of the TTL so that the session is renewed in time. */
  async function waitForRelease(entry: KvEntry): Promise<void> {
    const waitMs = Math.max(ttlMs / 4, 250);
    const answer = await consul.request('GET', `/v1/kv/${key}`, {
      query: { index: entry.modifyIndex, wait: `${Math.round(waitMs)}ms` },
      signal,
      timeoutMs: waitMs * (1 + 1 / 16) + ttlMs / 2,
    });
    if (answer.status !== 200 && answer.status !== 404) throw consulError(answer, key);
  }
}
