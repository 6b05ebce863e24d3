import { changed, isMine, isReplica, mine, type Running, wait } from '#xdb/protocol/situation.ts';
import type { Step } from '#xdb/protocol/types.ts';

/** P1: the sync slave takes over when its leader is gone, or when it was told to. Safe at any time; these conditions only keep it from being needless. */
export function promote(s: Running): Step | undefined {
  const { sync, me, local, engine, budgets, guards } = s;
  if (sync.state !== 'open' || isReplica(s)) return undefined;
  if (guards.namedPromotes) {
    if (sync.sync?.id !== me || (guards.generation && !isMine(sync.sync, local))) return undefined;
  }
  if (!local.session || !engine.readOnly || local.reinit) return undefined;
  const leader = sync.leader.id;
  const why = whyNow(s);
  if (why === undefined) return undefined;
  if (engine.slave.broken !== undefined) {
    return wait('P', `${me} cannot take over from ${leader}: it stopped applying (${engine.slave.broken})`, `U7: ${engine.slave.broken}`);
  }
  const lacks = lacksWhatItAcknowledged(s);
  if (lacks !== undefined) return lacks;
  const { lagSeconds } = engine.slave;
  if (lagSeconds !== null && lagSeconds > budgets.lagSeconds) {
    return wait('P', `${me} takes over from ${leader} when it has applied what it received: ${lagSeconds} s to go`);
  }
  return {
    rule: 'P1',
    do: 'write',
    reason: `${me} takes over: ${why}`,
    write: {
      ...changed(s, { leader: mine(s), prev: sync.leader, sync: null, cand: null, state: 'promoting', epoch: sync.epoch + 1 }),
      takeLock: true,
    },
  };
}

/**
 * K2: a sanity check that no other rule rests on. A slave that lacks what it acknowledged must have lost it with its disk (a flush that was none): it would lead without it, and
 * nobody would know. An operator may say that the leader is gone for good (`db recover NAME --lost LEADER`).
 */
function lacksWhatItAcknowledged({ me, engine, sync }: Running): Step | undefined {
  if (engine.lacks === undefined) return undefined;
  const { acked, received } = engine.lacks;
  const why = `${me} does not take over from ${sync.leader.id}: it acknowledged up to ${acked} and has ${received}, its disk has lost the rest`;
  return wait('K2', why, `K2: ${why}`);
}

function whyNow(s: Running): string | undefined {
  const { records, sync, me, local, engine } = s;
  const leader = sync.leader.id;
  const order = records.move?.value;
  if (order !== undefined && order.target === me) {
    if (order.kind === 'failover') return `it was told to, instead of ${leader}`;
    if (order.state === 'blocked' && engine.moveReached) return `${leader} has stopped taking writes for it, and it has them all`;
  }
  if (records.paused) return undefined;
  if (local.leader.dead) return `${leader} is found dead from here and from another host`;
  if (records.lockHolder !== leader && !local.leader.heard) return `${leader} has lost its session and is not heard of`;
  return undefined;
}

/** P2–P5: this member leads and is not open yet. From the top each time. */
export function opening(s: Running): Step {
  const { engine, sync, me, memory, guards } = s;
  const { epoch } = sync;
  if (!engine.readOnly && guards.openBeforeWrites) {
    return { rule: 'D1', do: 'kill', reason: `${me} takes writes although its record is not open: the engine is killed` };
  }
  if (memory.stoppedReceiving !== epoch && guards.stopReceiving) {
    return {
      rule: 'P2',
      do: 'stop_receiving',
      epoch,
      reason: `${me} takes over: it receives nothing more from ${sync.prev?.id ?? 'its former leader'}`,
    };
  }
  if ((!engine.slave.drained || engine.relayUnapplied) && guards.drain) {
    if (engine.slave.broken !== undefined) {
      const why = `${me} cannot take over: it stopped applying (${engine.slave.broken})`;
      return wait('P3', why, `U7: ${why}`);
    }
    return { rule: 'P3', do: 'drain', reason: `${me} takes over: it applies what it has received` };
  }
  if (memory.forgotten !== epoch && guards.forgetMaster) {
    return { rule: 'P4', do: 'forget_master', epoch, reason: `${me} takes over: it forgets its former leader` };
  }
  if (!engine.semiSyncMaster && guards.semiSyncAwaited) {
    return {
      rule: 'P4',
      do: 'semi_sync_master',
      on: true,
      reason: `${me} takes over: its commits wait for a slave until the record says that it has none`,
    };
  }
  if (!guards.openBeforeWrites && engine.readOnly) {
    const reason = 'guard off: takes writes before the record says open';
    if (!s.local.disk.wasMaster) return { rule: 'O3', do: 'mark_master', was: true, reason };
    return { rule: 'O4', do: 'read_only', on: false, reason };
  }
  return {
    rule: 'P5',
    do: 'write',
    reason: `${me} has applied everything and is written down as open`,
    write: changed(s, { prev: null, sync: null, cand: null, state: 'open' }),
  };
}
