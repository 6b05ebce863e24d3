import type { MemberStatus } from '#xdb/schema.ts';

/** How long the archive may fail before it counts: what passes by itself is no alarm, in milliseconds. */
const FAILING_MS = 2 * 60_000;

/** What was committed since then is in no backup, and nobody may have noticed. **Pure.** */
export function archiveAlarm(sidecars: readonly Pick<MemberStatus, 'member' | 'archive'>[], now: Date): string | undefined {
  // Where one member archives, the archive has everything.
  if (sidecars.some(({ archive }) => archive?.active)) return undefined;
  const failing = sidecars.find(({ archive }) => now.getTime() - Date.parse(archive?.failingSince ?? '') >= FAILING_MS);
  if (failing?.archive === undefined) return undefined;
  return `${failing.member} does not archive since ${failing.archive.failingSince}: ${failing.archive.sentence}`;
}
