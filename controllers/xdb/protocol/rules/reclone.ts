import { hasDiverged } from '#xdb/protocol/rules/follow.ts';
import { changed, isMine, type Running, type Situation, wait } from '#xdb/protocol/situation.ts';
import type { Step } from '#xdb/protocol/types.ts';

/** R1, R2: a copy that cannot follow any more makes way for a new one. While it led before somebody who promotes, it may be needed (T). */
export function reclone(s: Running): Step | undefined {
  const { sync, engine, local, me } = s;
  if (sync.leader.id === me || sync.state !== 'open' || local.leader.dead) return undefined;
  const why = whyNew(s);
  if (why === undefined) return undefined;
  if (!engine.readOnly || engine.waiters > 0) return undefined;
  // Also when nothing names it: a late write that does dies by the new index.
  if (s.guards.withdraw && s.memory.withdrawn !== s.index) return withdrawal(s, why);
  return {
    rule: 'R2',
    do: 'wipe',
    reason: `${why}: its data are thrown away and copied anew from ${sync.leader.id}`,
  };
}

function whyNew(s: Running): string | undefined {
  const { me, engine, sync, local } = s;
  if (local.reinit) return `${me} is to be made anew`;
  if (hasDiverged(s)) return `${me} holds what ${sync.leader.id} does not have`;
  if (engine.slave.broken !== undefined) return `${me} cannot follow ${sync.leader.id} any more (${engine.slave.broken})`;
  return undefined;
}

/**
 * R1: nobody may be named, or believed ready, whose data are about to go (or whose engine is to stop).
 * @returns undefined when the records name nothing of this member
 */
export function withdraw(s: Situation, why: string): Step | undefined {
  const data = s.records.data[s.me];
  const named = s.sync.sync?.id === s.me || (data !== undefined && data.value.ready !== null);
  return named && s.guards.withdraw ? withdrawal(s, why) : undefined;
}

function withdrawal(s: Situation, why: string): Step {
  const { sync, me, records } = s;
  const data = records.data[me];
  return {
    rule: 'R1',
    do: 'write',
    reason: `${why}: first the record says that ${sync.leader.id} has no sync slave`,
    write: {
      ...changed(s, sync.sync?.id === me ? { sync: null, cand: null } : {}),
      ...(data === undefined ? {} : { withdrawReady: { at: data.index } }),
    },
  };
}

/** G1: the record names this member as sync slave, and means data that are gone, or of which something may be (`sidecar/own-disk.ts`). */
export function withdrawGone(s: Situation): Step | undefined {
  const { sync, me, local } = s;
  if (sync.state !== 'open' || sync.leader.id === me) return undefined;
  const named = sync.sync?.id === me && !isMine(sync.sync, local);
  const ready = local.disk.gen === undefined && s.records.data[me]?.value.ready != null;
  const why =
    local.disk.gen === undefined
      ? `the copy of ${me} that the records mean is gone`
      : `the records mean data of ${me} as they were before its host was started anew`;
  return named || ready ? withdraw(s, why) : undefined;
}

/** R3: a copy of the leader's data. */
export function clone(s: Situation): Step | undefined {
  const { sync, me, local } = s;
  if (local.disk.gen !== undefined || sync.leader.id === me || local.engine.state !== 'down') return undefined;
  const leader = sync.leader.id;
  if (sync.state !== 'open') return wait('S4', `${me} has no data and takes a copy of ${leader}'s as soon as that is open`);
  return { rule: 'R3', do: 'clone', leader, reason: `${me} takes a copy of ${leader}'s data` };
}
