import { placementKey } from '#pool/placement-record.ts';
import { createCache } from '#xcache/operations/create.ts';
import { cachesInUse } from '#xcache/operations/in-use.ts';
import type { CacheMemberStatus, LeadRecord } from '#xcache/schema.ts';
import { cacheKeys, createCacheStore } from '#xcache/store.ts';
import { type ServiceWorldOptions, serviceWorld } from './service-operations.ts';
import { host, lead, NOW, said, seat } from './xcache-world.ts';

/** Caches over a Consul in memory. */
export async function cacheWorld(change: Partial<Omit<ServiceWorldOptions, 'now'>> = {}) {
  const hosts = change.hosts ?? [host(1), host(2), host(3)];
  return serviceWorld({ appliance: 'xcache', createStore: createCacheStore, inUse: cachesInUse }, { ...change, hosts, now: () => NOW });
}
export type CacheWorld = Awaited<ReturnType<typeof cacheWorld>>;

/** acache as it is when all is well. */
export async function livingCache(
  { kv, store, deps, hosts }: CacheWorld,
  change: { lead?: LeadRecord; sidecars?: CacheMemberStatus[]; request?: Partial<Parameters<typeof createCache>[1]> } = {},
): Promise<void> {
  const spec = await createCache(deps, { name: 'acache', ...change.request });
  const keys = cacheKeys('acache');
  for (const [index, { id }] of spec.members.entries())
    await kv.kv.put(placementKey(id), JSON.stringify(seat(spec, id, hosts[index % hosts.length]!)));
  const [first = '', ...rest] = spec.members.map(({ id }) => id);
  await store.leads.cas(keys.lead, change.lead ?? lead(first, rest), 0);
  const session = await kv.session.create({ name: 's', ttlSeconds: 3, behavior: 'delete' });
  const spoken =
    change.sidecars ?? spec.members.map(({ id }, index) => said(id, index === 0 ? 'master' : 'replica', { node: `host-${index + 1}` }));
  for (const status of spoken) await kv.kv.acquire(keys.member(status.member), JSON.stringify(status), session);
}
