import type { ConsulClient } from '#core/consul/client.ts';
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

/**
 * Stands for election until `signal` aborts.
 *
 * The lock is for liveness: it keeps two from working against each other. Safety does not rest on it: a leader that was frozen wakes with a lock
 * that others have taken over, and its commands carry a fence that is too low by then. `lead`'s signal aborts once the last confirmed renewal is
 * older than the TTL, by this host's own monotonic clock, so that a leader that cannot reach Consul stops by itself before anyone else may start.
 */
export async function holdLeaderLock(options: LeaderLockOptions): Promise<void> {
  const { consul, key, value, name, log, signal, ttlSeconds = 10, lead, now = () => performance.now() } = options;
  while (!signal.aborted) {
    try {
      const session = await consul.session.create({ name, ttlSeconds, behavior: 'release' });
      try {
        await contend(session);
      } finally {
        await consul.session.destroy(session).catch(() => undefined);
      }
    } catch (error) {
      log.warn({ err: messageOf(error), key }, 'the leader lock cannot be asked for');
    }
    await sleep(1000, signal);
  }

  async function contend(session: string): Promise<void> {
    let confirmed = now();
    while (!signal.aborted) {
      const asked = now();
      if (!(await consul.session.renew(session))) return;
      confirmed = asked;
      if (await consul.kv.acquire(key, value, session)) {
        const entry = await consul.kv.get(key, { consistent: true });
        if (entry?.session === session) return leadWith(session, entry.lockIndex, confirmed);
      }
      await waitForRelease();
    }
  }

  async function leadWith(session: string, fence: number, since: number): Promise<void> {
    const lost = new AbortController();
    const both = AbortSignal.any([signal, lost.signal]);
    log.info({ key, fence }, 'leading');
    let confirmed = since;
    const renewing = (async () => {
      while (!both.aborted) {
        await sleep((ttlSeconds * 1000) / 4, both);
        const asked = now();
        try {
          if (!(await consul.session.renew(session))) break;
          confirmed = asked;
        } catch (error) {
          if (now() - confirmed < ttlSeconds * 1000) continue;
          log.warn({ err: messageOf(error) }, 'the leader lock could not be renewed in time');
          break;
        }
      }
      lost.abort();
    })();
    try {
      await lead({
        fence,
        signal: both,
        check() {
          if (both.aborted || now() - confirmed >= ttlSeconds * 1000) throw new AppError('fenced', 'this control replica leads no longer');
        },
      });
    } finally {
      lost.abort();
      await renewing;
      await consul.kv.release(key, session).catch(() => undefined);
      log.info({ key, fence }, 'no longer leading');
    }
  }

  /** Blocks until the key changes, or for a quarter of the TTL so that the session is renewed in time. */
  async function waitForRelease(): Promise<void> {
    const entry = await consul.kv.get(key);
    if (entry?.session === undefined) return sleep(200, signal);
    await consul.request('GET', `/v1/kv/${key}`, {
      query: { index: entry.modifyIndex, wait: `${Math.max(1, Math.floor(ttlSeconds / 4))}s` },
      signal,
      timeoutMs: ttlSeconds * 1000,
    });
  }
}
