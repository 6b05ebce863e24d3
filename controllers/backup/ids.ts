import { randomBytes } from 'node:crypto';

/** A new one; later ones sort after earlier ones. */
export function newBackupId(now: Date): string {
  const time = now
    .toISOString()
    .replace(/\.\d+Z$/, '')
    .replace(/[-:]/g, '')
    .replace('T', '-');
  return `${time}-${randomBytes(2).toString('hex')}`;
}

/** Pure: when one was made, in milliseconds since 1970; 0 for what is no id. */
export function timeOfId(id: string): number {
  const [, year, month, day, hour, minute, second] = /^(\d{4})(\d\d)(\d\d)-(\d\d)(\d\d)(\d\d)/.exec(id) ?? [];
  return Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`) || 0;
}

/** What is left of a backup that failed without a word is kept so long, in milliseconds: it may still be being made. */
export const UNFINISHED_MS = 24 * 3_600_000;
