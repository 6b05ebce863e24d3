import type { ServiceStep } from '#pool/service-plan.ts';
import { answers, placementsOf, type SeenService } from '#pool/service-world.ts';

/** How long the data of a destroyed service is kept unless it was said otherwise. */
export const GRACE_MS = 7 * 86_400_000;

interface Destroyed {
  name: string;
  destroyed?: { time: string; keepData: boolean; purge: boolean } | undefined;
}

/** When the data of a destroyed service goes; undefined while it is kept for good. */
export function goesAt(destroyed: NonNullable<Destroyed['destroyed']>): Date | undefined {
  if (destroyed.purge) return new Date(destroyed.time);
  return destroyed.keepData ? undefined : new Date(Date.parse(destroyed.time) + GRACE_MS);
}

/** `adb was destroyed at …; its data are kept until …` */
export function keptSentence({ name, destroyed }: Destroyed): string {
  const end = destroyed === undefined ? undefined : goesAt(destroyed);
  if (destroyed === undefined || destroyed.purge) return `${name} is being removed`;
  return `${name} was destroyed at ${destroyed.time}; its data are kept ${end === undefined ? 'until they are purged' : `until ${end.toISOString()}`}`;
}

/** @param kind first word of its verbs */
export function keptHint(kind: string, { name }: Pick<Destroyed, 'name'>): string {
  return `${kind} undestroy ${name} brings it back, ${kind} destroy ${name} --purge lets its data go`;
}

/** The status of one that is destroyed. @param kind first word of its verbs */
export function destroyedVerdict(kind: string, spec: Destroyed, observed: SeenService) {
  const { name, destroyed } = spec;
  const hosts = placementsOf(spec, observed).flatMap(({ host: id }) => observed.hosts.find((host) => host.spec.id === id) ?? []);
  const waiting = hosts.filter((host) => !answers(host, observed)).map((each) => each.spec.name);
  const after = waiting.length === 0 ? '' : `; ${[...new Set(waiting)].join(', ')} does not answer and is waited for`;
  if (destroyed?.purge || observed.reports.length > 0)
    return { status: 'PENDING' as const, sentence: `${name} is being removed${after}`, next: [] };
  return {
    status: 'PENDING' as const,
    code: 'not_found',
    sentence: `${keptSentence(spec)}${after}`,
    next: [`${kind} undestroy ${name}`, `${kind} destroy ${name} --purge`],
  };
}

/**
 * Pure: the members go at once, the data after the grace period. Until then the records stay as they are, and so does the room on the disks: the
 * service can be brought back whole.
 */
export function planDestroyed(spec: Destroyed, observed: SeenService, now: Date): ServiceStep[] {
  const { destroyed } = spec;
  if (destroyed === undefined) return [];
  const end = goesAt(destroyed);
  const forGood = end !== undefined && end <= now;
  const reason =
    forGood && !destroyed.purge ? `${spec.name} was destroyed, and the time its data were kept is over` : `${spec.name} is destroyed`;
  const running = observed.reports.map((report): ServiceStep => ({ do: 'remove', member: report.id, host: report.host, forGood, reason }));
  if (running.length > 0) return running;
  const placements = placementsOf(spec, observed);
  if (!forGood) {
    return placements
      .filter((placement) => placement.cpus > 0 || placement.memoryBytes > 0)
      .map(({ member, diskBytes }) => ({ do: 'reserve', member, cpus: 0, memoryBytes: 0, diskBytes, reason }));
  }
  const steps = placements.flatMap(({ member, host: id }): ServiceStep[] => {
    const host = observed.hosts.find((candidate) => candidate.spec.id === id);
    if (host === undefined) return [{ do: 'release', member, host: id, reason }];
    // What lies on a host that does not answer is removed when it is back.
    return answers(host, observed) ? [{ do: 'remove', member, host: id, forGood, reason }] : [];
  });
  if (steps.length > 0 || placements.length > 0) return steps;
  return [{ do: 'forget', reason: `nothing of ${spec.name} is left` }];
}
