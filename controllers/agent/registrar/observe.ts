import type { ContainerInfo } from 'dockerode';
import type { Docker } from '#core/docker.ts';
import { engineError } from '../engine-errors.ts';

export interface ObservedContainer {
  /** 64 hex digits. */
  id: string;
  name: string;
  running: boolean;
  paused: boolean;
  /** `none` = it has no HEALTHCHECK. */
  health: 'none' | 'starting' | 'healthy' | 'unhealthy';
  labels: Record<string, string>;
  /** Network name → IPv4 address there; only networks on which it has one now. */
  networks: Record<string, string>;
  networkMode: string;
  /** TCP ports it exposes, ascending. */
  exposed: number[];
}

/**
 * Containers of this host in any state: one question to the engine, whatever their number.
 *
 * @param only one container's id
 */
export async function observeContainers(docker: Docker, only?: string): Promise<ObservedContainer[]> {
  try {
    const found = await docker.listContainers({ all: true, ...(only === undefined ? {} : { filters: { id: [only] } }) });
    return found.map(toObserved);
  } catch (error) {
    throw engineError(error, 'listing the containers');
  }
}

export function toObserved(info: ContainerInfo): ObservedContainer {
  const networks: Record<string, string> = {};
  for (const [name, { IPAddress }] of Object.entries(info.NetworkSettings?.Networks ?? {})) if (IPAddress) networks[name] = IPAddress;
  const exposed = (info.Ports ?? []).filter(({ Type }) => Type === 'tcp').map(({ PrivatePort }) => PrivatePort);
  return {
    id: info.Id,
    name: (info.Names[0] ?? '').replace(/^\//, ''),
    running: info.State === 'running' || info.State === 'paused',
    paused: info.State === 'paused',
    health: healthOf(info.Status),
    labels: info.Labels ?? {},
    networks,
    networkMode: info.HostConfig?.NetworkMode ?? 'default',
    exposed: [...new Set(exposed)].sort((a, b) => a - b),
  };
}

/** The list says health in its text only: `Up 2 minutes (healthy)`, `(unhealthy)`, `(health: starting)`. */
function healthOf(status: string): ObservedContainer['health'] {
  if (status.includes('(healthy)')) return 'healthy';
  if (status.includes('(unhealthy)')) return 'unhealthy';
  return status.includes('(health: starting)') ? 'starting' : 'none';
}
