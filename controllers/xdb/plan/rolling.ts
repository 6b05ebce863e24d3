import { isOutdated } from '#pool/service-plan.ts';
import { answers, hostOf, isPaused, placementOf, reportOf, sidecarOf } from '#pool/service-world.ts';
import { memberSpec } from '#xdb/plan/member-spec.ts';
import { follows, isMoving, type Observed, type Step, writableLeader } from '#xdb/plan/world.ts';
import type { DbSpec } from '#xdb/schema.ts';
import { fullMembers, memberIds } from '#xdb/spec.ts';

/** Milliseconds after a switchover of a rolling change has failed until the next one is tried. */
const RETRY_MS = 60_000;

/** How an order is named that a rolling change gave; the time is in it, because an order has none. */
export function rollingId(now: Date): string {
  return `rolling ${now.toISOString()}`;
}

/** What a member that runs still has to be given: another container, or another start of its engine. */
export function pendingChange(spec: DbSpec, member: string, observed: Observed): 'container' | 'engine' | undefined {
  if (isOutdated(member, observed, (placement) => memberSpec(spec, placement, observed))) return 'container';
  if (reportOf(member, observed)?.state !== 'running') return undefined;
  const said = sidecarOf(member, observed);
  return said !== undefined && said.restartSerial < spec.restartSerial ? 'engine' : undefined;
}

/**
 * Pure: a change that takes a member away for a moment, one member a time. First whoever does not lead; the leader last, after it has handed over. The
 * only exceptions are a database with one member, and one that was never born and holds nothing.
 *
 * Invariants: of a pair the leader is never replaced; the slave that holds everything only while the leader takes writes; nobody while it is paused, or
 * while the leader is changing.
 */
export function planRolling(spec: DbSpec, observed: Observed, now: Date): Step | undefined {
  if (isPaused(spec, now)) return undefined;
  const needing = memberIds(spec).filter(
    (member) => pendingChange(spec, member, observed) !== undefined && answers(hostOf(member, observed), observed),
  );
  const [first] = needing;
  if (first === undefined) return undefined;
  const { sync, birth } = observed;
  if (sync === undefined) return birth?.done === true ? undefined : changeOf(spec, first, observed);
  const leader = sync.leader.id;
  if (fullMembers(spec).length === 1 && sync.state === 'open') {
    return changeOf(spec, needing.find((member) => member !== leader) ?? leader, observed);
  }
  if (writableLeader(observed) === undefined || isMoving(observed.move)) return undefined;
  const others = needing.filter((member) => member !== leader);
  // Who is about to be made the slave is let be until it is.
  const next = others.find((member) => sync.cand?.id !== member);
  if (next !== undefined) return changeOf(spec, next, observed);
  return others.length > 0 ? undefined : planHandOver(observed, now);
}

function planHandOver(observed: Observed, now: Date): Step | undefined {
  const target = observed.sync?.sync?.id;
  if (target === undefined || !follows(target, observed)) return undefined;
  const { move } = observed;
  const failed = move?.state === 'failed' ? /^rolling (\S+)$/.exec(move.id)?.[1] : undefined;
  if (failed !== undefined && now.getTime() - Date.parse(failed) < RETRY_MS) return undefined;
  return { do: 'switchover', target, reason: `${observed.sync?.leader.id} is to be changed, and hands over first` };
}

function changeOf(spec: DbSpec, member: string, observed: Observed): Step | undefined {
  const placement = placementOf(member, observed);
  if (placement === undefined) return undefined;
  if (pendingChange(spec, member, observed) === 'engine') {
    return { do: 'restart', member, host: placement.host, reason: `its engine is to be restarted (${spec.restartSerial})` };
  }
  const wanted = memberSpec(spec, placement, observed);
  return { do: 'ensure', member, host: placement.host, spec: wanted, replaces: true, reason: `it runs with another specification` };
}
