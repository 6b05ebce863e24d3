import type { Stored } from '#core/consul/records.ts';
import type { Events } from '#pool/events.ts';
import { runPass } from '#pool/pass.ts';
import { type ExecuteDeps, execute } from '#xlb/execute.ts';
import { type ObserveDeps, observe } from '#xlb/observe.ts';
import { type Observed, plan, type Step, statusOf } from '#xlb/plan.ts';
import type { LbSpec } from '#xlb/schema.ts';
import { specKey, statusKey } from '#xlb/store.ts';

export interface LbControllerDeps extends ObserveDeps, ExecuteDeps {
  events: Events;
}

/**
 * One pass over one load balancer.
 *
 * @returns the sentence that is its status too
 */
export function reconcileLb(deps: LbControllerDeps, name: string, signal: AbortSignal): Promise<string> {
  return runPass<{ stored: Stored<LbSpec>; observed: Omit<Observed, 'refused'> }, Step>({
    object: `lb/${name}`,
    log: deps.log,
    events: deps.events,
    signal,
    async look() {
      const stored = await deps.store.specs.get(specKey(name), { consistent: true });
      return stored === undefined ? undefined : { stored, observed: await observe(deps, stored) };
    },
    plan: ({ stored, observed }) => plan(stored.value, observed, deps.now()),
    execute: ({ stored, observed }, step) => execute(deps, stored.value, observed, step),
    sentenceOf,
    isLast: (step) => step.do === 'forget',
    async conclude({ stored, observed }, refused) {
      const status = statusOf(stored.value, { ...observed, refused }, deps.now());
      await writeStatus(deps, name, status);
      return `${name} is ${status.status}: ${status.sentence}`;
    },
  });
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
