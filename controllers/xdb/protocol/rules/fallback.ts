import { changed, type Running, seconds } from '#xdb/protocol/situation.ts';
import type { Step } from '#xdb/protocol/types.ts';

/** F1 was done: the record still is the one that we wrote with `sync: null`, and we know that it is ours. */
export function noneConfirmed(s: Running): boolean {
  if (!s.guards.recordBeforeAsync) return true;
  if (s.sync.sync !== null) return false;
  if (!s.guards.freshNone) return true;
  return s.memory.noneIndex === s.index;
}

/**
 * F: semi-sync off, but only after the record names no slave any more. The record is written also when it says so already: a late write of ours that names one
 * dies by the new index.
 */
export function fallBack(s: Running, why: string): Step {
  if (!noneConfirmed(s)) {
    return {
      rule: 'F1',
      do: 'write',
      reason: `${why}: first the record says that no slave is in sync`,
      write: changed(s, { sync: null, cand: null }),
    };
  }
  // A connection whose acknowledgements were lost goes on trying at ever longer intervals; a new one shows at once whether there is a way.
  const cut = s.engine.waiters > 0;
  return { rule: 'F2', do: 'semi_sync_master', on: false, cut, reason: `${why}: commits no longer wait for a slave` };
}

/**
 * F for what a leader that is open sees: commits that wait too long, semi-sync that lapsed (H13), a slave that is to be replaced, or nobody who could become
 * one.
 */
export function fallBackIfDue(s: Running, returning: boolean): Step | undefined {
  const { engine, sync, budgets, me, guards, records } = s;
  const who = sync.sync?.id ?? sync.cand?.id ?? 'a slave';
  if (engine.semiSyncMaster && engine.waiters > 0 && engine.waitAgeMs >= budgets.waitMs) {
    return fallBack(s, `commits have waited ${seconds(engine.waitAgeMs)} for ${who}`);
  }
  if (
    sync.sync !== null &&
    guards.semiSyncAwaited &&
    guards.recordBeforeAsync &&
    (engine.semiSyncLapsed || (!engine.readOnly && !engine.semiSyncMaster))
  ) {
    return fallBack(s, `commits of ${me} were not held for ${who}`);
  }
  if (sync.sync !== null && !records.members.includes(sync.sync.id)) return fallBack(s, `${sync.sync.id} is no member any more`);
  if (sync.sync === null && engine.semiSyncMaster && !engine.readOnly && !returning) return fallBack(s, `${me} has no slave to wait for`);
  return undefined;
}
