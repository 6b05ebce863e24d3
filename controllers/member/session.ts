import { createBell } from '#core/bell.ts';
import type { ConsulClient } from '#core/consul/client.ts';
import { messageOf, toAppError } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';

/**
 * This member's life as Consul sees it: a session, the record of the member that lives as long as the session does, and the lock `leader` if it leads.
 * The session tells of liveness only; no promise rests on it.
 */
export interface MemberSession<S> {
  /** The session, undefined while there is none that was confirmed within its TTL. */
  id(): string | undefined;
  /** Changes go out at once, at most one a second, but for what others wait for; what only moves with time (position, lag, bytes) every few seconds. */
  set(status: S): void;
  /** The lock `leader`, when nobody holds it. @returns whether it is this member's now */
  takeLock(): Promise<boolean>;
  /** Gives the lock back, so that the other member need not wait for the session's end. */
  releaseLock(): Promise<void>;
  /** @param keep leaves session, record and lock to the next process of this member */
  stop(keep?: boolean): Promise<void>;
}

export interface MemberSessionOptions<S> {
  consul: {
    session: Pick<ConsulClient['session'], 'create' | 'renew' | 'destroy'>;
    kv: Pick<ConsulClient['kv'], 'get' | 'acquire' | 'release'>;
  };
  /** The member's record. */
  key: string;
  /** What the service's master holds. */
  lockKey: string;
  member: string;
  log: Logger;
  /** A session was gained or lost. */
  onChange(): void;
  ttlSeconds?: number;
  /** Of the session, for people: `db adb-1`. */
  name: string;
  /** What of a status is worth a write by itself, as text. */
  stillOf(status: S): string;
  /** What of it others wait for, as text: it goes out at once whatever went out before. */
  awaitedOf?: (status: S) => string;
}

const WRITE_EVERY_MS = 1000;
const WRITE_MOVING_MS = 5000;
/** Calls that take longer would leave the session without a renewal. */
const CALL_TIMEOUT_MS = 1000;

export function keepSession<S>(options: MemberSessionOptions<S>): MemberSession<S> {
  const { consul, key, lockKey, member, log, onChange, ttlSeconds = 3, name, stillOf, awaitedOf = () => '' } = options;
  const ttlMs = ttlSeconds * 1000;
  const renewMs = ttlMs / 4;
  const stopping = new AbortController();
  const bell = createBell(stopping.signal);
  let session: string | undefined;
  let confirmedAt = Number.NEGATIVE_INFINITY;
  let wanted: S | undefined;
  let written: { still: string; awaited: string; whole: string; at: number } | undefined;
  let complaint = '';

  const id = () => (session !== undefined && performance.now() - confirmedAt < ttlMs ? session : undefined);

  async function hold(): Promise<void> {
    const asked = performance.now();
    if (session !== undefined && !(await consul.session.renew(session, { timeoutMs: CALL_TIMEOUT_MS, signal: stopping.signal }))) {
      log.warn({ member }, "this member's session in Consul has ended");
      session = undefined;
      onChange();
    }
    if (session === undefined) {
      session = (await predecessors()) ?? (await consul.session.create({ name, ttlSeconds, behavior: 'delete' }));
      written = undefined;
      confirmedAt = asked;
      onChange();
    }
    confirmedAt = asked;
  }

  /** A sidecar of this member that was killed left its session. It is taken over, so that neither record nor lock goes away in between. */
  async function predecessors(): Promise<string | undefined> {
    const other = (await consul.kv.get(key, { consistent: true }))?.session;
    if (other === undefined) return undefined;
    return (await consul.session.renew(other, { timeoutMs: CALL_TIMEOUT_MS })) ? other : undefined;
  }

  async function write(holder: string): Promise<void> {
    if (wanted === undefined) return;
    const whole = JSON.stringify(wanted);
    const still = stillOf(wanted);
    const age = written === undefined ? Number.POSITIVE_INFINITY : performance.now() - written.at;
    const awaited = awaitedOf(wanted);
    const isDue = still === written?.still ? age >= WRITE_MOVING_MS && whole !== written.whole : age >= WRITE_EVERY_MS;
    if (!isDue && awaited === written?.awaited) return;
    if (await consul.kv.acquire(key, whole, holder)) {
      written = { still, awaited, whole, at: performance.now() };
      return;
    }
    const other = (await consul.kv.get(key, { consistent: true }))?.session;
    if (other !== undefined && other !== holder) {
      // Two sessions of one member: the older one holds the record, and perhaps the lock.
      await consul.session.destroy(holder);
      session = (await consul.session.renew(other, { timeoutMs: CALL_TIMEOUT_MS })) ? other : undefined;
    }
  }

  const running = (async () => {
    while (!stopping.signal.aborted) {
      try {
        if (session === undefined || performance.now() - confirmedAt >= renewMs) await hold();
        if (session !== undefined) await write(session);
        complaint = '';
      } catch (error) {
        if (stopping.signal.aborted) break;
        const text = messageOf(error);
        if (text !== complaint) log.warn({ err: text, code: toAppError(error).code }, "this member's session cannot be kept");
        complaint = text;
      }
      const pause = complaint === '' ? renewMs : renewMs / 2;
      await bell.wait(pause);
    }
  })();

  return {
    id,
    set(status) {
      const changed = wanted === undefined || stillOf(wanted) !== stillOf(status);
      const isAwaited = wanted !== undefined && awaitedOf(wanted) !== awaitedOf(status);
      wanted = status;
      if (isAwaited || (changed && (written === undefined || performance.now() - written.at >= WRITE_EVERY_MS))) bell.ring();
    },
    async takeLock() {
      const holder = id();
      return holder !== undefined && (await consul.kv.acquire(lockKey, member, holder));
    },
    async releaseLock() {
      if (session !== undefined) await consul.kv.release(lockKey, session);
    },
    async stop(keep = false) {
      stopping.abort();
      await running;
      if (session !== undefined && !keep) await consul.session.destroy(session).catch(() => undefined);
    },
  };
}
