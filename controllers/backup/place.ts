import { createHash } from 'node:crypto';
import { AppError } from '#core/errors.ts';
import { type BackupKey, bestCodec, type PackOptions } from './envelope.ts';
import type { BackupPlan } from './schema.ts';
import { type BackupStore, under } from './stores/store.ts';
import { openStore, type StoreCredentials, shownStore } from './stores/url.ts';

/** Where backups of a service go, and how they are packed. */
export interface Place {
  store: BackupStore;
  /** Every member has a store of its own. */
  perMember: boolean;
  shown: string;
  history: string;
  pack: PackOptions;
  keyOf: (id: string) => BackupKey | undefined;
}

/** A service that is made anew under an old name has a history of its own. */
export function historyOf(spec: { created?: string | undefined }): string {
  return (spec.created ?? 'first').replace(/[^0-9A-Za-z]/g, '') || 'first';
}

/** Each member has it for itself; every other store is one for all of them. */
export const VOLUME = 'volume';

export interface PlaceOptions {
  /** Folder of the member's backup volume; none where nobody is a member. */
  volume: string;
  /** Where, when it is not where backups go now. */
  address?: string;
  /** PEM of an authority besides the system's. */
  ca?: string;
  /** Folders in the store above the service's own, each with its '/'; none for databases. */
  above?: string;
}

export interface PlaceSpec {
  name: string;
  created?: string | undefined;
  backup: { store: string };
}

export interface PlaceSecrets {
  backupKeys?: { id: string; secret: string }[] | undefined;
  store?: StoreCredentials | undefined;
  formerStores?: Record<string, StoreCredentials> | undefined;
}

/** @throws AppError `invalid` when the address is wrong, or a credential is missing */
export function placeOf(
  spec: PlaceSpec,
  credentials: PlaceSecrets | undefined,
  { volume, address = spec.backup.store, ca, above = '' }: PlaceOptions,
): Place {
  const keys = backupKeys(credentials);
  const [newest] = keys;
  const history = historyOf(spec);
  const account = accountOf(spec, credentials, address);
  const opened = openStore(address, { volume, ...(account ? { credentials: account } : {}), ...(ca ? { ca } : {}) });
  return {
    store: under(opened, `${above}${spec.name}/${history}`),
    perMember: address === VOLUME,
    shown: shownStore(address),
    history,
    pack: { codec: bestCodec(), key: newest },
    keyOf: (id) => keys.find((key) => key.id === id),
  };
}

/** @throws AppError `unavailable` while this member has not been given the account of the store that the specification names */
export function expectAccount(
  { backup }: { backup: Pick<BackupPlan, 'credentials'> },
  secrets: { serial?: number | undefined } | undefined,
): void {
  if ((secrets?.serial ?? 0) < (backup.credentials ?? 0))
    throw new AppError('unavailable', 'this member has not been given the account of the store yet');
}

/** A former one goes first: while the place is being changed, the account of the new one is known before the specification names it. */
export function accountOf(
  { backup }: Pick<PlaceSpec, 'backup'>,
  credentials: Pick<PlaceSecrets, 'store' | 'formerStores'> | undefined,
  address: string,
): StoreCredentials | undefined {
  return credentials?.formerStores?.[address] ?? (address === backup.store ? credentials?.store : undefined);
}

/** Newest first. */
export function backupKeys(credentials: Pick<PlaceSecrets, 'backupKeys'> | undefined): BackupKey[] {
  return (credentials?.backupKeys ?? []).map(({ id, secret }) => ({ id, secret: createHash('sha256').update(secret).digest() }));
}
