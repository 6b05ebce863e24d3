import { randomBytes } from 'node:crypto';
import { newPassword } from '#pool/service-credentials.ts';
import { VOLUME } from './place.ts';
import type { BackupPlan } from './schema.ts';
import type { StoreCredentials } from './stores/url.ts';

/** Pure but for chance: what of a service's credentials changes with its backups. */

export function newBackupKey(): { id: string; secret: string } {
  return { id: randomBytes(4).toString('hex'), secret: newPassword() };
}

/** What is stored of a service is encrypted from its first backup on. */
export function withBackupKey<C extends { backupKeys?: { id: string; secret: string }[] | undefined }>(credentials: C): C {
  return (credentials.backupKeys ?? []).length > 0 ? credentials : { ...credentials, backupKeys: [newBackupKey()] };
}

interface StoreAccounts {
  store?: StoreCredentials | undefined;
  formerStores?: Record<string, StoreCredentials> | undefined;
}

/** With the account of the store that backups go to from now on; accounts of those before are kept, since they hold backups still. @param before its address */
export function withStore<C extends StoreAccounts>(
  present: C,
  before: string,
  { store, credentials }: { store: string; credentials: StoreCredentials | undefined },
): C {
  const { store: account, formerStores = {}, ...rest } = present;
  const former = { ...formerStores, ...(account === undefined || before === store ? {} : { [before]: account }) };
  // One that is gone back to is none of the former ones, and its account is known.
  const { [store]: known, ...others } = former;
  const now = credentials ?? (before === store ? account : known);
  return {
    ...rest,
    ...(now === undefined ? {} : { store: now }),
    ...(Object.keys(others).length === 0 ? {} : { formerStores: others }),
  } as C;
}

export interface PlanChange {
  store?: string | undefined;
  /** cron in UTC; empty: only when asked. */
  schedule?: string | undefined;
  keep?: number | undefined;
  verify?: string | undefined;
}

/** @param credentials serial of those that have the account of a new store */
export function withPlan(present: BackupPlan, { store, schedule, keep, verify }: PlanChange, credentials?: number): BackupPlan {
  return {
    ...present,
    ...(store === undefined ? {} : { store }),
    ...(credentials === undefined ? {} : { credentials }),
    ...(keep === undefined ? {} : { keep }),
    schedule: schedule === undefined ? present.schedule : schedule || undefined,
    verify: verify === undefined ? present.verify : verify || undefined,
  };
}

export function planSentence(name: string, { store, schedule, keep, verify }: BackupPlan): string {
  const where = store === VOLUME ? 'the volumes of its members' : store;
  const when = schedule === undefined ? 'when asked for' : `at "${schedule}" (UTC)`;
  const checked = verify === undefined ? '' : `, the newest is verified at "${verify}"`;
  return `backups of ${name} go to ${where} ${when}, ${keep} are kept${checked}`;
}
