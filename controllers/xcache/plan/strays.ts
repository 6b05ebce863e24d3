import { lossOf } from '#pool/lost-host.ts';
import type { ServiceStep } from '#pool/service-plan.ts';
import { answers, placementsOf } from '#pool/service-world.ts';
import { type Observed, shardsOf, writableMaster } from '#xcache/plan/world.ts';
import type { CacheSpec } from '#xcache/schema.ts';

/** Pure: members that are not wanted any more, where they were dropped or come back on a host that was thought lost. What they hold, others hold by then. */
export function planStrays(spec: CacheSpec, observed: Observed, now: Date): ServiceStep[] {
  const ids = new Set(spec.members.map(({ id }) => id));
  const placed = new Map(placementsOf(spec, observed).map((placement) => [placement.member, placement]));
  const steps: ServiceStep[] = [];
  for (const report of observed.reports) {
    const placement = placed.get(report.id);
    const isHere = placement === undefined || placement.host === report.host;
    if ((ids.has(report.id) && isHere) || !isNeedless(report.id, spec, observed)) continue;
    const reason = `${report.id} is no member of ${spec.name} any more`;
    // Its place goes with it only where it was placed.
    steps.push({ do: 'remove', member: report.id, host: report.host, forGood: isHere && !ids.has(report.id), reason });
  }
  for (const [member, placement] of placed) {
    if (ids.has(member) || observed.reports.some((report) => report.id === member)) continue;
    if (lossOf(placement, observed, now).state === 'left') {
      steps.push({ do: 'release', member, host: placement.host, reason: 'its host is no longer in the pool' });
      continue;
    }
    const host = observed.hosts.find((candidate) => candidate.spec.id === placement.host);
    if (!answers(host, observed) || !isNeedless(member, spec, observed)) continue;
    steps.push({ do: 'remove', member, host: placement.host, forGood: true, reason: `${spec.name} is complete without ${member}` });
  }
  return steps;
}

/** Others lead and hold what it held; it is nobody that could be about to lead. */
export function isNeedless(member: string, spec: CacheSpec, observed: Pick<Observed, 'lead' | 'cluster'> & Observed): boolean {
  const { lead, cluster } = observed;
  if (spec.mode === 'cluster') {
    if (cluster === undefined || (cluster.slots[member] ?? 0) > 0) return false;
    return cluster.state === 'whole' || cluster.state === 'moving';
  }
  const master = writableMaster(observed);
  if (lead === undefined || master === undefined || !spec.members.some(({ id }) => id === master)) return false;
  if (master === member || lead.target?.id === member || lead.prev?.id === member) return false;
  const [shard] = shardsOf(spec, observed);
  const others = shard?.insync.filter((id) => id !== member && shard.members.includes(id)) ?? [];
  return spec.replicas === 0 || others.length > 0 || !lead.insync.some(({ id }) => id === member);
}
