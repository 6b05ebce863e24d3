import { createHash } from 'node:crypto';
import cron from 'node-cron';
import { AppError } from '#core/errors.ts';

/** Times that were missed while nobody was there are made up for when they are not longer ago than this, in milliseconds. */
export const CATCH_UP_MS = 60 * 60_000;

const MINUTE_MS = 60_000;

/**
 * @param expression five fields of cron, UTC: `15 2 * * *`
 * @throws AppError `invalid`
 */
export function checkSchedule(expression: string): void {
  const fields = expression.trim().split(/\s+/);
  if (fields.length !== 5 || !cron.validate(expression)) {
    throw new AppError('invalid', `"${expression.slice(0, 60)}" is no schedule`, {
      hint: 'five fields of cron in UTC: minute hour day month weekday, e.g. "15 2 * * *" for 02:15 each day',
    });
  }
}

/**
 * The last time in (`after`, `now`] that the schedule names, undefined when there is none. Pure but for the library's reading of the expression.
 */
export function lastDue(expression: string, after: Date, now: Date): Date | undefined {
  const task = cron.createTask(expression, () => undefined, { timezone: 'UTC' });
  try {
    const from = Math.max(after.getTime(), now.getTime() - CATCH_UP_MS);
    for (let minute = Math.floor(now.getTime() / MINUTE_MS) * MINUTE_MS; minute > from; minute -= MINUTE_MS) {
      if (task.match(new Date(minute))) return new Date(minute);
    }
    return undefined;
  } finally {
    void task.destroy();
  }
}

/** The same for all members of a database: each asks for the backup that is due, and the first one's record is it. */
export function scheduledId(db: string, due: Date): string {
  const time = due
    .toISOString()
    .replace(/\.\d+Z$/, '')
    .replace(/[-:]/g, '')
    .replace('T', '-');
  return `${time}-${createHash('sha256').update(db).digest('hex').slice(0, 4)}`;
}
