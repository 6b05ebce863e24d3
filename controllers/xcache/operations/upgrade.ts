import { AppError } from '#core/errors.ts';
import type { CacheRecords } from '#xcache/observe.ts';
import type { CacheDeps } from '#xcache/operations/deps.ts';
import { changeCache, livingRecords } from '#xcache/operations/living.ts';
import { refuseForgetting } from '#xcache/operations/maintain.ts';
import { cacheEngine } from '#xcache/schema.ts';

export interface CacheUpgrade {
  name: string;
  imageId: string;
  /** False where it runs that image already. */
  changed: boolean;
  sentence: string;
}

/**
 * Has every member made anew from another image: of each shard the replicas first, the master last and after it has handed over (`plan/rolling.ts`).
 *
 * @param asked.image its name or id; what the cache was made with, or the built-in one, if not given: by what that name means now
 * @param asked.force also an image that does not say which engines it has, and where a restart may empty a member
 * @throws AppError `not_found`; `invalid` when it is no image of a cache, has not its engine, or an older one; `conflict` where keys may be lost. Nothing is changed then
 */
export async function upgradeCache(
  deps: CacheDeps,
  name: string,
  { image, force = false }: { image?: string | undefined; force?: boolean | undefined },
): Promise<CacheUpgrade> {
  const records = await livingRecords(deps, name);
  const { value: present } = records.spec;
  const ref = image ?? present.image;
  const { id: imageId, labels } = await deps.image(ref);
  const shown = ref ?? 'the built-in image';
  refuseEngine(records, { shown, labels, force });
  if (imageId === present.imageId) {
    if (ref !== present.image) await deps.store.change(name, (spec) => ({ ...spec, image: ref }));
    return { name, imageId, changed: false, sentence: `${name} runs ${shown} already` };
  }
  if (!force) refuseForgetting(present, 'another image');
  const sentence = `members of ${name} are to run ${shown}, one after another, who leads last`;
  await changeCache(deps, name, { reason: 'upgrade', sentence }, (spec) => ({ ...spec, image: ref, imageId }));
  return { name, imageId, changed: true, sentence };
}

/** Label of an image: the version of an engine that it has, `9.1`. */
const labelOf = (engine: string) => `xcaas.${engine}`;

/** An older engine does not read what a newer one has written, on disk or as its replica; another engine does not at all. */
function refuseEngine(
  { spec: { value: spec }, sidecars }: CacheRecords,
  { shown, labels, force }: { shown: string; labels: Readonly<Record<string, string>>; force: boolean },
): void {
  const { name, engine } = spec;
  const has = cacheEngine.options.filter((each) => labels[labelOf(each)] !== undefined);
  const version = labels[labelOf(engine)];
  if (has.length === 0) {
    if (force) return;
    throw new AppError('invalid', `the image ${shown} does not say which engines it has, and ${name} is ${engine}`, {
      hint: `an image for it carries a label such as ${labelOf(engine)}=9.1; --force takes it as it is`,
    });
  }
  if (version === undefined)
    throw new AppError('invalid', `the image ${shown} has ${has.join(' and ')} only, and ${name} is ${engine}`, {
      hint: 'the engine of a cache is fixed: the two do not read each other’s files',
    });
  // Members may differ while an earlier change is under way: the newest one has written already.
  const newest = sidecars.flatMap((each) => each.version ?? []).toSorted(byVersion)[0];
  if (newest === undefined || byVersion(newest, version) >= 0) return;
  throw new AppError('invalid', `the image ${shown} has ${engine} ${version}, and ${name} runs ${engine} ${newest}`, {
    hint: `an older ${engine} does not read what a newer one has written: name an image with ${engine} ${newest.split('.').slice(0, 2).join('.')} or later`,
  });
}

/** The newest first; by the first two numbers, since files are alike within a minor version. */
function byVersion(a: string, b: string): number {
  const numbers = (version: string) => version.split('.').slice(0, 2).map(Number);
  const [[major = 0, minor = 0], [otherMajor = 0, otherMinor = 0]] = [numbers(a), numbers(b)];
  return otherMajor - major || otherMinor - minor;
}
