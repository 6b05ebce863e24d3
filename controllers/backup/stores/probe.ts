import { randomBytes } from 'node:crypto';
import { AppError } from '#core/errors.ts';
import { type BackupStore, getText, putText, under } from './store.ts';

/**
 * Finds out whether a store takes, lists, gives and deletes, by doing so.
 *
 * @throws AppError of the store; `engine` when it does not give back what it was given
 */
export async function probeStore(store: BackupStore, db: string): Promise<void> {
  const place = under(store, `${db}/probe`);
  const [key, text] = [`${randomBytes(6).toString('hex')}`, randomBytes(32).toString('hex')];
  await putText(place, key, text);
  try {
    const listed = (await place.list('')).some((object) => object.key === key);
    if (!listed || (await getText(place, key)) !== text) {
      throw new AppError('engine', `${store.name} does not ${listed ? 'give back' : 'list'} what was put there`);
    }
  } finally {
    await place.delete(key);
  }
}
