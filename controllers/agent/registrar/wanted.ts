import type { ServiceRegistration } from '#core/consul/client.ts';
import { handService, type Target } from '#xlb/schema.ts';
import { parseServiceLabels } from './labels.ts';
import type { ObservedContainer } from './observe.ts';

/**
 * Seconds without a push after which Consul takes a service for down. It is no detector: a container that ends is deregistered at its event, a host
 * that ends is noticed by gossip. It only bounds how long a container may be listed that ended while its agent was away, and it must outlast an
 * agent's restart or upgrade, which has to go unnoticed.
 */
export const TTL_SECONDS = 30;

/** Consul forgets a service that was critical for this long, if its own agent still runs. */
export const DEREGISTER_AFTER_SECONDS = 600;

export interface HostContext {
  hostId: string;
  /** Address of containers that use the host's network. */
  hostAddress: string;
  /** Network preferred where a label names none. */
  poolNetwork: string;
}

export interface Wanted {
  service: ServiceRegistration & { check: NonNullable<ServiceRegistration['check']> };
  status: 'passing' | 'critical';
  /** What the check says, constant as long as nothing changes: Consul sends only changes to its servers. */
  note: string;
}

export interface ContainerWish {
  wanted: Wanted[];
  /** Networks that targets added by hand need the container to be on. */
  attach: string[];
  problems: string[];
}

export function shortId(containerId: string): string {
  return containerId.slice(0, 12);
}

export function serviceIdPrefix(hostId: string): string {
  return `xcaas:${hostId}:`;
}

export function matches(target: Target, container: Pick<ObservedContainer, 'id' | 'name'>): boolean {
  const { by, value } = target.container;
  return by === 'name' ? container.name === value : value.length >= 12 && container.id.startsWith(value);
}

/** What a running container should have in Consul's catalog, by its labels and by the targets that name it. */
export function wantedOf(container: ObservedContainer, targets: readonly Target[], drained: boolean, host: HostContext): ContainerWish {
  const wish: ContainerWish = { wanted: [], attach: [], problems: [] };
  const add = (entry: Omit<Entry, 'container' | 'host'>) => {
    const wanted = toWanted({ ...entry, container, host });
    if (!wish.wanted.some((other) => other.service.id === wanted.service.id)) wish.wanted.push(wanted);
  };

  const { services, problems } = parseServiceLabels(container.labels, container.exposed);
  wish.problems.push(...problems.map((problem) => `${container.name}: ${problem}`));
  for (const service of services) {
    const address = addressFor(container, service.network, host);
    if ('problem' in address) wish.problems.push(`${container.name}: ${service.name} is not registered: ${address.problem}`);
    else add({ ...service, address: address.address, draining: drained });
  }
  for (const target of targets.filter((one) => matches(one, container))) {
    const onHostNetwork = container.networkMode === 'host';
    const address = onHostNetwork ? host.hostAddress : container.networks[target.network];
    if (address !== undefined) {
      const name = handService(target.lb, target.group);
      const draining = drained || target.drain;
      add({ name, port: target.port, tags: [], weight: target.weight, check: 'health', address, draining, target: target.id });
    } else if (container.networkMode === 'none') {
      wish.problems.push(`${container.name}: a target of ${target.lb}, but it has no network (--network none)`);
    } else if (!wish.attach.includes(target.network)) {
      wish.attach.push(target.network);
    }
  }
  return wish;
}

interface Entry {
  container: ObservedContainer;
  host: HostContext;
  name: string;
  port: number;
  tags: string[];
  weight: number;
  check: 'health' | 'running';
  address: string;
  draining: boolean;
  target?: string;
}

function toWanted({ container, host, name, port, tags, weight, check, address, draining, target }: Entry): Wanted {
  const id = `${serviceIdPrefix(host.hostId)}${shortId(container.id)}:${name}:${port}`;
  const { status, note } = statusOf(container, check);
  return {
    status,
    note,
    service: {
      id,
      name,
      address,
      port,
      tags,
      meta: {
        xcaas: '1',
        host: host.hostId,
        container: shortId(container.id),
        container_name: container.name,
        state: draining ? 'draining' : 'up',
        ...(target === undefined ? {} : { target }),
      },
      weights: { passing: weight, warning: 1 },
      check: {
        id,
        name: 'container',
        ttlSeconds: TTL_SECONDS,
        status,
        notes: 'pushed by the agent of the host: the container runs and, if it has a HEALTHCHECK, is healthy',
        deregisterAfterSeconds: DEREGISTER_AFTER_SECONDS,
      },
    },
  };
}

export function statusOf(container: ObservedContainer, check: 'health' | 'running'): Pick<Wanted, 'status' | 'note'> {
  if (!container.running) return { status: 'critical', note: 'the container does not run' };
  if (container.paused) return { status: 'critical', note: 'the container is paused' };
  if (check === 'running' || container.health === 'none') return { status: 'passing', note: 'running' };
  if (container.health === 'healthy') return { status: 'passing', note: 'running and healthy' };
  return { status: 'critical', note: container.health === 'starting' ? 'running, not yet healthy' : 'running, but its HEALTHCHECK fails' };
}

function addressFor(
  container: ObservedContainer,
  network: string | undefined,
  { hostAddress, poolNetwork }: HostContext,
): { address: string } | { problem: string } {
  if (container.networkMode === 'host') return { address: hostAddress };
  const names = Object.keys(container.networks);
  if (network !== undefined) {
    const address = container.networks[network];
    return address === undefined ? { problem: `it is not on the network ${network}` } : { address };
  }
  const chosen = names.includes(poolNetwork) ? poolNetwork : names.length === 1 ? names[0] : undefined;
  if (chosen !== undefined) return { address: container.networks[chosen]! };
  if (names.length === 0) return { problem: 'it has no address on any network' };
  return { problem: `it is on ${names.sort().join(', ')}; say which one with xcaas.service.network=` };
}
