import { AppError, hasCode } from '#core/errors.ts';
import type { BackupStore, StoredObject } from './store.ts';

/**
 * Several stores read as one: what members of a database have on their own volumes. Written and deleted is in the first one only.
 *
 * @param others those that can be reached at the moment; one that cannot be listed is left out
 * @param onMissing told of those
 */
export function unionStore(
  own: BackupStore,
  others: () => readonly BackupStore[],
  onMissing: (store: BackupStore, error: unknown) => void,
): BackupStore {
  return {
    ...own,
    async get(key, options) {
      for (const store of [own, ...others()]) {
        try {
          return await store.get(key, options);
        } catch (error) {
          if (!hasCode(error, 'not_found') && store === own) throw error;
          if (!hasCode(error, 'not_found')) onMissing(store, error);
        }
      }
      throw new AppError('not_found', `${key} is on no volume that can be reached`);
    },
    async list(prefix) {
      const found = new Map<string, StoredObject>();
      for (const store of [own, ...others()]) {
        try {
          for (const object of await store.list(prefix)) if (!found.has(object.key)) found.set(object.key, object);
        } catch (error) {
          if (store === own) throw error;
          onMissing(store, error);
        }
      }
      return [...found.values()];
    },
  };
}
