import { type Running, seconds, wait } from '#xdb/protocol/situation.ts';
import type { Indexed, Step } from '#xdb/protocol/types.ts';
import type { MoveOrder } from '#xdb/schema.ts';

/** W, the leader's side: an ordered change of the master. The target's side is an ordinary promotion (P1). */
export function switchover(s: Running): Step | undefined {
  const { move } = s.records;
  if (move === undefined) return undefined;
  if (move.value.state === 'asked') return asked(s, move);
  return move.value.state === 'blocked' ? blocked(s, move) : undefined;
}

function asked(s: Running, move: Indexed<MoveOrder>): Step {
  const { sync, me, engine, memory, guards } = s;
  const { id, target, kind } = move.value;
  const end = (state: 'done' | 'failed', reason: string): Step => ({
    rule: 'W',
    do: 'move',
    at: move.index,
    state,
    reason,
    ...(state === 'failed' ? { error: reason } : {}),
  });
  if (target === me) return end('done', `${me} leads, as was ordered`);
  const heir = sync.sync?.id;
  if (heir === undefined) return end('failed', `${me} has no sync slave that could lead instead`);
  if (target !== undefined && target !== heir) return end('failed', `${target} is not the sync slave of ${me}, ${heir} is`);
  if (kind === 'failover')
    return target === undefined ? end('failed', 'the order names nobody') : wait('W2', `${heir} was told to take over from ${me}`);
  if (engine.busy !== undefined && !engine.readOnly) return end('failed', `${me} is busy: ${engine.busy}`);
  if (memory.blockRefused === id) return end('failed', `${me} could not stop taking writes: commits, locks or statements did not make way`);
  const quiet = engine.readOnly && engine.waiters === 0;
  if (!guards.readOnlyBeforeKill && memory.usersKilled !== id) {
    return { rule: 'W1', do: 'kill_users', order: id, reason: 'guard off: sends users away before it is read-only' };
  }
  if (!quiet) {
    if (engine.readOnly) return wait('W2', `${engine.waiters} commits of ${me} wait for ${heir} before it hands over`);
    return { rule: 'W1', do: 'read_only', on: true, order: id, reason: `${me} stops taking writes: ${heir} is to lead` };
  }
  if (memory.usersKilled !== id)
    return { rule: 'W1', do: 'kill_users', order: id, reason: `${me} ends its users' connections: ${heir} is to lead` };
  return {
    rule: 'W2',
    do: 'move',
    at: move.index,
    state: 'blocked',
    target: heir,
    gtid: 'sample',
    reason: `${me} takes no more writes: ${heir} takes over when it has everything`,
  };
}

function blocked(s: Running, move: Indexed<MoveOrder>): Step {
  const { me, engine, local, budgets } = s;
  const { target, id } = move.value;
  if (target === me) return { rule: 'W', do: 'move', at: move.index, state: 'done', reason: `${me} leads, as was ordered` };
  if (!engine.readOnly) {
    // Taken up again after a restart of the engine, or given up.
    return {
      rule: 'W',
      do: 'move',
      at: move.index,
      state: 'failed',
      error: 'the leader took writes again',
      reason: `${me} leads on: the order was given up`,
    };
  }
  if (local.moveAgeMs < budgets.moveMs) return wait('W2', `${me} takes no writes: ${target ?? 'the sync slave'} is to take over (${id})`);
  const reason = `${target ?? 'the sync slave'} did not take over within ${seconds(local.moveAgeMs)}: ${me} leads on`;
  return { rule: 'W', do: 'move', at: move.index, state: 'failed', error: reason, reason };
}
