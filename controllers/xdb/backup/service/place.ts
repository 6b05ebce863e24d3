import { createHash } from 'node:crypto';
import type { Credentials, DbSpec } from '#xdb/schema.ts';
import type { BackupKey, PackOptions } from '../envelope.ts';
import { bestCodec } from '../envelope.ts';
import { type BackupStore, under } from '../stores/store.ts';
import { openStore, shownStore } from '../stores/url.ts';

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

/** @param volume folder of the member's backup volume. @throws AppError `invalid` when the address is wrong, or a credential is missing */
export function placeOf(spec: DbSpec, credentials: Credentials | undefined, volume: string, ca?: string): Place {
  const { store: address } = spec.backup;
  const keys = backupKeys(credentials);
  const [newest] = keys;
  const history = historyOf(spec);
  const opened = openStore(address, { volume, ...(credentials?.store ? { credentials: credentials.store } : {}), ...(ca ? { ca } : {}) });
  return {
    store: under(opened, `${spec.name}/${history}`),
    perMember: address === 'volume',
    shown: shownStore(address),
    history,
    pack: { codec: bestCodec(), key: newest },
    keyOf: (id) => keys.find((key) => key.id === id),
  };
}

/** Newest first. */
export function backupKeys(credentials: Pick<Credentials, 'backupKeys'> | undefined): BackupKey[] {
  return (credentials?.backupKeys ?? []).map(({ id, secret }) => ({ id, secret: createHash('sha256').update(secret).digest() }));
}
