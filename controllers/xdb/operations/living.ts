import type { Stored } from '#core/consul/records.ts';
import { AppError } from '#core/errors.ts';
import { refuseDestroyed } from '#pool/service-living.ts';
import { type DbRecords, readDb } from '#xdb/observe.ts';
import type { DbDeps } from '#xdb/operations/deps.ts';
import type { DbSpec } from '#xdb/schema.ts';

/** The specification of a database that is there and stays. @throws AppError `not_found`, also for one that was destroyed, saying how to get it back */
export async function livingSpec(deps: DbDeps, name: string): Promise<Stored<DbSpec>> {
  const found = await deps.store.spec(name);
  refuseDestroyed('db', found.value);
  return found;
}

/** All its records, of one moment. */
export async function livingRecords(deps: DbDeps, name: string): Promise<DbRecords> {
  await livingSpec(deps, name);
  const records = await readDb(deps, name);
  if (records === undefined) throw new AppError('not_found', `there is no database ${JSON.stringify(name)}`);
  return records;
}

/** The member that takes writes, by the record. @throws AppError `unavailable` */
export function leaderOf({ sync, spec }: Pick<DbRecords, 'sync' | 'spec'>): string {
  if (sync !== undefined && sync.state === 'open') return sync.leader.id;
  const why = sync === undefined ? 'it is being made' : `${sync.leader.id} is taking over`;
  throw new AppError('unavailable', `nobody leads ${spec.value.name} at the moment: ${why}`, { hint: `db status ${spec.value.name}` });
}
