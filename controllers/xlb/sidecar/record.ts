import { createBell } from '#core/bell.ts';
import type { ConsulClient } from '#core/consul/client.ts';
import { messageOf, toAppError } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import { sleep } from '#core/sleep.ts';
import type { SidecarStatus } from '#xlb/schema.ts';

/** This member's record, which exists as long as its session does: a member that is gone leaves nothing behind. */
export interface MemberRecord {
  /** Written only when it differs from what stands there, and at most once a second. */
  set(status: SidecarStatus): void;
  /** Whether Consul did what it was last asked. */
  reachable(): boolean;
  /** @param keep leaves the record to the next process of this member instead of ending its session */
  stop(keep?: boolean): Promise<void>;
}

/** Consul deletes the record between one and two of these after the last renewal. */
const TTL_SECONDS = 10;
const RENEW_MS = 5000;
const WRITE_EVERY_MS = 1000;

export interface MemberRecordOptions {
  consul: Pick<ConsulClient, 'session' | 'kv'>;
  /** `xcaas/lb/<name>/members/<member>` */
  key: string;
  name: string;
  log: Logger;
  /** Reachability has changed. */
  onChange(): void;
}

export function keepRecord({ consul, key, name, log, onChange }: MemberRecordOptions): MemberRecord {
  const stopping = new AbortController();
  let wanted: string | undefined;
  let written: string | undefined;
  let session: string | undefined;
  let isReachable = false;
  const bell = createBell(stopping.signal);

  async function hold(): Promise<void> {
    if (session !== undefined && !(await consul.session.renew(session))) session = undefined;
    if (session === undefined) {
      written = undefined;
      session = await consul.session.create({ name, ttlSeconds: TTL_SECONDS, behavior: 'delete' });
    }
    await write(session);
  }

  async function write(holder: string): Promise<void> {
    const value = wanted;
    if (value === undefined || value === written) return;
    if (!(await consul.kv.acquire(key, value, holder))) {
      // A sidecar of this member that was killed left its session. There is only one at a time, so its session is taken over and the record
      // never goes away in between.
      const other = (await consul.kv.get(key, { consistent: true }))?.session;
      if (other === undefined || other === holder || !(await consul.session.renew(other))) return;
      session = other;
      await consul.session.destroy(holder);
      if (!(await consul.kv.acquire(key, value, other))) return;
    }
    written = value;
  }

  function reached(now: boolean, why?: unknown): void {
    if (now === isReachable) return;
    isReachable = now;
    if (now) log.info('Consul can be reached');
    else log.warn({ err: messageOf(why), code: toAppError(why).code }, 'Consul cannot be reached');
    onChange();
  }

  const running = (async () => {
    let renewedAt = Number.NEGATIVE_INFINITY;
    while (!stopping.signal.aborted) {
      const due = performance.now() - renewedAt >= RENEW_MS;
      try {
        if (due || session === undefined) {
          await hold();
          renewedAt = performance.now();
        } else {
          await write(session);
        }
        reached(true);
      } catch (error) {
        reached(false, error);
      }
      await sleep(WRITE_EVERY_MS, stopping.signal);
      if (wanted !== written && isReachable) continue;
      const wait = Math.max(0, renewedAt + RENEW_MS - performance.now());
      await bell.wait(isReachable ? wait : RENEW_MS / 2);
    }
  })();

  return {
    set(status) {
      const text = JSON.stringify(status);
      if (text === wanted) return;
      wanted = text;
      bell.ring();
    },
    reachable: () => isReachable,
    async stop(keep = false) {
      stopping.abort();
      await running;
      if (session !== undefined && !keep) await consul.session.destroy(session).catch(() => undefined);
    },
  };
}
