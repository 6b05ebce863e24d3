import { createHash, randomBytes } from 'node:crypto';
import type { z } from 'zod';
import type { Records } from '#core/consul/records.ts';
import { AppError } from '#core/errors.ts';
import { validate } from '#core/validate.ts';
import { open, seal } from '#ground/seal.ts';
import type { SealedRecord } from '#pool/service-schema.ts';

/**
 * Passwords of a service: made here, sealed in Consul with the pool's key, given to members as the file `credentials.json`. They stand in no log, event,
 * status or command line.
 */
export interface Vault<Secrets> {
  seal(poolKey: Buffer, service: string, secrets: Secrets, serial: number): SealedRecord;
  /** @throws AppError `invalid` when they do not open */
  open(poolKey: Buffer, service: string, record: SealedRecord): Secrets;
  /** @throws AppError `not_found` when the service has none */
  read(deps: VaultDeps, service: string): Promise<Secrets>;
  /** Changes them; the controller hands them to the members. @returns what they are now, with the serial by which a member can tell that it has them */
  change(deps: VaultDeps, service: string, change: (present: Secrets) => Secrets): Promise<Secrets & { serial: number }>;
}

export interface VaultDeps {
  store: { sealed: Pick<Records<SealedRecord>, 'get' | 'update'> };
  poolKey: Buffer;
}

/** @param kind first word of its verbs @param keyOf where the record stands; what is sealed opens nowhere else */
export function createVault<Secrets>(kind: string, schema: z.ZodType<Secrets>, keyOf: (service: string) => string): Vault<Secrets> {
  const vault: Vault<Secrets> = {
    seal: (poolKey, service, secrets, serial) => ({ v: 1, serial, sealed: seal(poolKey, keyOf(service), JSON.stringify(secrets)) }),
    open(poolKey, service, record) {
      const text = open(poolKey, keyOf(service), record.sealed);
      return validate(schema, JSON.parse(text), `the credentials of ${service}`);
    },
    async read({ store, poolKey }, service) {
      const found = await store.sealed.get(keyOf(service), { consistent: true });
      if (found === undefined)
        throw new AppError('not_found', `the credentials of ${service} are not in Consul`, { hint: `${kind} status ${service}` });
      return vault.open(poolKey, service, found.value);
    },
    async change({ store, poolKey }, service, change) {
      let after: Secrets | undefined;
      let serial = 0;
      await store.sealed.update(keyOf(service), (record) => {
        if (record === undefined) throw new AppError('not_found', `${service} is being removed`);
        const present = vault.open(poolKey, service, record);
        after = change(present);
        const isSame = JSON.stringify(after) === JSON.stringify(present);
        serial = isSame ? record.serial : record.serial + 1;
        return isSame ? undefined : vault.seal(poolKey, service, after, serial);
      });
      if (after === undefined) throw new AppError('internal', `the credentials of ${service} were not read`);
      return { ...after, serial };
    },
  };
  return vault;
}

/** 192 random bits in letters, digits, `-` and `_`: nothing that a shell, a URL or SQL would have to escape. */
export function newPassword(): string {
  return randomBytes(24).toString('base64url');
}

/** What tells one set of secret files from another without saying anything of them. */
export function hashOf(secrets: Readonly<Record<string, string>>): string {
  const entries = Object.entries(secrets).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return createHash('sha256').update(JSON.stringify(entries)).digest('hex').slice(0, 32);
}
