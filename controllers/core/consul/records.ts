import type { z } from 'zod';
import type { ConsulClient, KvEntry } from '#core/consul/client.ts';
import { AppError, messageOf } from '#core/errors.ts';
import { sleep } from '#core/sleep.ts';
import { validate } from '#core/validate.ts';

export interface Stored<T> {
  key: string;
  value: T;
  modifyIndex: number;
}

/** Records of one kind: JSON in Consul's KV, checked by their schema whenever they are read. A key whose value is empty holds none. */
export interface Records<T> {
  get(key: string, options?: { consistent?: boolean }): Promise<Stored<T> | undefined>;
  /** @param which keys under the prefix hold such records; all when not given */
  list(prefix: string, which?: (key: string) => boolean): Promise<Stored<T>[]>;
  /**
   * @param modifyIndex 0 = must not exist
   * @returns false when somebody else wrote first
   * @throws AppError `invalid` when the value does not fit the schema: nothing is written then
   */
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
      return entry === undefined || isEmpty(entry) ? undefined : parse(entry);
    },
    async list(prefix, which = () => true) {
      return (await consul.kv.list(prefix)).filter((entry) => !isEmpty(entry) && which(entry.key)).map(parse);
    },
    async cas(key, value, modifyIndex) {
      return consul.kv.cas(key, JSON.stringify(validate(schema, value, `the record ${key}`)), modifyIndex);
    },
    async update(key, change) {
      for (let race = 0; race < MAX_RACES; race++) {
        if (race > 1) await sleep(Math.random() * 20 * race);
        const entry = await consul.kv.get(key, { consistent: true });
        const present = entry === undefined || isEmpty(entry) ? undefined : parse(entry).value;
        const next = change(present);
        if (next === undefined) return present;
        // A key without a value is there all the same: its index is not 0.
        if (await records.cas(key, next, entry?.modifyIndex ?? 0)) return next;
      }
      throw new AppError('cas_lost', `others kept changing ${key} at the same time`, { hint: 'try again' });
    },
  };
  return records;
}

/** What a lock leaves behind when it is released. */
function isEmpty(entry: Pick<KvEntry, 'value'>): boolean {
  return entry.value === '';
}

/**
 * A record of KV, checked.
 *
 * @throws AppError `internal` naming the key, and where in the record it does not fit: such a record is never acted upon, and no caller's mistake
 */
export function parseRecord<T>(schema: z.ZodType<T>, entry: Pick<KvEntry, 'key' | 'value'>): T {
  const hint = 'it was written by another version or by hand; see docs/runbook.md';
  let json: unknown;
  try {
    json = JSON.parse(entry.value);
  } catch (cause) {
    throw new AppError('internal', `the record ${entry.key} in Consul is not JSON: ${messageOf(cause)}`, { hint, cause });
  }
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const where = issue === undefined || issue.path.length === 0 ? '' : ` at ${issue.path.join('.')}`;
  const what = `the record ${entry.key} in Consul does not fit its schema${where}: ${issue?.message ?? 'not understood'}`;
  throw new AppError('internal', what, { hint, cause: parsed.error });
}
