import type { ConsulClient } from '#core/consul/client.ts';
import type { Docker } from '#core/docker.ts';
import { messageOf } from '#core/errors.ts';
import { attach } from '../containers.ts';
import type { Step } from './plan.ts';

/** Calls at the local Consul agent at one time: enough to hide round trips, few enough not to crowd out others. */
const PARALLEL = 8;

/**
 * Does all steps: first what is to go, then the rest side by side. One that fails does not keep the others from being done.
 *
 * @returns a sentence for each that failed
 */
export async function executeSteps(
  steps: readonly Step[],
  { consul, docker }: { consul: ConsulClient; docker: Docker },
): Promise<string[]> {
  const failures: string[] = [];
  const first = steps.filter(({ kind }) => kind === 'deregister');
  const rest = steps.filter(({ kind }) => kind !== 'deregister');
  for (const group of [first, rest]) {
    const queue = group.values();
    const worker = async () => {
      for (const step of queue) {
        try {
          await executeStep(step, consul, docker);
        } catch (error) {
          failures.push(`${step.kind} (${step.reason}) failed: ${messageOf(error)}`);
        }
      }
    };
    await Promise.all(Array.from({ length: PARALLEL }, worker));
  }
  return failures;
}

async function executeStep(step: Step, consul: ConsulClient, docker: Docker): Promise<void> {
  switch (step.kind) {
    case 'deregister':
      return consul.agent.deregister(step.id);
    case 'register':
      return consul.agent.register(step.service);
    case 'push':
      return step.status === 'passing' ? consul.agent.pass(step.id, step.note) : consul.agent.fail(step.id, step.note);
    case 'attach':
      await attach(docker, step.container, { network: step.network });
  }
}
