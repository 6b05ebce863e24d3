import { type Running, wait } from '#xdb/protocol/situation.ts';
import type { Step } from '#xdb/protocol/types.ts';

/** D1: another leads. Whoever writes or waits here must hear nothing: SIGKILL, never SIGTERM, never semi-sync off. */
export function deposed(s: Running): Step | undefined {
  const { engine, sync, me, guards } = s;
  if (engine.readOnly && engine.waiters === 0) return undefined;
  if (!guards.killDeposed && engine.semiSyncMaster) {
    return { rule: 'D2', do: 'semi_sync_master', on: false, reason: 'guard off: releases its waiters' };
  }
  const what = engine.readOnly ? `${engine.waiters} commits wait in ${me}` : `${me} takes writes`;
  return { rule: 'D1', do: 'kill', reason: `${what}, but ${sync.leader.id} leads: the engine is killed` };
}

/** D2: quiet already; it can become a slave in place once its successor is open. */
export function quiesced(s: Running): Step | undefined {
  const { engine, sync, me } = s;
  if (!engine.semiSyncMaster) return undefined;
  if (sync.state === 'promoting') return wait('D2', `${me} has stopped taking writes and stays as it is until ${sync.leader.id} is open`);
  return { rule: 'D2', do: 'semi_sync_master', on: false, reason: `${me} led before ${sync.leader.id} and becomes its slave` };
}
