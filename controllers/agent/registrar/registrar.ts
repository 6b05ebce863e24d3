import type { ConsulClient } from '#core/consul/client.ts';
import type { Docker } from '#core/docker.ts';
import { messageOf } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import { createLoop, type Loop } from '#core/loop.ts';
import type { Target } from '#xlb/schema.ts';
import { type ContainerEvent, followEvents } from './events.ts';
import { executeSteps } from './execute.ts';
import { type DrainMarks, STOP_SIGNALS } from './marks.ts';
import { observeContainers } from './observe.ts';
import { planRegistrations, type Step } from './plan.ts';
import { watchTargets } from './targets.ts';
import { type HostContext, shortId } from './wanted.ts';

/** Milliseconds between full passes; each one also pushes all checks, three times and more within their TTL. */
const FULL_PASS_MS = 8000;

/** Milliseconds after which a full pass that failed is tried again. */
const RETRY_MS = 1000;

export interface Registrar {
  loop: Loop;
  start(): void;
  /** Ends without deregistering anything: the containers go on living. */
  stop(): Promise<void>;
  /** @returns how many registrations are marked now */
  drain(container: string): Promise<number>;
  undrain(container: string): Promise<number>;
}

export interface RegistrarOptions {
  docker: Docker;
  consul: ConsulClient;
  host: HostContext;
  marks: DrainMarks;
  log: Logger;
  fullPassMs?: number;
  /** Told of each container's way from the engine's event to its registration, in milliseconds. */
  onLatency?(action: string, ms: number): void;
}

/** Keeps Consul's catalog equal to what runs on this host: at once at each event of the engine, and in full on a timer. */
export function createRegistrar(options: RegistrarOptions): Registrar {
  const { docker, consul, host, marks, log, fullPassMs = FULL_PASS_MS, onLatency } = options;
  const stopping = new AbortController();
  const waiting = new Set<string>();
  const following: Promise<void>[] = [];
  let targets: Target[] | undefined;

  async function pass(only?: string): Promise<{ steps: Step[]; problems: string[]; wanted: number; failures: string[] }> {
    const [containers, services, checks] = await Promise.all([
      observeContainers(docker, only),
      consul.agent.services(),
      consul.agent.checks(),
    ]);
    if (only === undefined) await marks.prune(new Set(containers.map(({ id }) => id)));
    const observed = { containers, targets, services, checks, drained: marks.all() };
    const plan = planRegistrations(observed, host, only === undefined ? undefined : shortId(only));
    const failures = await executeSteps(plan.steps, { consul, docker });
    for (const step of plan.steps) {
      if (step.kind === 'push') continue;
      const id = step.kind === 'register' ? step.service.id : step.kind === 'deregister' ? step.id : step.container;
      log.info({ step: step.kind, id, reason: step.reason }, 'registration');
    }
    return { ...plan, failures };
  }

  const loop: Loop = createLoop({
    name: 'registrar',
    log,
    intervalMs: fullPassMs,
    async cycle() {
      const { steps, problems, wanted, failures } = await pass().catch((error: unknown) => {
        // Events that came while Consul was away were lost: what they said must not wait for the loop's longest pause.
        setTimeout(() => loop.markDirty(), RETRY_MS).unref();
        throw error;
      });
      const done = steps.filter(({ kind }) => kind !== 'push').length;
      const parts = [`${wanted} services of containers here are in Consul${done === 0 ? '' : `, ${done} changes`}`];
      if (targets === undefined) parts.push('the targets of load balancers are not known yet');
      return [...parts, ...problems, ...failures].join('; ');
    },
  });

  /** Events of one container that come while it waits for its turn are one pass. */
  async function passFor(container: string): Promise<void> {
    if (waiting.has(container)) return;
    waiting.add(container);
    await loop.runExclusive(async () => {
      waiting.delete(container);
      if (stopping.signal.aborted) return;
      const { failures } = await pass(container);
      if (failures.length > 0) log.warn({ container: shortId(container), failures }, 'registration failed; the next full pass tries again');
    });
  }

  function onEvent(event: ContainerEvent): void {
    if (event.action === 'kill') {
      // The last moment before the process knows: whoever balances to it should stop sending first.
      if (event.signal === undefined || !STOP_SIGNALS.has(event.signal)) return;
      marks.sawStop(event.container);
    }
    if (event.action === 'die' || event.action === 'start') marks.ended(event.container);
    void passFor(event.container).then(
      () => {
        if (event.at !== undefined) onLatency?.(event.action, Date.now() - event.at);
      },
      (error: unknown) => log.debug({ container: shortId(event.container), err: messageOf(error) }, 'a pass for one container failed'),
    );
  }

  async function marked(container: string): Promise<number> {
    await loop.runExclusive(() => pass(container));
    const services = await consul.agent.services();
    return services.filter(({ meta }) => meta.xcaas === '1' && meta.host === host.hostId && meta.container === shortId(container)).length;
  }

  return {
    loop,
    start() {
      const { signal } = stopping;
      following.push(
        followEvents({ docker, log, signal, onEvent, onConnect: () => loop.markDirty() }),
        watchTargets({
          consul,
          log,
          signal,
          onChange(next) {
            targets = next;
            loop.markDirty();
          },
        }),
      );
      loop.start();
    },
    async stop() {
      stopping.abort();
      await Promise.all([loop.stop(), ...following]);
    },
    async drain(container) {
      await marks.drain(container);
      return marked(container);
    },
    async undrain(container) {
      await marks.undrain(container);
      return marked(container);
    },
  };
}
