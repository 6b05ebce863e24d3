import { AppError } from '#core/errors.ts';
import type { DbDeps } from '#xdb/operations/deps.ts';
import { livingSpec } from '#xdb/operations/living.ts';
import { change } from '#xdb/operations/maintain.ts';

export interface Upgrade {
  name: string;
  imageId: string;
  /** False where it runs that image already. */
  changed: boolean;
  sentence: string;
}

/**
 * Has every member made anew from another image, on the data that it has: whoever does not lead first, the leader last and after it has handed over (`plan/rolling.ts`).
 *
 * @param image its name or id; what the database was made with, or the built-in one, if not given: by what that name means now
 * @throws AppError `not_found`, `invalid` when it is no image of a database, or of another flavour; then nothing is changed
 */
export async function upgradeDb(deps: DbDeps, name: string, image: string | undefined): Promise<Upgrade> {
  const { value: present } = await livingSpec(deps, name);
  const ref = image ?? present.image;
  const { id: imageId, labels } = await deps.image(ref);
  const flavor = labels['xcaas.flavor'];
  if (flavor !== undefined && flavor !== present.flavor)
    throw new AppError('invalid', `the image ${ref ?? imageId} is of ${flavor}, and ${name} holds data of ${present.flavor}`, {
      hint: `an image for it carries the label xcaas.flavor=${present.flavor}`,
    });
  if (imageId === present.imageId) {
    if (ref !== present.image) await deps.store.change(name, (spec) => ({ ...spec, image: ref }));
    return { name, imageId, changed: false, sentence: `${name} runs ${ref ?? 'the built-in image'} already` };
  }
  const sentence = `members of ${name} are to run ${ref ?? 'the built-in image'}, one after another, who leads last`;
  await change(deps, name, 'upgrade', sentence, (spec) => ({ ...spec, image: ref, imageId }));
  return { name, imageId, changed: true, sentence };
}
