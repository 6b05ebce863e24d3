import { type Mutation, mutated, tryMutation } from '#xdb/protocol/model/mutations.ts';
import { type Recovery, recovery } from '#xdb/protocol/model/recover.ts';
import { search } from '#xdb/protocol/model/search.ts';
import { trace } from '#xdb/protocol/model/show.ts';
import { createWorld } from '#xdb/protocol/model/world.ts';

/** What the unit tests run of the model (model.spec.ts); all of it is run by main.ts. */

const LIMITS = { maxStates: 3_000_000, maxMs: 300_000 };

/** One transaction live at once, everything else unbounded. */
export function whole(): { complete: boolean; states: number; situations: number; broken: string; recovery: Recovery | undefined } {
  const world = createWorld({ live: 1, promptPublications: true });
  const found = search(world, { ...LIMITS, keepEdges: true });
  const { violation, complete, states } = found;
  const broken = violation === undefined ? '' : [violation.what, ...trace(world, found, violation.from), violation.label].join('\n');
  return { complete, states, situations: world.mind.situations(), broken, recovery: complete ? recovery(found) : undefined };
}

/** @returns what was found without a guard, and the way to it */
export function without(mutation: Mutation): { what: string; steps: number; label: string; way: string[] } | undefined {
  const found = tryMutation(mutation, LIMITS.maxMs);
  const { violation } = found;
  if (violation === undefined) return undefined;
  const { what, steps, label, from } = violation;
  return { what, steps, label, way: trace(mutated(mutation), found, from) };
}
