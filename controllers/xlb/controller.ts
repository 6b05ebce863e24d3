import { AppError, toAppError } from '#core/errors.ts';
import type { Events } from '#pool/events.ts';
import { type ExecuteDeps, execute } from '#xlb/execute.ts';
import { type ObserveDeps, observe } from '#xlb/observe.ts';
import { type Observed, plan, type Step, statusOf } from '#xlb/plan.ts';
import { specKey, statusKey } from '#xlb/store.ts';

export interface LbControllerDeps extends ObserveDeps, ExecuteDeps {
  events: Events;
}

/** Turns of one pass: a plan that never becomes empty is a defect, not a reason to spin. */
const MAX_TURNS = 20;

/**
 * One pass over one load balancer: look, plan, do, until nothing is left to do; then its status.
 *
 * @returns the sentence that is its status too
 */
export async function reconcileLb(deps: LbControllerDeps, name: string, signal: AbortSignal): Promise<string> {
  let refused: Observed['refused'];
  const done = new Set<string>();
  for (let turn = 0; turn < MAX_TURNS && !signal.aborted; turn++) {
    const stored = await deps.store.specs.get(specKey(name), { consistent: true });
    if (stored === undefined) return `${name} is gone`;
    const spec = stored.value;
    const observed = await observe(deps, stored);
    // What was done in this pass and is asked for again has yet to show its effect: the next pass will see it.
    const steps = plan(spec, observed, deps.now()).filter((step) => !done.has(sentenceOf(step)));
    if (steps.length === 0 || refused !== undefined) {
      const status = statusOf(spec, { ...observed, refused }, deps.now());
      await writeStatus(deps, name, status);
      return `${name} is ${status.status}: ${status.sentence}`;
    }
    for (const step of steps) {
      if (signal.aborted) break;
      done.add(sentenceOf(step));
      try {
        await execute(deps, spec, observed, step);
        await deps.events.record({ object: `lb/${name}`, kind: 'info', reason: step.do, sentence: sentenceOf(step) });
      } catch (thrown) {
        const error = toAppError(thrown);
        if (error.code === 'fenced') throw error;
        refused = { code: error.code, message: error.message };
        deps.log.warn({ lb: name, step: step.do, code: error.code, err: error.message }, 'a step could not be done');
        await deps.events.record({ object: `lb/${name}`, kind: 'warning', reason: `${step.do}_failed`, sentence: error.message });
      }
    }
    // A loadbalancer that was removed has no records left to write a status to.
    if (steps.some((step) => step.do === 'forget')) return `${name} is removed`;
  }
  throw new AppError('internal', `the plan of ${name} did not come to an end in ${MAX_TURNS} turns`);
}

function sentenceOf(step: Step): string {
  const what = {
    place: 'is placed',
    lost: 'has its host looked at',
    ensure: 'is made or started',
    remove: 'is removed',
    release: 'gives its place back',
  };
  return step.do === 'forget' ? step.reason : `${step.member} ${what[step.do]}: ${step.reason}`;
}

async function writeStatus(deps: LbControllerDeps, name: string, status: ReturnType<typeof statusOf>): Promise<void> {
  const key = statusKey(name);
  await deps.store.statuses.update(key, (present) => {
    const same = present?.status === status.status && present.sentence === status.sentence && present.specIndex === status.specIndex;
    return same ? undefined : status;
  });
}
