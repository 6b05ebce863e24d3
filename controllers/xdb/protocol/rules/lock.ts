import type { Running } from '#xdb/protocol/situation.ts';
import type { Step } from '#xdb/protocol/types.ts';

/**
 * The lock says who is alive, and no more: safety comes from the record. A leader takes it when nobody has it, before it opens if that is possible, later if not: a
 * slave that sees it free may take over.
 */
export function lock(s: Running, when: 'first' | 'late'): Step | undefined {
  const { records, local, memory, me } = s;
  if (records.lockHolder !== undefined || !local.session) return undefined;
  if (when === 'first' && memory.lockRefused) return undefined;
  return { rule: 'lock', do: 'take_lock', reason: `${me} leads and takes the lock that says that it lives` };
}
