import { withdraw } from '#xdb/protocol/rules/reclone.ts';
import { type Running, type Situation, wait } from '#xdb/protocol/situation.ts';
import type { Step } from '#xdb/protocol/types.ts';

const ORDER = 'end';

/**
 * A planned end of the engine: the member leaves, or its engine is started anew. A leader takes no more writes first (W1), so that nobody waits when it is killed;
 * its sync slave then takes over by an ordinary promotion. A slave lets its leader fall back first, so that no commit waits for it. The end is always SIGKILL:
 * SIGTERM acknowledges what waits.
 */
export function end(s: Running): Step | undefined {
  const { local, engine, me, sync, budgets, memory } = s;
  const { stopping } = local;
  if (stopping === undefined) return undefined;
  const word = stopping.then === 'leave' ? 'ends' : 'is started anew';
  const kill = (reason: string): Step => ({ rule: 'end', do: 'kill', reason });
  if (stopping.ageMs >= budgets.endMs) return kill(`${me} ${word}; it could not be prepared in time`);
  if (!s.leads) {
    const leaving = sync.state === 'open' ? withdraw(s, `${me} ${word}`) : undefined;
    return leaving ?? kill(`${me} ${word}: nobody waits for it`);
  }
  if (sync.state === 'promoting' || memory.blockRefused === ORDER) return kill(`${me} ${word}`);
  if (!engine.readOnly) return { rule: 'end', do: 'read_only', on: true, order: ORDER, reason: `${me} ${word}: it stops taking writes` };
  if (engine.waiters > 0) return wait('end', `${me} ${word} when ${engine.waiters} commits have been acknowledged`);
  return kill(`${me} ${word}: ${sync.sync === null ? 'it takes no more writes' : `${sync.sync.id} has everything and takes over`}`);
}

/** The engine is down: a member that was to leave does. */
export function leave(s: Situation): Step | undefined {
  const { local, me } = s;
  if (local.stopping?.then !== 'leave' || local.engine.state !== 'down') return undefined;
  return { rule: 'end', do: 'leave', reason: `${me} has ended` };
}
