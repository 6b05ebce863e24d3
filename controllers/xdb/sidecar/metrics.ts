import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { BackupFigures } from '#backup/figures.ts';
import type { EngineFacts } from '#xdb/engine/engine.ts';
import type { Local, Outcome, Step } from '#xdb/protocol/types.ts';
import type { MemberStatus, SyncRecord } from '#xdb/schema.ts';

export interface MetricsInput {
  status: MemberStatus;
  sync: SyncRecord | undefined;
  local: Local | undefined;
  facts: EngineFacts | undefined;
  heartbeatMs: number | undefined;
  consulReachable: boolean;
  endpointLive: boolean;
  backups: BackupFigures;
  /** Counters of the engine by their own names, as far as they could be asked for. */
  engine: Readonly<Record<string, string>>;
}

/** Of the engine's own counters those that tell how it does; the names are the same in MariaDB and MySQL. */
export const ENGINE_STATUS = [
  'Questions',
  'Slow_queries',
  'Threads_connected',
  'Threads_running',
  'Connection_errors_max_connections',
  'Aborted_connects',
  'Created_tmp_disk_tables',
  'Innodb_buffer_pool_reads',
  'Innodb_buffer_pool_read_requests',
  'Innodb_buffer_pool_pages_dirty',
  'Innodb_buffer_pool_pages_free',
  'Innodb_buffer_pool_wait_free',
  'Innodb_data_fsyncs',
  'Innodb_log_waits',
  'Innodb_os_log_written',
  'Innodb_row_lock_time',
  'Innodb_row_lock_waits',
  'Innodb_rows_inserted',
  'Innodb_rows_updated',
  'Innodb_rows_deleted',
  'Innodb_rows_read',
] as const;

