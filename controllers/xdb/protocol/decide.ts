import { adopt, unreachable } from '#xdb/protocol/rules/adopt.ts';
import { alone, back, returning } from '#xdb/protocol/rules/back.ts';
import { birth } from '#xdb/protocol/rules/birth.ts';
import { deposed, quiesced } from '#xdb/protocol/rules/deposed.ts';
import { end, leave } from '#xdb/protocol/rules/end.ts';
import { fallBackIfDue } from '#xdb/protocol/rules/fallback.ts';
import { follow, leaveOthers } from '#xdb/protocol/rules/follow.ts';
import { lock } from '#xdb/protocol/rules/lock.ts';
import { diskGuard, diskWait, open, openTo } from '#xdb/protocol/rules/open.ts';
import { opening, promote } from '#xdb/protocol/rules/promote.ts';
import { clone, reclone, withdrawGone } from '#xdb/protocol/rules/reclone.ts';
import { overdue, recordsLost, withoutRecords } from '#xdb/protocol/rules/records-lost.ts';
import { start } from '#xdb/protocol/rules/start.ts';
import { switchover } from '#xdb/protocol/rules/switchover.ts';
import { takeBack } from '#xdb/protocol/rules/takeback.ts';
import { cutOver, upstream } from '#xdb/protocol/rules/upstream.ts';
import { type Running, type Situation, seconds, situationOf, wait } from '#xdb/protocol/situation.ts';
import { type Decide, GUARDS, type Local, type Step } from '#xdb/protocol/types.ts';

/**
 * The next step of a member's sidecar, from the records and what it sees here. Rules by their letters: `rules/`. Every step may come to nothing at any point, be
 * done late, or be done without our knowing: the next turn looks again (A4).
 */
export const decide: Decide = (records, local, budgets, guards = GUARDS) => {
  const hung = unreachable(local, budgets);
  if (hung !== undefined) return hung;
  if (records === undefined) return withoutRecords(local, budgets, guards);
  const lost = recordsLost(records, local, budgets);
  if (lost !== undefined) return lost;
  const s = situationOf(records, local, budgets, guards);
  if (s === undefined) return byFreshRecords(birth(records, local), local, budgets.consulMs);
  const step = s.local.engine.state === 'running' ? running({ ...s, engine: s.local.engine }) : notRunning(s);
  return byFreshRecords(step, local, budgets.consulMs);
};

function notRunning(s: Situation): Step {
  const { state } = s.local.engine;
  if (state === 'starting') return wait('starting', `the engine of ${s.me} is starting`);
  if (state === 'unreachable') return wait('starting', `the engine of ${s.me} does not answer`);
  return leave(s) ?? withdrawGone(s) ?? takeBack(s) ?? clone(s) ?? start(s);
}

function running(s: Running): Step {
  const { sync, me } = s;
  if (s.leads) return sync.state === 'open' ? leading(s) : (adopt(s) ?? end(s) ?? opening(s));
  if (sync.leader.id === me) {
    return { rule: 'G1', do: 'kill', reason: `the record means other data of ${me} than are here: the engine is killed` };
  }
  return deposed(s) ?? adopt(s) ?? end(s) ?? following(s);
}

/** The record is open and names this member as its leader. */
function leading(s: Running): Step {
  return (
    adoptOrKill(s) ??
    fallBackIfDue(s, returning(s)) ??
    end(s) ??
    switchover(s) ??
    upstream(s) ??
    cutOver(s) ??
    lock(s, 'first') ??
    open(s) ??
    diskGuard(s) ??
    lock(s, 'late') ??
    back(s) ??
    openTo(s) ??
    alone(s) ??
    diskWait(s) ??
    wait('idle', `${s.me} leads${s.sync.sync === null ? '' : ` with ${s.sync.sync.id} as its sync slave`}`)
  );
}

/** U4 comes before A1, which may take as long as commits wait. */
const adoptOrKill = (s: Running): Step | undefined => {
  const due = overdue(s.local, s.budgets);
  // What can still be done about it properly is one step away.
  const step = fallBackIfDue(s, returning(s));
  return (due !== undefined && step?.rule !== 'F2' ? due : undefined) ?? adopt(s);
};

/** Another leads, and this member neither writes nor waits. */
function following(s: Running): Step {
  return promote(s) ?? takeBack(s) ?? leaveOthers(s) ?? quiesced(s) ?? withdrawGone(s) ?? reclone(s) ?? follow(s);
}

/** Steps that are right only by records that hold now. What protects (kill, read-only, semi-sync) is right by old ones too. */
const NEEDS_FRESH: ReadonlySet<Step['do']> = new Set([
  'initialise',
  'start',
  'write',
  'publish',
  'move',
  'take_lock',
  'wipe',
  'clone',
  'compare',
  'follow',
  'follow_upstream',
  'forget_master',
]);

/** S0, H10: while Consul is away nothing is changed, and what the slave acknowledges goes on. */
function byFreshRecords(step: Step, local: Local, consulMs: number): Step {
  const opens = step.do === 'read_only' && !step.on;
  if (local.consulAgeMs < consulMs || !(opens || NEEDS_FRESH.has(step.do))) return step;
  return wait('S0', `Consul has not answered for ${seconds(local.consulAgeMs)}: everything stays as it is (due: ${step.reason})`);
}
