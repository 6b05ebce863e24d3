import type { ConsulClient } from '#core/consul/client.ts';
import { AppError } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import { createLoop, type Loop } from '#core/loop.ts';

/** Seconds; Consul ends the session after one to two of these without a renewal. */
const TTL_SECONDS = 10;

/**
 * Holds `xcaas/hosts/<id>/alive`: there while this agent lives and reaches Consul, gone within 20 s after.
 *
 * An agent that was restarted goes on with the session of its predecessor, so that its host is not missed for a moment.
 */
export function createPresence({
  consul,
  hostId,
  log,
  version,
}: {
  consul: ConsulClient;
  hostId: string;
  log: Logger;
  version: string;
}): Loop {
  const key = `xcaas/hosts/${hostId}/alive`;
  return createLoop({
    name: 'presence',
    log,
    intervalMs: (TTL_SECONDS * 1000) / 4,
    async cycle() {
      const entry = await consul.kv.get(key);
      if (entry?.session !== undefined && (await consul.session.renew(entry.session))) return 'this host is known to be alive';
      const session = await consul.session.create({ name: `agent of ${hostId}`, ttlSeconds: TTL_SECONDS, behavior: 'delete' });
      const value = JSON.stringify({ v: 1, time: new Date().toISOString(), version });
      if (await consul.kv.acquire(key, value, session)) return 'this host is known to be alive';
      await consul.session.destroy(session);
      throw new AppError('unavailable', `${key} is held by a session that ends: tried again`);
    },
  });
}
