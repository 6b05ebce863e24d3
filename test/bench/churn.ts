import type { ConsulClient } from '#core/consul/client.ts';
import { sleep } from '#core/sleep.ts';
import { register } from '../appliance/xlb-sidecar-lab.ts';
import type { Endpoint } from './backends.ts';

export interface Churn {
  /** Changes made so far. */
  changes(): number;
  /** Ends it with all endpoints registered. @throws what a change failed with */
  stop(): Promise<number>;
}

/**
 * Takes endpoints of a service out of Consul and puts them back, one after another, evenly in time. They themselves go on serving, as a container
 * does that was told to leave before it is stopped.
 */
export function startChurn(consul: ConsulClient, service: string, endpoints: readonly Endpoint[], perSecond: number): Churn {
  const stopping = new AbortController();
  const out = new Set<Endpoint>();
  let changes = 0;
  const turning = (async () => {
    const start = performance.now();
    for (let i = 0; !stopping.signal.aborted; i++) {
      const endpoint = endpoints[Math.floor(i / 2) % endpoints.length];
      if (endpoint === undefined) return;
      if (i % 2 === 0) {
        out.add(endpoint);
        await consul.agent.deregister(`${service}-${endpoint.name}`);
      } else {
        await register(consul, service, endpoint);
        out.delete(endpoint);
      }
      changes += 1;
      await sleep(Math.max(0, start + ((i + 1) * 1000) / perSecond - performance.now()), stopping.signal);
    }
  })();
  // Told by stop(); until then nobody waits for it.
  turning.catch(() => undefined);
  return {
    changes: () => changes,
    async stop() {
      stopping.abort();
      await turning;
      for (const endpoint of out) await register(consul, service, endpoint);
      return changes;
    },
  };
}
