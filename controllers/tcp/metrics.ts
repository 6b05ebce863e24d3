import { Gauge, Registry } from 'prom-client';
import type { LiveTable, TcpStatus } from '#tcp/schema.ts';

/** The TCP part in Prometheus' text format, from what HAProxy says at this moment; nothing is counted on our side. */
export async function tcpMetrics(status: TcpStatus, tables: readonly LiveTable[]): Promise<string> {
  const registry = new Registry();
  const gauge = (name: string, help: string, labelNames: string[] = []) => new Gauge({ name, help, labelNames, registers: [registry] });
  gauge('xcaas_tcp_running', 'HAProxy answers (1) or not (0)').set(status.running ? 1 : 0);
  gauge('xcaas_tcp_structure_current', 'HAProxy runs with the structure that was applied last (1) or not (0)').set(
    status.generation === status.wantedGeneration ? 1 : 0,
  );
  gauge('xcaas_tcp_old_workers', 'Replaced workers that still have connections').set(status.oldWorkers);
  gauge('xcaas_tcp_reloads', 'Reloads since HAProxy was started').set(status.reloads);

  const version = gauge('xcaas_tcp_table_version', 'Version of the table of a backend', ['backend']);
  const live = gauge('xcaas_tcp_table_live', 'HAProxy holds the table of a backend (1) or not (0)', ['backend']);
  const labels = ['backend', 'peer'];
  const up = gauge('xcaas_tcp_peer_up', 'A peer gets new connections (1) or not (0)', labels);
  const active = gauge('xcaas_tcp_peer_connections', 'Connections to a peer now', labels);
  const requests = gauge('xcaas_tcp_peer_connections_since_reload', 'Connections to a peer since the current worker began', labels);
  const failures = gauge(
    'xcaas_tcp_peer_failures_since_reload',
    'Connections that could not be made or broke since the current worker began',
    labels,
  );
  for (const table of tables) {
    version.set({ backend: table.backend }, table.version);
    live.set({ backend: table.backend }, table.live ? 1 : 0);
    for (const peer of table.peers) {
      const of = { backend: table.backend, peer: peer.id };
      up.set(of, peer.healthy && peer.state === 'up' ? 1 : 0);
      active.set(of, peer.active);
      requests.set(of, peer.requests);
      failures.set(of, peer.failures);
    }
  }
  return await registry.metrics();
}
