import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import type { LoopState } from '#core/loop.ts';
import type { Host } from '#pool/host.ts';

export interface ControlMetrics {
  registry: Registry;
  requests: Counter<'method' | 'status'>;
}

export interface ControlMetricsSources {
  leading(): boolean;
  hosts(): Promise<Host[]>;
  /** State of each reconcile loop that turns now, by its name. */
  loops(): Record<string, { alive: boolean; last: LoopState | undefined }>;
}

/** What control says of itself and of the pool, for Prometheus. */
export function createControlMetrics({ leading, hosts, loops }: ControlMetricsSources): ControlMetrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  new Gauge({
    name: 'xcaas_control_leading',
    help: '1 on the replica that leads',
    registers,
    collect() {
      this.set(leading() ? 1 : 0);
    },
  });
  new Gauge({
    name: 'xcaas_hosts',
    help: 'Hosts of the pool by state',
    labelNames: ['state'],
    registers,
    async collect() {
      const all = await hosts();
      const alive = all.filter((host) => host.alive).length;
      this.set({ state: 'alive' }, alive);
      this.set({ state: 'down' }, all.length - alive);
    },
  });
  new Gauge({
    name: 'xcaas_control_loop_alive',
    help: '1 when the loop turned within three of its intervals',
    labelNames: ['loop'],
    registers,
    collect() {
      this.reset();
      for (const [loop, { alive }] of Object.entries(loops())) this.set({ loop }, alive ? 1 : 0);
    },
  });
  new Gauge({
    name: 'xcaas_control_loop_failed',
    help: '1 when the last turn of the loop ended with an error',
    labelNames: ['loop'],
    registers,
    collect() {
      this.reset();
      for (const [loop, { last }] of Object.entries(loops())) this.set({ loop }, last?.error === undefined ? 0 : 1);
    },
  });
  const requests = new Counter({
    name: 'xcaas_api_requests_total',
    help: 'Requests of the API',
    labelNames: ['method', 'status'] as const,
    registers,
  });
  return { registry, requests };
}
