import { isSpec } from '#pool/service-records.ts';
import { inUse } from '#pool/service-view.ts';
import type { ServiceInUse } from '#pool/services.ts';
import { DB_PREFIX, type DbStore } from '#xdb/store.ts';

/** Names and host ports of all databases, those among them whose data are kept after they were destroyed. */
export async function dbsInUse(store: DbStore): Promise<ServiceInUse[]> {
  const specs = await store.specs.list(DB_PREFIX, (key) => isSpec(DB_PREFIX, key));
  return inUse(
    'db',
    specs.map(({ value }) => value),
  );
}
