import type { z } from 'zod';
import type { ConsulClient, KvEntry } from '#core/consul/client.ts';
import { parseRecord, type Stored } from '#core/consul/records.ts';
import { AppError, messageOf } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import { serviceName } from '#core/names.ts';

/** Records of one service as one consistent read gave them. */
export interface ServiceRecords {
  /** @throws AppError `invalid` for one that does not fit its schema */
  find<T>(schema: z.ZodType<T>, key: string): Stored<T> | undefined;
  /** By what follows the prefix. What one sidecar of another version says must not hide the others: it is left out. */
  under<T>(schema: z.ZodType<T>, prefix: string): [string, Stored<T>][];
  /** …of those only whose session lives. */
  living<T>(schema: z.ZodType<T>, prefix: string): T[];
}

/** @param base prefix of all its records */
export async function readServiceRecords(consul: Pick<ConsulClient, 'kv'>, base: string, log: Logger): Promise<ServiceRecords> {
  const entries = (await consul.kv.list(base, { consistent: true })).filter(({ value }) => value !== '');
  const store = <T>(schema: z.ZodType<T>, entry: KvEntry): Stored<T> => ({
    key: entry.key,
    value: parseRecord(schema, entry),
    modifyIndex: entry.modifyIndex,
  });
  const records: ServiceRecords = {
    find(schema, wanted) {
      const entry = entries.find(({ key }) => key === wanted);
      return entry === undefined ? undefined : store(schema, entry);
    },
    under: <T>(schema: z.ZodType<T>, prefix: string) =>
      entries
        .filter(({ key }) => key.startsWith(prefix))
        .flatMap((entry): [string, Stored<T>][] => {
          try {
            return [[entry.key.slice(prefix.length), store(schema, entry)]];
          } catch (error) {
            log.warn({ record: entry.key, err: messageOf(error) }, 'a record of a service is left out');
            return [];
          }
        }),
    living(schema, prefix) {
      const alive = new Set(entries.filter(({ session }) => session !== undefined).map(({ key }) => key));
      return records.under(schema, prefix).flatMap(([, { key, value }]) => (alive.has(key) ? [value] : []));
    },
  };
  return records;
}

/** Names of all services that have a specification under a prefix. */
export async function serviceNames(consul: Pick<ConsulClient, 'kv'>, prefix: string): Promise<string[]> {
  const entries = await consul.kv.list(prefix);
  return entries.flatMap(({ key }) => (isSpec(prefix, key) ? [key.slice(prefix.length, -'/spec'.length)] : []));
}

/** Whether a key below the prefix is the specification of a service. */
export function isSpec(prefix: string, key: string): boolean {
  return /^[^/]+\/spec$/.test(key.slice(prefix.length));
}

/** @param what `database` @param make what is typed to make one @throws AppError `not_found` naming what exists */
export async function findSpec<T>(
  name: string,
  { get, names, what, make }: { get(): Promise<Stored<T> | undefined>; names(): Promise<string[]>; what: string; make: string },
): Promise<Stored<T>> {
  const found = serviceName.safeParse(name).success ? await get() : undefined;
  if (found !== undefined) return found;
  const others = await names();
  throw new AppError('not_found', `there is no ${what} ${JSON.stringify(name)}`, {
    hint: others.length === 0 ? `${make} makes one` : `there is ${others.slice(0, 10).join(', ')}; ${make} makes one`,
  });
}
