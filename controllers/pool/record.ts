import type { z } from 'zod';
import type { KvEntry } from '#core/consul/client.ts';
import { AppError } from '#core/errors.ts';
import { validate } from '#core/validate.ts';

/**
 * A record of KV, checked.
 *
 * @throws AppError `invalid` naming the key, and where in the record it does not fit
 */
export function parseRecord<T>(schema: z.ZodType<T>, entry: Pick<KvEntry, 'key' | 'value'>): T {
  let value: unknown;
  try {
    value = JSON.parse(entry.value);
  } catch (cause) {
    throw new AppError('invalid', `the record ${entry.key} is not JSON`, { cause });
  }
  return validate(schema, value, `the record ${entry.key}`);
}
