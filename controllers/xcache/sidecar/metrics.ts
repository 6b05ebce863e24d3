import { Counter, Gauge, Registry } from 'prom-client';
import type { BackupFigures } from '#backup/figures.ts';
import { type EngineFacts, FENCED } from '#xcache/engine/info.ts';
import type { Step } from '#xcache/protocol/types.ts';
import type { CacheMemberStatus, LeadRecord } from '#xcache/schema.ts';

export interface MetricsInput {
  status: CacheMemberStatus;
  lead: LeadRecord | undefined;
  facts: EngineFacts | undefined;
  memoryBytes?: number | undefined;
  backups?: BackupFigures;
  consulReachable: boolean;
  endpointLive: boolean;
}

/** What a member measures of itself, in Prometheus' form. */
export function createMetrics() {
  const registry = new Registry();
  const registers = [registry];
  const gauge = (name: string, help: string, labelNames: string[] = []) =>
    new Gauge({ name: `xcaas_cache_${name}`, help, labelNames, registers });
  const g = {
    role: gauge('role', 'What the record makes of this member: 1 at its role', ['role']),
    state: gauge('state', 'What its engine does: 1 at its state', ['state']),
    epoch: gauge('epoch', 'Epoch of the record'),
    slots: gauge('slots', 'In a cluster: slots that this member serves'),
    insync: gauge('in_sync', 'Replicas that may take over, by the record'),
    consul: gauge('consul_reachable', 'Consul answers (1) or not (0)'),
    endpoint: gauge('endpoint_live', 'HAProxy leads to where the record says (1) or not (0)'),
    used: gauge('used_bytes', 'Bytes that the engine uses'),
    max: gauge('max_bytes', 'Bytes that data may take'),
    limit: gauge('memory_limit_bytes', 'Memory of the member, of which data may take a part'),
    offset: gauge('replication_offset', 'Position in the stream of writes'),
    link: gauge('replication_link_up', 'This replica hears its master (1) or not (0); 1 for a master'),
    lag: gauge('replica_lag_seconds', 'Of each replica, by the master: so long ago at most it acknowledged', ['replica']),
    behind: gauge('replica_behind_bytes', 'Of each replica, by the master: what it has not acknowledged', ['replica']),
    fenced: gauge('fenced', 'The engine refuses every write (1) or not (0)'),
    clients: gauge('clients', 'Connections of clients and replicas'),
    backups: gauge('backups', 'Complete backups'),
    backupAt: gauge('backup_newest_time_seconds', 'When the newest backup was finished'),
    backupFailed: gauge('backup_last_failed', 'The last backup could not be made (1) or was (0)'),
    backupDamaged: gauge('backups_damaged', 'Backups that were found damaged'),
    engine: gauge('engine', 'Counters of the engine by their own names', ['name']),
  };
  const steps = new Counter({
    name: 'xcaas_cache_steps_total',
    help: 'Steps by their rule and end',
    labelNames: ['rule', 'end'],
    registers,
  });

  return {
    stepped(step: Step, failed: boolean): void {
      steps.inc({ rule: step.rule, end: failed ? 'failed' : 'done' });
    },
    async text({ status, lead, facts, memoryBytes, backups, consulReachable, endpointLive }: MetricsInput): Promise<string> {
      for (const labelled of [g.role, g.state, g.lag, g.behind, g.engine]) labelled.reset();
      g.role.set({ role: status.role }, 1);
      g.state.set({ state: status.state }, 1);
      g.epoch.set(status.epoch);
      g.slots.set(status.slots ?? 0);
      g.insync.set(lead?.insync.length ?? 0);
      g.consul.set(consulReachable ? 1 : 0);
      g.endpoint.set(endpointLive ? 1 : 0);
      g.used.set(facts?.usedBytes ?? 0);
      g.max.set(facts?.maxBytes ?? 0);
      g.offset.set(facts?.offset ?? 0);
      g.backups.set(backups?.count ?? 0);
      g.backupAt.set((backups?.newest?.finished ?? 0) / 1000);
      g.backupFailed.set(Number(backups?.lastFailed ?? false));
      g.backupDamaged.set(backups?.damaged ?? 0);
      g.limit.set(memoryBytes ?? 0);
      g.link.set(facts !== undefined && (facts.role === 'master' || facts.linkUp) ? 1 : 0);
      g.fenced.set(facts === undefined || facts.minReplicas >= FENCED ? 1 : 0);
      for (const { address, ackMs, offset } of facts?.role === 'master' ? facts.replicas : []) {
        g.lag.set({ replica: address }, ackMs / 1000);
        g.behind.set({ replica: address }, Math.max(0, (facts?.offset ?? 0) - offset));
      }
      g.clients.set(facts?.clients ?? 0);
      for (const [name, value] of Object.entries(facts?.counters ?? {})) g.engine.set({ name }, value);
      return registry.metrics();
    },
  };
}
