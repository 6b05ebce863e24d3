import { lossOf } from '#pool/lost-host.ts';
import { answers, placementsOf, sidecarOf } from '#pool/service-world.ts';
import type { Observed, Step } from '#xdb/plan/world.ts';
import type { DbSpec } from '#xdb/schema.ts';
import { fullMembers } from '#xdb/spec.ts';

/**
 * Pure: members that are not wanted any more, where they were dropped or come back on a host that was thought lost. Their containers are stopped once
 * another member leads, their data go once two members hold everything without them.
 */
export function planStrays(spec: DbSpec, observed: Observed, now: Date): Step[] {
  const ids = new Set(spec.members.map(({ id }) => id));
  const steps: Step[] = [];
  for (const report of observed.reports) {
    const placement = placementsOf(spec, observed).find((record) => record.member === report.id);
    if (ids.has(report.id) && (placement === undefined || placement.host === report.host)) continue;
    if (!leadsWithout(report.id, spec, observed)) continue;
    steps.push({
      do: 'remove',
      member: report.id,
      host: report.host,
      forGood: false,
      reason: `${report.id} is no member of ${spec.name} any more`,
    });
  }
  for (const placement of placementsOf(spec, observed)) {
    const { member, host: id } = placement;
    if (ids.has(member)) continue;
    if (lossOf(placement, observed, now).state === 'left') {
      steps.push({ do: 'release', member, host: id, reason: 'its host is no longer in the pool' });
      continue;
    }
    const host = observed.hosts.find((candidate) => candidate.spec.id === id);
    const runs = observed.reports.some((report) => report.id === member);
    if (runs || !answers(host, observed) || !isCompleteWithout(member, spec, observed)) continue;
    steps.push({ do: 'remove', member, host: id, forGood: true, reason: `${spec.name} is complete without the data of ${member}` });
  }
  return steps;
}

/** Another member leads, is open and lives, and this one is not the slave that would take over. */
function leadsWithout(member: string, spec: DbSpec, { sync, ...observed }: Observed): boolean {
  if (sync === undefined || sync.state !== 'open' || sync.leader.id === member || sync.sync?.id === member) return false;
  return fullMembers(spec).includes(sync.leader.id) && sidecarOf(sync.leader.id, observed)?.state === 'running';
}

/** …and, of a pair, a second one holds everything. */
export function isCompleteWithout(member: string, spec: DbSpec, observed: Observed): boolean {
  if (!leadsWithout(member, spec, observed)) return false;
  const slave = observed.sync?.sync?.id;
  return spec.role !== 'pair' || (slave !== undefined && fullMembers(spec).includes(slave));
}
