import type { z } from 'zod';
import { AppError } from '#core/errors.ts';

/**
 * Checks what came from outside.
 *
 * @param what names the thing in the message, e.g. `the specification of web`
 * @param hint what to type instead
 * @throws AppError `invalid` that names the first wrong field and what is wrong with it
 */
export function validate<T>(schema: z.ZodType<T>, value: unknown, what: string, hint?: string): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const where = issue === undefined || issue.path.length === 0 ? '' : ` at ${issue.path.join('.')}`;
  throw new AppError('invalid', `${what} is wrong${where}: ${issue?.message ?? 'not understood'}`, hint === undefined ? {} : { hint });
}
