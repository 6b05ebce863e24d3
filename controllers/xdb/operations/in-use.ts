import type { ServiceInUse } from '#pool/services.ts';
import { DB_PREFIX, type DbStore } from '#xdb/store.ts';

/** Names and host ports of all databases, those among them whose data are kept after they were destroyed. */
export async function dbsInUse(store: DbStore): Promise<ServiceInUse[]> {
  const specs = await store.specs.list(DB_PREFIX, (key) => /^[^/]+\/spec$/.test(key.slice(DB_PREFIX.length)));
  return specs.map(({ value }) => ({
    kind: 'db',
    name: value.name,
    hostPorts: value.destroyed === undefined ? value.publish.map(({ hostPort }) => hostPort) : [],
  }));
}
