import { type Backoff, createBackoff } from '#core/backoff.ts';
import { messageOf } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import { createLoop, type Loop } from '#core/loop.ts';
import type { Members } from './members.ts';
import type { MemberStore } from './store.ts';

/**
 * Starts what belongs on this host, whoever leads and whether anybody does. After a boot an engine leaves containers with an overlay `Exited`
 * when no Swarm manager can be reached at that moment; they are tried again, each with its own backoff, until they run.
 */
export function createKeeper({
  members,
  store,
  log,
  intervalMs = 5000,
  now = Date.now,
}: {
  members: Pick<Members, 'revive'>;
  store: Pick<MemberStore, 'list'>;
  log: Logger;
  intervalMs?: number;
  now?: () => number;
}): Loop {
  const waiting = new Map<string, { backoff: Backoff; at: number; why: string }>();
  return createLoop({
    name: 'keeper',
    log,
    intervalMs,
    async cycle(signal) {
      const { members: kept, damaged } = await store.list();
      const done: string[] = [];
      for (const id of waiting.keys()) if (!kept.some(({ spec }) => spec.id === id)) waiting.delete(id);
      for (const { spec } of kept) {
        if (signal.aborted) break;
        const wait = waiting.get(spec.id);
        if (wait !== undefined && wait.at > now()) continue;
        try {
          const change = await members.revive(spec.id);
          waiting.delete(spec.id);
          if (change !== undefined) done.push(`${spec.id} ${change}`);
        } catch (error) {
          const backoff = wait?.backoff ?? createBackoff(1000, 30_000);
          waiting.set(spec.id, { backoff, at: now() + backoff.next(), why: messageOf(error) });
        }
      }
      const parts = [`${kept.length} members belong here`];
      if (done.length > 0) parts.push(done.join(', '));
      for (const [id, { why }] of waiting) parts.push(`${id} does not start: ${why}`);
      if (damaged.length > 0) parts.push(`not understood: ${damaged.join(', ')}`);
      return parts.join('; ');
    },
  });
}
