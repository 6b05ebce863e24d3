import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { Loop } from '#core/loop.ts';

export interface AgentMetrics {
  registry: Registry;
  /** From the engine's event to the end of the pass it caused. */
  registration: Histogram<'action'>;
  requests: Counter<'method' | 'status'>;
}

/** @param loops each by its name; a loop is alive when it turned recently */
export function createAgentMetrics(loops: Readonly<Record<string, Pick<Loop, 'alive' | 'last'>>>): AgentMetrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  new Gauge({
    name: 'xcaas_agent_loop_alive',
    help: '1 when the loop turned within three of its intervals',
    labelNames: ['loop'],
    registers: [registry],
    collect() {
      for (const [loop, { alive }] of Object.entries(loops)) this.set({ loop }, alive() ? 1 : 0);
    },
  });
  new Gauge({
    name: 'xcaas_agent_loop_failed',
    help: '1 when the last turn of the loop ended with an error',
    labelNames: ['loop'],
    registers: [registry],
    collect() {
      for (const [loop, { last }] of Object.entries(loops)) this.set({ loop }, last()?.error === undefined ? 0 : 1);
    },
  });
  const registration = new Histogram({
    name: 'xcaas_agent_registration_seconds',
    help: "From the engine's event to the registration in Consul being right again",
    labelNames: ['action'] as const,
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5],
    registers: [registry],
  });
  const requests = new Counter({
    name: 'xcaas_agent_requests_total',
    help: 'Requests of the mutual TLS API',
    labelNames: ['method', 'status'] as const,
    registers: [registry],
  });
  return { registry, registration, requests };
}
