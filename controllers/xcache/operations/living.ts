import type { Stored } from '#core/consul/records.ts';
import { AppError } from '#core/errors.ts';
import { refuseDestroyed } from '#pool/service-living.ts';
import { type CacheRecords, readCache } from '#xcache/observe.ts';
import type { CacheDeps } from '#xcache/operations/deps.ts';
import type { CacheSpec } from '#xcache/schema.ts';

/** The specification of a cache that is there and stays. @throws AppError `not_found`, also for one that was destroyed, saying how to get it back */
export async function livingSpec(deps: CacheDeps, name: string): Promise<Stored<CacheSpec>> {
  const found = await deps.store.spec(name);
  refuseDestroyed('cache', found.value);
  return found;
}

/** All its records, of one moment. */
export async function livingRecords(deps: CacheDeps, name: string): Promise<CacheRecords> {
  await livingSpec(deps, name);
  const records = await readCache(deps, name);
  if (records === undefined) throw new AppError('not_found', `there is no cache ${JSON.stringify(name)}`);
  return records;
}

/** Changes the specification, says so as an event, and has the controller look. */
export async function changeCache(
  deps: CacheDeps,
  name: string,
  { reason, sentence }: { reason: string; sentence: string },
  apply: (spec: CacheSpec) => CacheSpec,
): Promise<CacheSpec> {
  await livingSpec(deps, name);
  const spec = await deps.store.change(name, apply);
  await deps.events.record({ object: `cache/${name}`, kind: 'info', reason, sentence });
  deps.markDirty(name);
  return spec;
}
