import type { z } from 'zod';
import type { ConsulClient, KvEntry } from '#core/consul/client.ts';
import { AppError } from '#core/errors.ts';

export interface Stored<T> {
  key: string;
  value: T;
  modifyIndex: number;
}

/** Records of one kind: JSON in Consul's KV, checked by their schema whenever they are read. */
export interface Records<T> {
  get(key: string, options?: { consistent?: boolean }): Promise<Stored<T> | undefined>;
  list(prefix: string): Promise<Stored<T>[]>;
  /** @param modifyIndex 0 = must not exist @returns false when somebody else wrote first */
  cas(key: string, value: T, modifyIndex: number): Promise<boolean>;
  /**
   * Reads, changes and writes until nobody came in between.
   *
   * @param change gets the present value, gives the next one, or undefined to leave all as it is; may throw
   * @throws AppError `cas_lost` after ten lost races
   */
  update(key: string, change: (present: T | undefined) => T | undefined): Promise<T | undefined>;
}

const MAX_RACES = 10;

export function createRecords<T>(consul: Pick<ConsulClient, 'kv'>, schema: z.ZodType<T>): Records<T> {
  const parse = (entry: KvEntry): Stored<T> => ({ key: entry.key, value: parseRecord(schema, entry), modifyIndex: entry.modifyIndex });
  const records: Records<T> = {
    async get(key, options) {
      const entry = await consul.kv.get(key, options);
      return entry === undefined || entry.value === '' ? undefined : parse(entry);
    },
    async list(prefix) {
      return (await consul.kv.list(prefix)).map(parse);
    },
    async cas(key, value, modifyIndex) {
      return consul.kv.cas(key, JSON.stringify(schema.parse(value)), modifyIndex);
    },
    async update(key, change) {
      for (let race = 0; race < MAX_RACES; race++) {
        const present = await records.get(key, { consistent: true });
        const next = change(present?.value);
        if (next === undefined) return present?.value;
        if (await records.cas(key, next, present?.modifyIndex ?? 0)) return next;
      }
      throw new AppError('cas_lost', `others kept changing ${key} at the same time`, { hint: 'try again' });
    },
  };
  return records;
}

/** @throws AppError `internal` naming the key: a record that does not fit its schema is never acted upon */
export function parseRecord<T>(schema: z.ZodType<T>, entry: Pick<KvEntry, 'key' | 'value'>): T {
  let json: unknown;
  try {
    json = JSON.parse(entry.value);
  } catch (cause) {
    throw new AppError('internal', `the record ${entry.key} in Consul is not JSON`, { cause });
  }
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  throw new AppError('internal', `the record ${entry.key} in Consul does not fit its schema: ${parsed.error.issues[0]?.message ?? ''}`, {
    hint: 'it was written by another version or by hand; see docs/runbook.md',
    cause: parsed.error,
  });
}
