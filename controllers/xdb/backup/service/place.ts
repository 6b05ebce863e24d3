import { createHash } from 'node:crypto';
import type { BackupKey, PackOptions } from '#backup/envelope.ts';
import { bestCodec } from '#backup/envelope.ts';
import { type BackupStore, under } from '#backup/stores/store.ts';
import { openStore, shownStore } from '#backup/stores/url.ts';
import type { Credentials, DbSpec } from '#xdb/schema.ts';

/** Where backups of a database go, and how they are packed. */
export interface Place {
  store: BackupStore;
  /** Every member has a store of its own. */
  perMember: boolean;
  shown: string;
  history: string;
  pack: PackOptions;
  keyOf: (id: string) => BackupKey | undefined;
}

/** A database that is made anew under an old name has a history of its own: transactions of both may be called the same. */
export function historyOf(spec: Pick<DbSpec, 'created'>): string {
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
}

/** @throws AppError `invalid` when the address is wrong, or a credential is missing */
export function placeOf(
  spec: Pick<DbSpec, 'name' | 'created' | 'backup'>,
  credentials: Pick<Credentials, 'backupKeys' | 'store' | 'formerStores'> | undefined,
  { volume, address = spec.backup.store, ca }: PlaceOptions,
): Place {
  const keys = backupKeys(credentials);
  const [newest] = keys;
  const history = historyOf(spec);
  const account = accountOf(spec, credentials, address);
  const opened = openStore(address, { volume, ...(account ? { credentials: account } : {}), ...(ca ? { ca } : {}) });
  return {
    store: under(opened, `${spec.name}/${history}`),
    perMember: address === VOLUME,
    shown: shownStore(address),
    history,
    pack: { codec: bestCodec(), key: newest },
    keyOf: (id) => keys.find((key) => key.id === id),
  };
}

/** A former one goes first: while the place is being changed, the account of the new one is known before the specification names it. */
export function accountOf(
  { backup }: Pick<DbSpec, 'backup'>,
  credentials: Pick<Credentials, 'store' | 'formerStores'> | undefined,
  address: string,
): Credentials['store'] {
  return credentials?.formerStores?.[address] ?? (address === backup.store ? credentials?.store : undefined);
}

/** Newest first. */
export function backupKeys(credentials: Pick<Credentials, 'backupKeys'> | undefined): BackupKey[] {
  return (credentials?.backupKeys ?? []).map(({ id, secret }) => ({ id, secret: createHash('sha256').update(secret).digest() }));
}
