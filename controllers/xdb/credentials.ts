import { createHash, randomBytes } from 'node:crypto';
import { AppError } from '#core/errors.ts';
import { validate } from '#core/validate.ts';
import { open, seal } from '#ground/seal.ts';
import type { SealedRecord } from '#pool/service-schema.ts';
import { Credentials, type DbSpec } from '#xdb/schema.ts';
import { type DbStore, dbKeys } from '#xdb/store.ts';

/**
 * Passwords of a database: made here, sealed in Consul with the pool's key, given to members as the file `credentials.json`. They stand in no log, event,
 * status or command line.
 */

export interface CredentialsDeps {
  store: Pick<DbStore, 'sealed'>;
  poolKey: Buffer;
}

/** 192 random bits in letters, digits, `-` and `_`: nothing that a shell, a URL or SQL would have to escape. */
export function newPassword(): string {
  return randomBytes(24).toString('base64url');
}

export function newCredentials(spec: Pick<DbSpec, 'user' | 'members'>): Credentials {
  return {
    agent: newPassword(),
    replication: Object.fromEntries(spec.members.map(({ id }) => [id, newPassword()])),
    users: { [spec.user]: [newPassword()] },
    backupKeys: [newBackupKey()],
  };
}

function newBackupKey() {
  return { id: randomBytes(4).toString('hex'), secret: newPassword() };
}

/** Pure but for the key: what is stored of a database is encrypted from its first backup on. */
export function withBackupKey(credentials: Credentials): Credentials {
  return (credentials.backupKeys ?? []).length > 0 ? credentials : { ...credentials, backupKeys: [newBackupKey()] };
}

export function sealCredentials(poolKey: Buffer, db: string, credentials: Credentials, serial: number): SealedRecord {
  return { v: 1, serial, sealed: seal(poolKey, dbKeys(db).credentials, JSON.stringify(credentials)) };
}

/** @throws AppError `not_found` when the database has none; `invalid` when they do not open */
export async function readCredentials({ store, poolKey }: CredentialsDeps, db: string): Promise<Credentials> {
  const key = dbKeys(db).credentials;
  const found = await store.sealed.get(key, { consistent: true });
  if (found === undefined) throw new AppError('not_found', `the credentials of ${db} are not in Consul`, { hint: `db status ${db}` });
  return openCredentials(poolKey, db, found.value);
}

export function openCredentials(poolKey: Buffer, db: string, record: SealedRecord): Credentials {
  const text = open(poolKey, dbKeys(db).credentials, record.sealed);
  return validate(Credentials, JSON.parse(text), `the credentials of ${db}`);
}

/** Changes them; the controller hands them to the members. @returns what they are now, with the serial by which a member can tell that it has them */
export async function changeCredentials(
  { store, poolKey }: CredentialsDeps,
  db: string,
  change: (present: Credentials) => Credentials,
): Promise<Credentials & { serial: number }> {
  let after: Credentials | undefined;
  let serial = 0;
  await store.sealed.update(dbKeys(db).credentials, (record) => {
    if (record === undefined) throw new AppError('not_found', `${db} is being removed`);
    const present = openCredentials(poolKey, db, record);
    after = change(present);
    const isSame = JSON.stringify(after) === JSON.stringify(present);
    serial = isSame ? record.serial : record.serial + 1;
    return isSame ? undefined : sealCredentials(poolKey, db, after, serial);
  });
  if (after === undefined) throw new AppError('internal', `the credentials of ${db} were not read`);
  return { ...after, serial };
}

/** Every member has a replication password; those of members that are no more are gone. */
export function withReplication(credentials: Credentials, members: readonly string[]): Credentials {
  const replication = Object.fromEntries(members.map((member) => [member, credentials.replication[member] ?? newPassword()]));
  return { ...credentials, replication };
}

/** What tells one set of secret files from another without saying anything of them. */
export function hashOf(secrets: Readonly<Record<string, string>>): string {
  const entries = Object.entries(secrets).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return createHash('sha256').update(JSON.stringify(entries)).digest('hex').slice(0, 32);
}