/** What a member measures of itself, in Prometheus' form. */
export function createMetrics() {
  const registry = new Registry();
  const registers = [registry];
  const gauge = (name: string, help: string, labelNames: string[] = []) =>
    new Gauge({ name: `xcaas_db_${name}`, help, labelNames, registers });
  const g = {
    role: gauge('role', 'What the record makes of this member: 1 at its role', ['role']),
    state: gauge('state', 'What its engine does: 1 at its state', ['state']),
    epoch: gauge('epoch', 'Epoch of the record'),
    rev: gauge('revision', 'Revision of the record'),
    inSync: gauge('in_sync', 'The record names a sync slave (1) or not (0)'),
    consul: gauge('consul_reachable', 'Consul answers (1) or not (0)'),
    endpoint: gauge('endpoint_live', 'HAProxy leads to where the record says (1) or not (0)'),
    readOnly: gauge('read_only', 'The engine takes no writes (1) or does (0)'),
    lag: gauge('lag_seconds', 'Seconds that this slave is behind, by the heartbeat'),
    heartbeat: gauge('heartbeat_seconds', 'How long the last heartbeat took to be committed, acknowledgement included'),
    waiters: gauge('semi_sync_waiters', 'Commits that wait for their acknowledgement'),
    waitAge: gauge('semi_sync_wait_seconds', 'How long they have waited while none arrived'),
    acked: gauge('semi_sync_acknowledged', 'Commits that were acknowledged since the engine was started'),
    unacked: gauge('semi_sync_unacknowledged', 'Commits that were let go without one since the engine was started'),
    connections: gauge('connections', 'Connections to the engine'),
    uptime: gauge('engine_uptime_seconds', 'How long the engine has run'),
    diskUsed: gauge('disk_used_bytes', 'Bytes in use of what the disk guard looks at'),
    diskTotal: gauge('disk_total_bytes', 'All of them'),
    archiving: gauge('archive_active', 'This member archives its binlog (1) or not (0)'),
    archiveBehind: gauge('archive_behind_bytes', 'Bytes of binlog that are in no archive yet'),
    archivedAt: gauge('archive_last_commit_timestamp_seconds', 'When the last archived transaction was committed'),
    backups: gauge('backups', 'Full backups that can be restored'),
    backupAt: gauge('backup_last_timestamp_seconds', 'When the newest full backup was made'),
    backupBytes: gauge('backup_last_bytes', 'Its size as it is stored'),
    backupFailed: gauge('backup_last_failed', 'The last full backup failed (1) or not (0)'),
    backupDamaged: gauge('backups_damaged', 'Backups that were verified and found damaged'),
    engine: gauge('engine_status', "The engine's own counters, by their own names", ['name']),
    rss: gauge('sidecar_resident_bytes', 'Memory of the sidecar'),
    cpu: gauge('sidecar_cpu_seconds', 'CPU time the sidecar has used'),
  };
  const steps = new Counter({
    name: 'xcaas_db_steps_total',
    help: 'Steps of the protocol, by rule and outcome',
    labelNames: ['rule', 'outcome'],
    registers,
  });
  const decision = gauge('decision', 'Rule of the last decision: 1 at its letter', ['rule']);
  const turns = new Histogram({
    name: 'xcaas_db_turn_seconds',
    help: 'How long a look at records and engine takes',
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5],
    registers,
  });
  const one = (metric: Gauge, label: string, value: string) => {
    metric.reset();
    metric.set({ [label]: value }, 1);
  };
  return {
    looked: (ms: number) => turns.observe(ms / 1000),
    stepped: (step: Step, outcome: Outcome) => steps.inc({ rule: step.rule, outcome: outcome.is }),
    async text({ status, sync, local, facts, heartbeatMs, consulReachable, endpointLive, backups, engine }: MetricsInput): Promise<string> {
      one(g.role, 'role', status.role);
      one(g.state, 'state', status.state);
      one(decision, 'rule', status.rule);
      g.epoch.set(status.epoch);
      g.rev.set(status.rev);
      g.inSync.set(Number(sync?.sync != null));
      g.consul.set(Number(consulReachable));
      g.endpoint.set(Number(endpointLive));
      // What is not known is not there, rather than zero.
      const known = (metric: Gauge, value: number | null | undefined) => (value == null ? metric.reset() : metric.set(value));
      known(g.readOnly, facts === undefined ? undefined : Number(facts.readOnly));
      known(g.lag, status.lagSeconds);
      known(g.heartbeat, heartbeatMs === undefined ? undefined : heartbeatMs / 1000);
      known(g.waiters, facts?.waiters);
      known(g.waitAge, local?.engine.state === 'running' ? local.engine.waitAgeMs / 1000 : undefined);
      known(g.acked, facts?.acknowledged);
      known(g.unacked, facts?.unacknowledged);
      known(g.connections, facts?.connections);
      known(g.uptime, facts?.uptimeSeconds);
      known(g.diskUsed, status.disk?.usedBytes);
      known(g.diskTotal, status.disk?.totalBytes);
      g.archiving.set(Number(status.archive?.active ?? false));
      known(g.archiveBehind, status.archive?.active ? status.archive.behindBytes : undefined);
      known(g.archivedAt, status.archive?.time === undefined ? undefined : Date.parse(status.archive.time) / 1000);
      g.backups.set(backups.count);
      known(g.backupAt, backups.newest === undefined ? undefined : backups.newest.finished / 1000);
      known(g.backupBytes, backups.newest?.bytes);
      g.backupFailed.set(Number(backups.lastFailed));
      g.backupDamaged.set(backups.damaged);
      g.engine.reset();
      for (const [name, value] of Object.entries(engine)) if (Number.isFinite(Number(value))) g.engine.set({ name }, Number(value));
      const { user, system } = process.cpuUsage();
      g.rss.set(process.memoryUsage.rss());
      g.cpu.set((user + system) / 1e6);
      return registry.metrics();
    },
  };
}

export type SidecarMetrics = ReturnType<typeof createMetrics>;
