import type { Records } from '#core/consul/records.ts';
import type { NewEvent } from '#pool/events.ts';

/** What the controllers of all services with data do with the status that they come to. */

interface Status {
  status: string;
  sentence: string;
  time: string;
}

/** Pure: told when the word is another one than before. */
export function statusEvents(object: string, name: string, before: Status | undefined, now: Status): NewEvent[] {
  if (before === undefined || before.status === now.status) return [];
  const kind = now.status === 'READY' || now.status === 'PENDING' || now.status === 'PAUSED' ? 'info' : 'warning';
  return [{ object, kind, reason: now.status.toLowerCase(), sentence: `${name} is ${now.status}: ${now.sentence}` }];
}

/** Written only when something but the time is different: others wake by it. */
export async function writeStatus<S extends Status>(
  statuses: Pick<Records<S>, 'update'>,
  key: string,
  before: S | undefined,
  status: S,
): Promise<void> {
  const still = ({ time: _, ...rest }: S) => JSON.stringify(rest);
  if (before !== undefined && still(before) === still(status)) return;
  await statuses.update(key, () => status);
}
