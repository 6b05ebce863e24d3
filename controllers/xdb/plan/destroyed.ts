import { answers, type Observed, placementsOf, type Step } from '#xdb/plan/world.ts';
import type { DbSpec } from '#xdb/schema.ts';

/** How long the data of a destroyed database is kept unless it was said otherwise. */
export const GRACE_MS = 7 * 86_400_000;

/** When the data of a destroyed database goes; undefined while it is kept for good. */
export function goesAt(destroyed: NonNullable<DbSpec['destroyed']>): Date | undefined {
  if (destroyed.purge) return new Date(destroyed.time);
  return destroyed.keepData ? undefined : new Date(Date.parse(destroyed.time) + GRACE_MS);
}

/**
 * Pure: the members go at once, the data after the grace period. Until then the records stay as they are, and so does the room on the disks: the
 * database can be brought back whole.
 */
export function planDestroyed(spec: DbSpec, observed: Observed, now: Date): Step[] {
  const { destroyed } = spec;
  if (destroyed === undefined) return [];
  const end = goesAt(destroyed);
  const forGood = end !== undefined && end <= now;
  const reason =
    forGood && !destroyed.purge ? `${spec.name} was destroyed, and the time its data were kept is over` : `${spec.name} is destroyed`;
  const running = observed.reports.map((report): Step => ({ do: 'remove', member: report.id, host: report.host, forGood, reason }));
  if (running.length > 0) return running;
  const placements = placementsOf(spec, observed);
  if (!forGood) {
    return placements
      .filter((placement) => placement.cpus > 0 || placement.memoryBytes > 0)
      .map(({ member, diskBytes }) => ({ do: 'reserve', member, cpus: 0, memoryBytes: 0, diskBytes, reason }));
  }
  const steps = placements.flatMap(({ member, host: id }): Step[] => {
    const host = observed.hosts.find((candidate) => candidate.spec.id === id);
    if (host === undefined) return [{ do: 'release', member, host: id, reason }];
    // What lies on a host that does not answer is removed when it is back.
    return answers(host, observed) ? [{ do: 'remove', member, host: id, forGood, reason }] : [];
  });
  if (steps.length > 0 || placements.length > 0) return steps;
  return [{ do: 'forget', reason: `nothing of ${spec.name} is left` }];
}
