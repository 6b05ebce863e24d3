import { AppError } from '#core/errors.ts';
import { destroyedEvent, isLetGo, refuseBoth, withDestroyed } from '#pool/service-changes.ts';
import { keptSentence } from '#pool/service-destroyed.ts';
import type { CacheDeps } from '#xcache/operations/deps.ts';
import { cacheKeys } from '#xcache/store.ts';

/**
 * Marks a cache as destroyed. The controller stops its members at once; what is on disk is kept for a grace period, for good, or not at all. Asked again it
 * may only let go sooner.
 */
export async function destroyCache(
  deps: CacheDeps,
  name: string,
  { keepData, purge }: { keepData: boolean; purge: boolean },
): Promise<{ sentence: string }> {
  const { store } = deps;
  refuseBoth({ keepData, purge });
  await store.spec(name);
  const spec = await store.specs.update(cacheKeys(name).spec, (present) =>
    present === undefined ? undefined : withDestroyed(present, { keepData, purge }, deps.now()),
  );
  const told = destroyedEvent(name, { keepData, purge });
  await deps.events.record({ object: `cache/${name}`, kind: 'info', reason: 'destroyed', sentence: told });
  deps.markDirty(name);
  if (spec === undefined || purge) return { sentence: `${name} is being removed` };
  return { sentence: `${keptSentence(spec)}${spec.persistence === 'none' ? ' (what was in memory only is gone)' : ''}` };
}

/** Brings a destroyed cache back while it is kept: its members start where they were, with what is on their disks. */
export async function undestroyCache(deps: CacheDeps, name: string): Promise<void> {
  const { store } = deps;
  const { value } = await store.spec(name);
  if (value.destroyed === undefined) throw new AppError('conflict', `${name} is not destroyed`, { hint: `cache status ${name}` });
  await store.specs.update(cacheKeys(name).spec, (present) => {
    if (present === undefined || isLetGo(present, deps.now())) throw new AppError('not_found', `the data of ${name} are being removed`);
    const { destroyed: _, ...rest } = present;
    return rest;
  });
  await deps.events.record({ object: `cache/${name}`, kind: 'info', reason: 'undestroyed', sentence: `${name} is to be as it was` });
  deps.markDirty(name);
}
