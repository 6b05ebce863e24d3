import { VOLUME } from '#backup/place.ts';
import { AppError } from '#core/errors.ts';
import { destroyedEvent, isLetGo, refuseBoth, withDestroyed } from '#pool/service-changes.ts';
import { keptSentence } from '#pool/service-destroyed.ts';
import { restoredNow } from '#xdb/operations/backups.ts';
import type { DbDeps } from '#xdb/operations/deps.ts';
import { beginFollowingAgain, endFollowing } from '#xdb/operations/follow.ts';
import { DB_PREFIX, dbKeys } from '#xdb/store.ts';

/**
 * Marks a database as destroyed. The controller stops its members at once; its data are kept for a grace period, for good, or not at all. Asked again it
 * may only let go sooner.
 *
 * @throws AppError `in_use` naming the databases that follow it
 */
export async function destroyDb(
  deps: DbDeps,
  name: string,
  { keepData, purge }: { keepData: boolean; purge: boolean },
): Promise<{ sentence: string }> {
  const { store } = deps;
  refuseBoth({ keepData, purge });
  await store.spec(name);
  const followers = await followersOf(deps, name);
  if (followers.length > 0) {
    throw new AppError('in_use', `${followers.join(', ')} ${followers.length === 1 ? 'follows' : 'follow'} ${name}`, {
      hint: `db cutover ${followers[0]}, or db destroy ${followers[0]}, first`,
    });
  }
  const [restoring] = await restoredNow(deps, name);
  if (restoring !== undefined) {
    throw new AppError('in_use', `${restoring.name} is being restored from the backups of ${name}`, {
      hint: `wait until it is there: db status ${restoring.name}`,
    });
  }
  const spec = await store.specs.update(dbKeys(name).spec, (present) =>
    present === undefined ? undefined : withDestroyed(present, { keepData, purge }, deps.now()),
  );
  if (spec !== undefined) await endFollowing(deps, spec);
  const told = destroyedEvent(name, { keepData, purge });
  await deps.events.record({ object: `db/${name}`, kind: 'info', reason: 'destroyed', sentence: told });
  deps.markDirty(name);
  const sentence = spec === undefined || purge ? `${name} is being removed` : keptSentence(spec);
  return { sentence: `${sentence}${await saidOfBackups(deps, name)}` };
}

/** What becomes of its backups: those on its members' volumes are part of its data, those in a store of their own outlive it. */
async function saidOfBackups({ store }: DbDeps, name: string): Promise<string> {
  const records = await store.backups.list(dbKeys(name).backupsPrefix);
  const made = records.map(({ value }) => value).filter(({ state, deleting }) => state === 'done' && deleting === undefined);
  const count = (backups: readonly unknown[]) => `${backups.length} ${backups.length === 1 ? 'backup' : 'backups'}`;
  const inside = made.filter((record) => record.store === VOLUME);
  const outside = made.filter((record) => record.store !== VOLUME);
  const stores = [...new Set(outside.map((record) => record.store))].join(' and ');
  return [
    ...(inside.length === 0 ? [] : [`; ${count(inside)} on its volumes go with its data`]),
    ...(outside.length === 0 ? [] : [`; ${count(outside)} in ${stores} stay: db restore NEW --from ${name}`]),
  ].join('');
}

/** Brings a destroyed database back while its data are kept: its members start where their data lie. */
export async function undestroyDb(deps: DbDeps, name: string): Promise<void> {
  const { store } = deps;
  const { value } = await store.spec(name);
  if (value.destroyed === undefined) throw new AppError('conflict', `${name} is not destroyed`, { hint: `db status ${name}` });
  await store.specs.update(dbKeys(name).spec, (present) => {
    if (present === undefined || isLetGo(present, deps.now()))
      throw new AppError('not_found', `the data of ${name} are being removed`, {
        hint: `db restore NEW --from ${name}, if it has backups elsewhere`,
      });
    const { destroyed: _, ...rest } = present;
    return rest;
  });
  await beginFollowingAgain(deps, value);
  await deps.events.record({ object: `db/${name}`, kind: 'info', reason: 'undestroyed', sentence: `${name} is to be as it was` });
  deps.markDirty(name);
}

async function followersOf({ store }: DbDeps, name: string): Promise<string[]> {
  const specs = await store.specs.list(DB_PREFIX, (key) => key.endsWith('/spec'));
  return specs
    .filter(({ value }) => value.role === 'slave' && value.upstream?.ours === name && value.destroyed === undefined)
    .map(({ value }) => value.name);
}
