import type { ConsulClient, KvEntry } from '#core/consul/client.ts';
import { parseKv } from '#core/consul/client.ts';
import { parseRecord } from '#core/consul/records.ts';
import { watchConsul } from '#core/consul/watch.ts';
import { messageOf } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import { Target } from '#xlb/schema.ts';

export const TARGETS_PREFIX = 'xcaas/targets/';

/** Follows the containers that were added to load balancers by hand, until `signal` aborts. */
export function watchTargets({
  consul,
  log,
  signal,
  onChange,
}: {
  consul: ConsulClient;
  log: Logger;
  signal: AbortSignal;
  onChange(targets: Target[]): void;
}): Promise<void> {
  let known = 0;
  return watchConsul({
    consul,
    path: `/v1/kv/${TARGETS_PREFIX}`,
    query: { recurse: true },
    log,
    signal,
    parse: (answer) => parseKv(answer, 'the targets'),
    async onChange(found) {
      let entries = found;
      // "Nothing" after something may be a server that has not caught up: it is believed when the leader says so too.
      if (entries.length === 0 && known > 0) entries = await consul.kv.list(TARGETS_PREFIX, { consistent: true });
      known = entries.length;
      onChange(parseTargets(entries, log));
    },
  });
}

/** One record that cannot be understood does not hide the others. */
export function parseTargets(entries: readonly KvEntry[], log: Logger): Target[] {
  const targets: Target[] = [];
  for (const entry of entries) {
    try {
      targets.push(parseRecord(Target, entry));
    } catch (error) {
      log.warn({ err: messageOf(error) }, 'a target is left out');
    }
  }
  return targets;
}
