import { setTimeout as pause } from 'node:timers/promises';
import type { Lead } from '#test/cache-history/check.ts';
import { LeadRecord } from '#xcache/schema.ts';
import type { ServiceWorld } from './world.ts';

/** Who led, by the records of the cache: followed on every host, since any of them may be cut off. */
export interface Leads {
  /** All that were ever seen. */
  seen(): Lead[];
  stop(): void;
}

export function followLeads({ pool, name, consul }: Pick<ServiceWorld, 'pool' | 'name' | 'consul'>): Leads {
  const seen = new Map<string, Lead>();
  let isOver = false;
  const follow = async (host: (typeof pool.hosts)[number]) => {
    let index = 0;
    while (!isOver) {
      try {
        // A host that is frozen answers when it is awake.
        const text = await consul(host, 'GET', `/kv/xcaas/cache/${name}/lead?index=${index}&wait=10s`);
        const [entry] = JSON.parse(text) as { ModifyIndex: number; Value: string }[];
        if (entry === undefined) continue;
        const { epoch, master } = LeadRecord.parse(JSON.parse(Buffer.from(entry.Value, 'base64').toString('utf8')));
        seen.set(`${epoch}/${master.run}`, { epoch, member: master.id, run: master.run });
        // A restored snapshot has a lower one.
        index = entry.ModifyIndex < index ? 0 : entry.ModifyIndex;
      } catch {
        index = 0;
        await pause(500);
      }
    }
  };
  for (const host of pool.hosts) void follow(host);
  return {
    seen: () => [...seen.values()],
    stop() {
      isOver = true;
    },
  };
}
