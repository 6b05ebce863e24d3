import { isOutdated, type ServiceStep } from '#pool/service-plan.ts';
import { answers, hostOf, isPaused, placementOf, sidecarOf } from '#pool/service-world.ts';
import { memberSpec } from '#xcache/plan/member-spec.ts';
import { isMoving, memberIds, type Observed, type Shard, shardsOf } from '#xcache/plan/world.ts';
import type { CacheSpec } from '#xcache/schema.ts';

/** Milliseconds after a switchover of a rolling change has failed until the next one is tried. */
const RETRY_MS = 60_000;

/** How an order is named that a rolling change gave; the time is in it, because an order has none. */
export function rollingId(now: Date): string {
  return `rolling ${now.toISOString()}`;
}

/** True while a member that runs has yet to get the last change. */
export function isPending(spec: CacheSpec, member: string, observed: Observed): boolean {
  return isOutdated(member, observed, (placement) => memberSpec(spec, placement, observed));
}

/**
 * Pure: a change that takes a member away for a moment, one member a time: of each shard first whoever does not lead, the master last, after it has handed over. The only
 * exceptions are a shard with one member, and a cache that was never born and holds nothing.
 *
 * Invariants: a master with replicas is replaced only in a cluster, where the engine hands over by itself; a replica in sync only while the master takes writes, and, of
 * several, while another one is in sync; a master hands over once all others whose hosts answer are in sync; nobody while it is paused, or while the master is changing.
 */
export function planRolling(spec: CacheSpec, observed: Observed, now: Date): ServiceStep | undefined {
  if (isPaused(spec, now)) return undefined;
  const needing = new Set(
    memberIds(spec).filter((member) => isPending(spec, member, observed) && answers(hostOf(member, observed), observed)),
  );
  const [first] = needing;
  if (first === undefined) return undefined;
  if (observed.lead === undefined && observed.cluster === undefined)
    return observed.birth?.done === true ? undefined : changeOf(spec, first, observed);
  if (isMoving(observed.move) || (observed.cluster !== undefined && observed.cluster.state !== 'whole')) return undefined;
  for (const shard of shardsOf(spec, observed)) {
    const step = planShard(spec, shard, needing, observed, now);
    if (step !== undefined) return step;
  }
  return undefined;
}

function planShard(spec: CacheSpec, shard: Shard, needing: ReadonlySet<string>, observed: Observed, now: Date): ServiceStep | undefined {
  const { members, master, insync } = shard;
  const here = members.filter((member) => needing.has(member));
  const [any] = here;
  if (any === undefined) return undefined;
  if (members.length === 1) return changeOf(spec, any, observed);
  if (master === undefined) return undefined;
  const next = here.find((member) => member !== master && (spec.replicas < 2 || insync.some((other) => other !== member)));
  if (next !== undefined) return changeOf(spec, next, observed);
  if (here.some((member) => member !== master)) return undefined;
  const target = insync.find((member) => !needing.has(member));
  if (target === undefined) return undefined;
  if (spec.mode === 'cluster') return changeOf(spec, master, observed);
  return members.some((member) => member !== master && comesUp(member, insync, observed))
    ? undefined
    : planHandOver(master, target, observed, now);
}

/** Its endpoint leads to where it led before it was made anew, until its sidecar has read the record: clients there would not be told of a new master. */
function comesUp(member: string, insync: readonly string[], observed: Observed): boolean {
  return !insync.includes(member) && answers(hostOf(member, observed), observed) && sidecarOf(member, observed)?.state !== 'failed';
}

function planHandOver(master: string, target: string, { move }: Observed, now: Date): ServiceStep | undefined {
  const failed = move?.state === 'failed' ? /^rolling (\S+)$/.exec(move.id)?.[1] : undefined;
  if (failed !== undefined && now.getTime() - Date.parse(failed) < RETRY_MS) return undefined;
  return { do: 'switchover', target, reason: `${master} is to be changed, and hands over first` };
}

function changeOf(spec: CacheSpec, member: string, observed: Observed): ServiceStep | undefined {
  const placement = placementOf(member, observed);
  if (placement === undefined) return undefined;
  const wanted = memberSpec(spec, placement, observed);
  return { do: 'ensure', member, host: placement.host, spec: wanted, replaces: true, reason: `it runs with another specification` };
}
