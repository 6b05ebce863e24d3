import { unpack } from '#backup/envelope.ts';
import type { Place } from '#backup/place.ts';
import { hasCode } from '#core/errors.ts';
import { readCatalog } from './catalog.ts';
import { formatPosition } from './position.ts';
import { planRestore, type RestoreTarget, type RestoreWindow, restoreWindows } from './restore-plan.ts';
import type { RestoreChoice, RestoreWish } from './schema.ts';

/** GTID domain of all databases (`engine/mariadb/names.ts`). */
export const DOMAIN = 0;

export type ReadablePlace = Pick<Place, 'store' | 'keyOf' | 'shown' | 'history'>;

/**
 * What a wish comes to, in the first place that can fulfil it.
 *
 * @param places where backups of the database lie, the present place first
 * @throws AppError `not_found`, `invalid` outside of what can be restored, naming it
 */
export async function chooseFrom(places: readonly ReadablePlace[], wish: RestoreWish): Promise<RestoreChoice> {
  let refusal: unknown;
  for (const { store, keyOf, shown, history } of places) {
    try {
      const plan = await planRestore(await readCatalog(store), targetOf(wish), async (key) => unpack(await store.get(key), keyOf));
      const gtid = formatPosition(plan.upTo, DOMAIN) || plan.full.gtid;
      return { backup: plan.full.id, gtid, store: shown, history, ...(plan.warning === undefined ? {} : { warning: plan.warning }) };
    } catch (error) {
      if (!hasCode(error, 'invalid') && !hasCode(error, 'not_found')) throw error;
      // That there is nothing at all says less than what there is.
      if (refusal === undefined || (hasCode(refusal, 'not_found') && hasCode(error, 'invalid'))) refusal = error;
    }
  }
  throw refusal;
}

export async function windowsOf(places: readonly ReadablePlace[]): Promise<(RestoreWindow & { store: string })[]> {
  const found = await Promise.all(
    places.map(async ({ store, shown }) => restoreWindows(await readCatalog(store)).map((each) => ({ ...each, store: shown }))),
  );
  return found.flat().sort((a, b) => a.from - b.from);
}

function targetOf({ backup, at, gtid }: RestoreWish): RestoreTarget {
  if (backup !== undefined) return { kind: 'backup', id: backup };
  if (at !== undefined) return { kind: 'time', at: new Date(at) };
  return gtid === undefined ? { kind: 'latest' } : { kind: 'gtid', gtid };
}
