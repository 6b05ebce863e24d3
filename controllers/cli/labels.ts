import { AppError } from '#core/errors.ts';

/**
 * `-l key=value` options as the owner writes them.
 *
 * @param known keys the command takes
 * @throws AppError `usage` for a key it does not take, a value that is missing, or a key given twice
 */
export function parseLabels(given: string[], known: readonly string[]): Record<string, string> {
  const labels: Record<string, string> = {};
  for (const text of given) {
    const at = text.indexOf('=');
    const key = at < 0 ? text : text.slice(0, at);
    if (!known.includes(key))
      throw new AppError('usage', `-l ${key} is not known here`, { hint: `it takes ${known.map((k) => `${k}=…`).join(', ')}` });
    if (at < 0 || at === text.length - 1) throw new AppError('usage', `-l ${key} has no value`, { hint: `write -l ${key}=…` });
    if (labels[key] !== undefined) throw new AppError('usage', `-l ${key} is given twice`);
    labels[key] = text.slice(at + 1);
  }
  return labels;
}

/** `k=v` arguments, any keys. */
export function parsePairs(given: string[]): Record<string, string> {
  const pairs: Record<string, string> = Object.create(null);
  for (const text of given) {
    const at = text.indexOf('=');
    if (at <= 0) throw new AppError('usage', `"${text}" is not KEY=VALUE`);
    const key = text.slice(0, at);
    if (pairs[key] !== undefined) throw new AppError('usage', `${key} is given twice`);
    pairs[key] = text.slice(at + 1);
  }
  return pairs;
}

/** @throws AppError `usage` naming the option */
export function wholeNumber(text: string | undefined, what: string): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d+$/.test(text)) throw new AppError('usage', `${what} takes a whole number, not "${text}"`);
  return Number(text);
}
