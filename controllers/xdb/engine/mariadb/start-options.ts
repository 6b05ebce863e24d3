import type { CommandLine } from '#member/supervisor.ts';
import type { StartOptions } from '#xdb/engine/engine.ts';
import { validateParameters } from '#xdb/parameters.ts';
import { shareMemory } from './memory.ts';
import { GTID_DOMAIN } from './names.ts';

/**
 * What the protocol stands on. It is in `images/xdb/my.cnf` too; here it wins over anything in a file, and `connect` looks whether it is in force.
 */
export const SAFETY: Readonly<Record<string, string>> = {
  log_bin: 'binlog',
  relay_log: 'relay',
  log_slave_updates: 'ON',
  binlog_format: 'ROW',
  sync_binlog: '1',
  innodb_flush_log_at_trx_commit: '1',
  innodb_doublewrite: 'ON',
  // What is acknowledged is in the memory of the slave's host and on the master's disk: one sync an event, which is all a slave can do, takes three quarters of a pair's
  // commits. A start of the host makes an end of what rests on it (docs/xdb-protocol.md, J2).
  sync_relay_log: '10000',
  // A master that is away is asked for until it is back.
  master_retry_count: '0',
  relay_log_recovery: 'OFF',
  relay_log_purge: 'ON',
  gtid_strict_mode: 'ON',
  gtid_domain_id: String(GTID_DOMAIN),
  binlog_checksum: 'CRC32',
  // Events of a slave must not run ahead of their order: what is applied is then a beginning of what was received.
  slave_parallel_mode: 'optimistic',
  slave_connections_needed_for_purge: '0',
  rpl_semi_sync_master_wait_point: 'AFTER_SYNC',
  rpl_semi_sync_master_timeout: '18446744073709551615',
  rpl_semi_sync_master_wait_no_slave: 'ON',
  rpl_semi_sync_slave_kill_conn_timeout: '1',
  skip_slave_start: 'ON',
  skip_name_resolve: 'ON',
  enforce_storage_engine: 'InnoDB',
};

export interface CommandInput extends StartOptions {
  server: string;
  defaultsFile: string;
  dataDir: string;
  socketPath: string;
  /** A new word for each start: the engine shows it to whoever asks who it is. */
  instance: string;
}

/**
 * The engine's command line: the user's parameters first, what must not be changed after them (of several the last counts).
 *
 * @throws AppError `invalid` for parameters that are not on the whitelist
 */
export function startCommand(input: CommandInput): CommandLine {
  const { role, semiSyncMaster, memoryBytes, serverId, instance } = input;
  const shares = shareMemory(memoryBytes);
  const settings: [string, string][] = [
    ['innodb_buffer_pool_size', String(shares.bufferPoolBytes)],
    ['max_connections', String(shares.maxConnections)],
    ...Object.entries(validateParameters(input.parameters, { memoryBytes })),
    ...Object.entries(SAFETY),
    ['datadir', input.dataDir],
    ['socket', input.socketPath],
    ['server_id', String(serverId)],
    // Shown to masters only that ask for passwords of slaves, which ours never do.
    ['report_user', instance],
    ['init_rpl_role', role],
    ['read_only', 'ON'],
    ['rpl_semi_sync_master_enabled', semiSyncMaster ? 'ON' : 'OFF'],
    ['rpl_semi_sync_slave_enabled', 'OFF'],
  ];
  const last = new Map(settings);
  const args = [...last].map(([name, value]) => `--${name.replaceAll('_', '-')}=${value}`);
  return { file: input.server, args: [`--defaults-file=${input.defaultsFile}`, ...args] };
}
