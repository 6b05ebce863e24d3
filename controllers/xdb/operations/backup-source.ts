import { type Place, placeOf, VOLUME } from '#backup/place.ts';
import type { Stored } from '#core/consul/records.ts';
import { AppError, hasCode, messageOf } from '#core/errors.ts';
import { askMember } from '#pool/service-living.ts';
import { chooseFrom, type ReadablePlace, windowsOf } from '#xdb/backup/choose.ts';
import { type BackupRecord, type KeptBackups, RestoreChoice, type RestoreWish } from '#xdb/backup/schema.ts';
import { openCredentials, readCredentials } from '#xdb/credentials.ts';
import { type DbRecords, readDb } from '#xdb/observe.ts';
import type { DbDeps } from '#xdb/operations/deps.ts';
import type { Credentials, DbSpec } from '#xdb/schema.ts';
import { dbKeys, KEPT_PREFIX } from '#xdb/store.ts';

/** A database whose backups there may be: one that lives, one whose data are kept after it was destroyed, or one that is gone. */
export interface BackupSource {
  name: string;
  spec: DbSpec;
  /** Oldest first. */
  backups: BackupRecord[];
  /** Its records, unless it is gone. */
  records: DbRecords | undefined;
  /** What outlived it, when it is gone. */
  kept: Stored<KeptBackups> | undefined;
  credentials(): Promise<Credentials>;
}

/** A sidecar lists a store and reads a binlog, in milliseconds. */
const ASK_MS = 60_000;

/**
 * @param text `adb`: the database of that name, or, when there is none, the last one of that name that is gone; `adb@HISTORY`: one that is gone
 * @throws AppError `not_found` naming what there is
 */
export async function sourceOf(deps: DbDeps, text: string): Promise<BackupSource> {
  const [name = '', history] = text.split('@');
  if (history === undefined) {
    const living = await livingSource(deps, name);
    if (living !== undefined) return living;
  }
  const kept = (await listKept(deps)).filter(
    (each) => each.value.name === name && (history === undefined || each.value.history === history),
  );
  const newest = kept.toSorted((a, b) => a.value.time.localeCompare(b.value.time)).at(-1);
  if (newest !== undefined) return goneSource(deps, newest);
  const names = [...(await deps.store.names()), ...(await listKept(deps)).map(({ value }) => `${value.name}@${value.history}`)];
  throw new AppError('not_found', `there is no database ${JSON.stringify(text.slice(0, 80))}, and no backups of one`, {
    hint: names.length === 0 ? 'db create -d NAME makes one' : `there is ${names.slice(0, 10).join(', ')}`,
  });
}

async function livingSource(deps: DbDeps, name: string): Promise<BackupSource | undefined> {
  if (!(await deps.store.names()).includes(name)) return undefined;
  const [records, backups] = await Promise.all([readDb(deps, name), deps.store.backups.list(dbKeys(name).backupsPrefix)]);
  if (records === undefined) return undefined;
  return {
    ...{ name, records, kept: undefined, spec: records.spec.value },
    backups: inOrder(backups.map(({ value }) => value)),
    credentials: () => readCredentials(deps, name),
  };
}

function goneSource({ poolKey }: DbDeps, kept: Stored<KeptBackups>): BackupSource {
  const { name, spec, backups, credentials } = kept.value;
  return {
    ...{ name, spec, kept, records: undefined },
    backups: inOrder(backups),
    credentials: async () => openCredentials(poolKey, name, credentials),
  };
}

/** Of all databases that are gone. */
export function listKept({ store }: Pick<DbDeps, 'store'>): Promise<Stored<KeptBackups>[]> {
  return store.kept.list(KEPT_PREFIX);
}

/** Whether its members run, or should. */
export function isLiving({ records }: BackupSource): boolean {
  return records !== undefined && records.spec.value.destroyed === undefined;
}

/**
 * What a wish comes to. A member is asked, which sees the volumes of the others; where none can answer, what lies in a store of its own is read from here.
 *
 * @throws AppError `invalid` outside of what can be restored, naming it; `not_found`; `conflict`, `unavailable` when what could be restored cannot be reached
 */
export async function choose(deps: DbDeps, source: BackupSource, wish: RestoreWish): Promise<RestoreChoice> {
  return reach(deps, source, {
    ask: async (member) => RestoreChoice.parse(await member('POST', '/backup/choose', wish)),
    read: (places) => chooseFrom(places, wish),
  });
}

export interface Window {
  from: string;
  to: string;
  store: string;
}

/** Times between which every second can be restored. @throws AppError as {@link choose} */
export async function readWindows(deps: DbDeps, source: BackupSource): Promise<Window[]> {
  const found = await reach(deps, source, {
    ask: async (member) => ((await member('GET', '/backup/windows')) as { windows: Awaited<ReturnType<typeof windowsOf>> }).windows,
    read: windowsOf,
  });
  return found.map(({ from, to, store }) => ({ from: time(from), to: time(to), store }));
}

type Member = (method: string, path: string, body?: unknown) => Promise<unknown>;

async function reach<T>(
  deps: DbDeps,
  source: BackupSource,
  { ask, read }: { ask: (member: Member) => Promise<T>; read: (places: ReadablePlace[]) => Promise<T> },
): Promise<T> {
  const { name, records } = source;
  let failure: unknown;
  if (records !== undefined && isLiving(source)) {
    const leader = records.sync?.leader.id;
    const members = records.sidecars.map(({ member }) => member).sort((a, b) => Number(b === leader) - Number(a === leader));
    for (const member of members) {
      try {
        return await ask((method, path, body) => askMember(deps, records, member, { method, path, body, timeoutMs: ASK_MS }));
      } catch (error) {
        if (!hasCode(error, 'unavailable') && !hasCode(error, 'timeout')) throw error;
        failure ??= error;
      }
    }
  }
  const places = await outsidePlaces(deps, source);
  if (places.length > 0) return read(places);
  const onVolumes = source.backups.some(({ state, store }) => state === 'done' && store === VOLUME);
  if (!onVolumes) throw new AppError('not_found', `${name} has no backups`, { hint: `db backup create ${name} makes one` });
  if (records?.spec.value.destroyed !== undefined)
    throw new AppError('conflict', `the backups of ${name} lie on the volumes of its members, which do not run: it was destroyed`, {
      hint: `db undestroy ${name}`,
    });
  const why = failure === undefined ? '' : `: ${messageOf(failure)}`;
  throw new AppError('unavailable', `the backups of ${name} lie on the volumes of its members, and none of them answers${why}`, {
    hint: `db status ${name}`,
  });
}

/** Stores of its backups that are none of its members', as they can be opened from here; the present one first. */
export async function outsidePlaces(deps: Pick<DbDeps, 'log'>, source: BackupSource): Promise<Place[]> {
  const { spec, backups } = source;
  const former = backups.flatMap(({ state, store }) => (state === 'done' ? [store] : []));
  const addresses = [...new Set([spec.backup.store, ...former])].filter((address) => address !== VOLUME);
  if (addresses.length === 0) return [];
  const credentials = await source.credentials();
  return addresses.flatMap((address) => {
    try {
      return [placeOf(spec, credentials, { volume: '', address })];
    } catch (error) {
      deps.log.warn({ db: spec.name, store: address, err: messageOf(error) }, 'a store of backups cannot be used');
      return [];
    }
  });
}

function inOrder(backups: BackupRecord[]): BackupRecord[] {
  return backups.toSorted((a, b) => a.id.localeCompare(b.id));
}

function time(seconds: number): string {
  return new Date(seconds * 1000).toISOString().replace('.000Z', 'Z');
}
