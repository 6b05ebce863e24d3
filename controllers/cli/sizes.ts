import { AppError } from '#core/errors.ts';

const UNITS = { k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 } as const;

/** `4` is 4 GiB, as the owner writes it; `512m`, `4g`, `1.5t` are understood too. @returns bytes @throws AppError `usage` naming the option */
export function parseSize(text: string | undefined, what: string): number | undefined {
  if (text === undefined) return undefined;
  const match = /^(\d{1,12}(?:\.\d{1,3})?)\s*([kmgt]?)(?:i?b)?$/i.exec(text.trim());
  const bytes = Math.round(Number(match?.[1]) * UNITS[(match?.[2]?.toLowerCase() || 'g') as keyof typeof UNITS]);
  if (match !== null && bytes > 0 && Number.isSafeInteger(bytes)) return bytes;
  throw new AppError('usage', `${what} takes a size such as 4 (GiB), 512m or 100g, not "${text.slice(0, 40)}"`);
}

/** `0.5`, `2`: CPUs. @throws AppError `usage` naming the option */
export function parseCpus(text: string | undefined, what: string): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d{1,4}(\.\d{1,3})?$/.test(text)) return Number(text);
  throw new AppError('usage', `${what} takes a number of CPUs such as 2 or 0.5, not "${text.slice(0, 40)}"`);
}

const SECONDS = { s: 1, m: 60, h: 3600, d: 86_400 } as const;

/** `90s`, `30m`, `2h`, `1d`; a plain number is seconds. @returns seconds @throws AppError `usage` naming the option */
export function parseSeconds(text: string, what: string): number {
  const match = /^(\d{1,9})([smhd]?)$/.exec(text);
  if (match === null) throw new AppError('usage', `${what} takes a time such as 90s, 30m or 2h, not "${text.slice(0, 40)}"`);
  return Number(match[1]) * SECONDS[(match[2] || 's') as keyof typeof SECONDS];
}

/**
 * A moment that was: RFC 3339, `HH:MM` or `HH:MM:SS` for the last such time of the day in UTC, or `-30m` from now.
 *
 * @returns RFC 3339 in UTC
 * @throws AppError `usage` naming the option
 */
export function parsePast(text: string | undefined, what: string, now: Date = new Date()): string | undefined {
  if (text === undefined) return undefined;
  if (text.startsWith('-')) return new Date(now.getTime() - parseSeconds(text.slice(1), what) * 1000).toISOString();
  const clock = /^([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?$/.exec(text);
  if (clock !== null) {
    const [hour, minute, second] = [Number(clock[1]), Number(clock[2]), Number(clock[3] ?? 0)];
    const today = Date.UTC(now.getUTCFullYear(), now.getUTCMonth(), now.getUTCDate(), hour, minute, second);
    return new Date(today <= now.getTime() ? today : today - 86_400_000).toISOString();
  }
  // Without a zone it would be taken for the zone of whoever types.
  if (/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})$/.test(text) && !Number.isNaN(Date.parse(text)))
    return new Date(text).toISOString();
  throw new AppError('usage', `${what} takes a time such as 2026-01-31T03:00:00Z, 03:00:00 (UTC) or -30m, not "${text.slice(0, 40)}"`);
}

/**
 * A moment to come: RFC 3339, `HH:MM` for the next such time of the day in UTC, or `+30m` from now.
 *
 * @returns RFC 3339 in UTC
 * @throws AppError `usage` naming the option
 */
export function parseMoment(text: string | undefined, what: string, now: Date = new Date()): string | undefined {
  if (text === undefined) return undefined;
  if (text.startsWith('+')) return new Date(now.getTime() + parseSeconds(text.slice(1), what) * 1000).toISOString();
  const clock = /^([01]?\d|2[0-3]):([0-5]\d)$/.exec(text);
  if (clock !== null) {
    const today = Date.UTC(now.getUTCFullYear(), now.getUTCMonth(), now.getUTCDate(), Number(clock[1]), Number(clock[2]));
    return new Date(today > now.getTime() ? today : today + 86_400_000).toISOString();
  }
  if (/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}/.test(text) && !Number.isNaN(Date.parse(text))) return new Date(text).toISOString();
  throw new AppError('usage', `${what} takes a time such as 2026-01-31T03:00:00Z, 03:00 (UTC) or +30m, not "${text.slice(0, 40)}"`);
}
