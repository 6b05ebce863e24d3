import { newBackupKey } from '#backup/plan.ts';
import { createVault, newPassword } from '#pool/service-credentials.ts';
import { Credentials, type DbSpec } from '#xdb/schema.ts';
import { dbKeys } from '#xdb/store.ts';

/**
 * Passwords of a database: made here, sealed in Consul with the pool's key, given to members as the file `credentials.json`. They stand in no log, event,
 * status or command line.
 */

/** The credentials of databases, sealed. */
export const {
  seal: sealCredentials,
  open: openCredentials,
  read: readCredentials,
  change: changeCredentials,
} = createVault('db', Credentials, (db) => dbKeys(db).credentials);

export function newCredentials(spec: Pick<DbSpec, 'user' | 'members'>): Credentials {
  return {
    agent: newPassword(),
    replication: Object.fromEntries(spec.members.map(({ id }) => [id, newPassword()])),
    users: { [spec.user]: [newPassword()] },
    backupKeys: [newBackupKey()],
  };
}

/** Every member has a replication password; those of members that are no more are gone. */
export function withReplication(credentials: Credentials, members: readonly string[]): Credentials {
  const replication = Object.fromEntries(members.map((member) => [member, credentials.replication[member] ?? newPassword()]));
  return { ...credentials, replication };
}
