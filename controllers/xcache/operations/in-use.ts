import { isSpec } from '#pool/service-records.ts';
import { inUse } from '#pool/service-view.ts';
import type { ServiceInUse } from '#pool/services.ts';
import { CACHE_PREFIX, type CacheStore } from '#xcache/store.ts';

/** Names and host ports of all caches, those among them whose data are kept after they were destroyed. */
export async function cachesInUse(store: CacheStore): Promise<ServiceInUse[]> {
  const specs = await store.specs.list(CACHE_PREFIX, (key) => isSpec(CACHE_PREFIX, key));
  return inUse(
    'cache',
    specs.map(({ value }) => value),
  );
}
