import { type Running, seconds } from '#xdb/protocol/situation.ts';
import type { Budgets, Local, Step } from '#xdb/protocol/types.ts';

/** A1: commands that a former life of the sidecar left in the engine end before anything is decided by what the engine says. */
export function adopt(s: Running): Step | undefined {
  if (s.memory.adopted || !s.guards.adopt) return undefined;
  if (s.memory.adoptRefused) {
    return { rule: 'A1', do: 'kill', reason: `commands of a former life of the sidecar do not end: the engine of ${s.me} is killed` };
  }
  return { rule: 'A1', do: 'adopt', reason: `${s.me} ends what a former life of its sidecar may have left in the engine` };
}

/** An engine that hangs serves nobody, and whoever waits in it must not wait for ever. */
export function unreachable(local: Local, budgets: Budgets): Step | undefined {
  const { engine, me } = local;
  if (engine.state !== 'unreachable' || engine.ageMs < budgets.unreachableMs) return undefined;
  return { rule: 'A1', do: 'kill', reason: `the engine of ${me} has not answered for ${seconds(engine.ageMs)} and is killed` };
}
