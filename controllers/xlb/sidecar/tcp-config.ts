import type { TcpConfigInput } from '#tcp/schema.ts';
import type { LbSpec } from '#xlb/schema.ts';
import { tcpRoutes } from './routing.ts';

/**
 * Pure: the structure of HAProxy for the TCP listeners of a load balancer. A group's `stickyCookie`, `hashKey` and `tries` mean nothing without HTTP:
 * `hash` is by the client's address.
 */
export function tcpConfig(spec: LbSpec): TcpConfigInput {
  const routes = tcpRoutes(spec);
  const wanted = new Set(routes.map((route) => route.group));
  return {
    listeners: routes.map(({ port, group }) => ({ port, backend: group })),
    backends: spec.groups
      .filter((group) => wanted.has(group.name))
      .map(({ name, algorithm, maxFails, active }) => ({
        name,
        algorithm,
        connectTimeoutMs: spec.options.connectTimeoutMs,
        check: active,
        maxFails,
        onMarkedDown: 'none',
        onRemoved: 'drain',
      })),
  };
}
