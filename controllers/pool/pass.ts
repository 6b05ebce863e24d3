import { AppError, type ErrorCode, toAppError } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import type { Events } from '#pool/events.ts';

/** What could not be done in the turn before, and why. */
export interface Refusal {
  code: ErrorCode;
  message: string;
}

export interface PassOptions<World, Step extends { do: string }> {
  /** `lb/web` */
  object: string;
  log: Logger;
  events: Events;
  signal: AbortSignal;
  /** Reads the records and looks at the hosts; undefined when the object is gone. */
  look(): Promise<World | undefined>;
  /** Pure: what can be done now. */
  plan(world: World): Step[];
  execute(world: World, step: Step): Promise<void>;
  sentenceOf(step: Step): string;
  /** True for steps that may be done at the same time as others of the same turn. */
  together?(step: Step): boolean;
  /** True for the step after which nothing of the object is left. */
  isLast(step: Step): boolean;
  /** Writes the status. @returns the sentence of the pass */
  conclude(world: World, refused: Refusal | undefined): Promise<string>;
}

/** Turns of one pass: a plan that never becomes empty is a defect, not a reason to spin. */
const MAX_TURNS = 20;

/**
 * One pass over one object: look, plan, do, until nothing is left to do; then its status.
 *
 * @returns the sentence that is its status too
 * @throws AppError `fenced` when this replica leads no longer
 */
export async function runPass<World, Step extends { do: string }>(options: PassOptions<World, Step>): Promise<string> {
  const { object, log, events, signal, sentenceOf } = options;
  const name = object.slice(object.indexOf('/') + 1);
  let refused: Refusal | undefined;
  const done = new Set<string>();

  async function attempt(world: World, step: Step): Promise<void> {
    done.add(sentenceOf(step));
    try {
      await options.execute(world, step);
      await events.record({ object, kind: 'info', reason: step.do, sentence: sentenceOf(step) });
    } catch (thrown) {
      const error = toAppError(thrown);
      if (error.code === 'fenced') throw error;
      refused = { code: error.code, message: error.message };
      log.warn({ object, step: step.do, code: error.code, err: error.message }, 'a step could not be done');
      await events.record({ object, kind: 'warning', reason: `${step.do}_failed`, sentence: error.message });
    }
  }

  for (let turn = 0; turn < MAX_TURNS && !signal.aborted; turn++) {
    const world = await options.look();
    if (world === undefined) return `${name} is gone`;
    // What was done in this pass and is asked for again has yet to show its effect: the next pass will see it.
    const steps = options.plan(world).filter((step) => !done.has(sentenceOf(step)));
    if (steps.length === 0 || refused !== undefined) return options.conclude(world, refused);
    const side = steps.filter((step) => options.together?.(step) ?? false);
    await settle(side.map((step) => attempt(world, step)));
    for (const step of steps) {
      if (signal.aborted) break;
      if (!side.includes(step)) await attempt(world, step);
    }
    // An object that was removed has no records left to write a status to.
    if (steps.some((step) => options.isLast(step))) return `${name} is removed`;
  }
  throw new AppError('internal', `the plan of ${name} did not come to an end in ${MAX_TURNS} turns`);
}

/** Waits for all, also when one fails: nothing is under way when the pass ends. @throws what the first of them threw */
async function settle(actions: Promise<void>[]): Promise<void> {
  for (const result of await Promise.allSettled(actions)) if (result.status === 'rejected') throw result.reason;
}
