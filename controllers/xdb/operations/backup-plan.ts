import { VOLUME } from '#backup/place.ts';
import { type PlanChange, planSentence, withBackupKey, withPlan, withStore } from '#backup/plan.ts';
import { checkSchedule } from '#backup/schedule.ts';
import type { BackupPlan } from '#backup/schema.ts';
import { splitStore } from '#backup/stores/url.ts';
import { AppError } from '#core/errors.ts';
import { askMember } from '#pool/service-living.ts';
import { changeCredentials } from '#xdb/credentials.ts';
import type { DbDeps } from '#xdb/operations/deps.ts';
import { leaderOf, livingRecords } from '#xdb/operations/living.ts';

const PROBE_MS = 60_000;

/**
 * Says where backups go, when they are made and verified, and how many are kept. A new store is tried out by the member that leads before anything is
 * written. What lies in the store before stays there: it is kept, verified and restored from like the rest, until newer ones have taken its place.
 *
 * @throws AppError `usage` for nothing; `invalid` for a schedule or a store's address; what the store says when it is tried out
 */
export async function setBackupPlan(deps: DbDeps, name: string, request: PlanChange): Promise<BackupPlan & { sentence: string }> {
  const { store: place, schedule, keep, verify } = request;
  if (place === undefined && schedule === undefined && keep === undefined && verify === undefined)
    throw new AppError('usage', 'nothing was said that is to change', { hint: 'give --to, --schedule, --keep or --verify' });
  for (const each of [schedule, verify]) if (each !== undefined && each !== '') checkSchedule(each);
  const wanted = place === undefined ? undefined : splitStore(place.trim());
  const records = await livingRecords(deps, name);
  if (wanted !== undefined && wanted.store !== VOLUME) {
    const body = { store: wanted.store, account: wanted.credentials };
    await askMember(deps, records, leaderOf(records), { method: 'POST', path: '/backup/probe', body, timeoutMs: PROBE_MS });
  }
  // The account first: whoever reads of the store can use it.
  const before = records.spec.value.backup.store;
  const given =
    wanted === undefined ? undefined : await changeCredentials(deps, name, (present) => withBackupKey(withStore(present, before, wanted)));
  const { backup } = await deps.store.change(name, (present) => ({
    ...present,
    backup: withPlan(present.backup, { store: wanted?.store, schedule, keep, verify }, given?.serial),
  }));
  const sentence = planSentence(name, backup);
  await deps.events.record({ object: `db/${name}`, kind: 'info', reason: 'backup_plan', sentence });
  deps.markDirty(name);
  return { ...backup, sentence };
}
