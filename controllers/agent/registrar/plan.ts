import type { AgentService, HealthCheck, ServiceRegistration } from '#core/consul/client.ts';
import type { Target } from '#xlb/schema.ts';
import type { ObservedContainer } from './observe.ts';
import { type HostContext, serviceIdPrefix, shortId, statusOf, type Wanted, wantedOf } from './wanted.ts';

export interface Observed {
  containers: readonly ObservedContainer[];
  /** Undefined = not known yet: what was registered for a target then stays as long as its container runs. */
  targets: readonly Target[] | undefined;
  /** All services of the local Consul agent, others' among them. */
  services: readonly AgentService[];
  checks: readonly HealthCheck[];
  /** Ids of containers that are to be marked draining. */
  drained: ReadonlySet<string>;
}

export type Step =
  | { kind: 'deregister'; id: string; reason: string }
  | { kind: 'attach'; container: string; network: string; reason: string }
  | { kind: 'register'; service: ServiceRegistration; reason: string }
  /** Pushed at each turn, changed or not: it keeps the TTL from running out. */
  | { kind: 'push'; id: string; status: 'passing' | 'critical'; note: string; reason: string };

export interface Plan {
  steps: Step[];
  problems: string[];
  /** Services that should be there when all steps are done. */
  wanted: number;
}

/** True for what this agent has registered; everything else in the local Consul agent is somebody else's and never touched. */
export function isOurs(service: Pick<AgentService, 'id' | 'meta'>, hostId: string): boolean {
  return service.id.startsWith(serviceIdPrefix(hostId)) && service.meta.xcaas === '1';
}

/** What is to be done so that Consul says of this host's containers what is so. Pure. `only`: the short id of the one container to look at. */
export function planRegistrations(observed: Observed, host: HostContext, only?: string): Plan {
  const { containers, targets, services, checks, drained } = observed;
  const registered = new Map<string, AgentService>();
  for (const service of services) {
    if (!isOurs(service, host.hostId)) continue;
    if (only === undefined || containerOf(service.id, host) === only) registered.set(service.id, service);
  }
  const statuses = new Map(checks.map((check) => [check.checkId, check.status]));
  const plan: Plan = { steps: [], problems: [], wanted: 0 };
  const keep = new Set<string>();

  for (const container of containers) {
    if (!container.running || (only !== undefined && shortId(container.id) !== only)) continue;
    const wish = wantedOf(container, targets ?? [], drained.has(container.id), host);
    plan.problems.push(...wish.problems);
    for (const network of wish.attach) {
      plan.steps.push({ kind: 'attach', container: container.id, network, reason: `${container.name} is a target and not on ${network}` });
    }
    for (const wanted of wish.wanted) {
      keep.add(wanted.service.id);
      plan.steps.push(stepFor(wanted, registered.get(wanted.service.id), statuses));
    }
    if (targets !== undefined) continue;
    for (const service of registered.values()) {
      if (service.meta.target === undefined || service.meta.container !== shortId(container.id) || keep.has(service.id)) continue;
      keep.add(service.id);
      plan.steps.push({ kind: 'push', id: service.id, ...statusOf(container, 'health'), reason: 'the targets are not known yet' });
    }
  }
  plan.wanted = keep.size;
  const gone = [...registered.keys()].filter((id) => !keep.has(id));
  plan.steps.unshift(...gone.map((id): Step => ({ kind: 'deregister', id, reason: goneReason(id, containers, host) })));
  return plan;
}

function stepFor({ service, status, note }: Wanted, present: AgentService | undefined, statuses: ReadonlyMap<string, string>): Step {
  const difference = present === undefined ? 'not registered' : differenceOf(present, service, statuses);
  if (difference === undefined) return { kind: 'push', id: service.id, status, note, reason: note };
  return { kind: 'register', service, reason: difference };
}

function differenceOf(present: AgentService, wanted: Wanted['service'], statuses: ReadonlyMap<string, string>): string | undefined {
  if (!statuses.has(wanted.check.id)) return 'its check is gone';
  if (present.address !== wanted.address || present.port !== wanted.port || present.name !== wanted.name)
    return `its address is ${wanted.address} now`;
  if (present.meta.state !== wanted.meta?.state) return `it is ${wanted.meta?.state} now`;
  const same =
    text(present.meta) === text(wanted.meta ?? {}) &&
    text(present.tags) === text(wanted.tags ?? []) &&
    text(present.weights) === text(wanted.weights ?? {});
  return same ? undefined : 'its tags, weight or meta are others now';
}

function text(value: object): string {
  return JSON.stringify(Array.isArray(value) ? [...value].sort() : Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function containerOf(serviceId: string, { hostId }: HostContext): string {
  return serviceId.slice(serviceIdPrefix(hostId).length).split(':')[0] ?? '';
}

function goneReason(id: string, containers: readonly ObservedContainer[], host: HostContext): string {
  const container = containers.find((one) => shortId(one.id) === containerOf(id, host));
  if (container === undefined) return 'its container is gone';
  return container.running ? `${container.name} no longer asks for it` : `${container.name} does not run`;
}
