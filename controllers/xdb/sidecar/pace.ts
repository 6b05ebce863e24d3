import type { Turn } from './turn.ts';

/** Between two looks when nothing is heard of meanwhile, in milliseconds: records and the supervisor tell of themselves, the engine does not. */
export const PACE = { rest: 1000, work: 500, underWay: 100 } as const;

/** The leader's heartbeat is acknowledged once a second; more than that is somebody's work. */
const HEARTBEATS = 3;

/** Pure: how soon to look again. @param acknowledgedBefore commits that were acknowledged at the look before */
export function paceOf(turn: Turn, acknowledgedBefore: number | undefined): number {
  const { local, view, facts, step } = turn;
  const { engine } = local;
  const sync = view?.protocol.sync?.value;
  if (engine.state === 'starting' || engine.state === 'unreachable') return PACE.underWay;
  if (engine.state === 'running' && engine.waiters > 0 && engine.waitAgeMs > 500) return PACE.underWay;
  if (sync?.state === 'promoting' || sync?.cand != null || view?.protocol.move !== undefined || local.stopping !== undefined)
    return PACE.underWay;
  if (step.do !== 'wait' || step.rule !== 'idle' || engine.state !== 'running' || facts === undefined) return PACE.work;
  // Commits that begin to hang are to be seen soon.
  const works = facts.waiters > 0 || acknowledgedBefore === undefined || facts.acknowledged - acknowledgedBefore > HEARTBEATS;
  return works ? PACE.work : PACE.rest;
}
