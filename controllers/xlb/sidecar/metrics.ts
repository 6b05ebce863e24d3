import { Counter, Gauge, Registry } from 'prom-client';
import type { SidecarStatus } from '#xlb/schema.ts';
import type { EndpointSummary } from './endpoints.ts';

/** The sidecar's own numbers; the engines' are theirs. */
export function createMetrics() {
  const registry = new Registry();
  const registers = [registry];
  const gauge = (name: string, help: string) => new Gauge({ name: `xcaas_lb_${name}`, help, registers });
  const gauges = {
    consul: gauge('consul_reachable', 'Consul does what this member asks of it (1) or not (0)'),
    engine: gauge('engine_up', 'The engines answer (1) or not (0)'),
    current: gauge('structure_current', 'nginx runs with the structure that is asked for (1) or not (0)'),
    rejected: gauge('structure_rejected', 'The structure that is asked for was refused (1) or not (0)'),
    oldWorkers: gauge('old_workers', 'Workers of earlier structures that still end connections'),
    liveVersion: gauge('table_version', 'The newest table version that is live on all workers'),
    groups: gauge('groups', 'Target groups'),
    peers: gauge('peers', 'Peers of all groups'),
    up: gauge('peers_up', 'Peers of all groups that the tables call up'),
    empty: gauge('groups_empty', 'Groups without a peer that is up'),
    troubles: gauge(
      'troubles',
      'What the status sentence complains of: empty answers that are held, services that cannot be used, refused tables',
    ),
    rss: gauge('sidecar_resident_bytes', 'Memory of the sidecar'),
    cpu: gauge('sidecar_cpu_seconds', 'CPU time the sidecar has used'),
  };
  return {
    reloads: new Counter({ name: 'xcaas_lb_reloads_total', help: 'Structures that became live', registers }),
    refusals: new Counter({ name: 'xcaas_lb_refusals_total', help: 'Structures that were refused', registers }),
    text(status: SidecarStatus, summary: EndpointSummary): Promise<string> {
      const { user, system } = process.cpuUsage();
      gauges.consul.set(Number(status.consulReachable));
      gauges.engine.set(Number(status.engineUp));
      gauges.current.set(Number(status.generation === status.wantedGeneration));
      gauges.rejected.set(Number(status.rejected !== undefined));
      gauges.oldWorkers.set(status.oldWorkers);
      gauges.liveVersion.set(status.liveVersion);
      gauges.groups.set(summary.groups);
      gauges.peers.set(summary.peers);
      gauges.up.set(summary.up);
      gauges.empty.set(summary.emptyGroups.length);
      gauges.troubles.set(summary.notes.length);
      gauges.rss.set(process.memoryUsage.rss());
      gauges.cpu.set((user + system) / 1e6);
      return registry.metrics();
    },
  };
}
