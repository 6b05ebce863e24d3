import { AppError } from '#core/errors.ts';
import {
  atStart,
  boolean,
  bytes,
  choice,
  inBytes,
  integer,
  type Parameter,
  type ParameterRow,
  parameterTable,
  seconds,
} from '#pool/parameters.ts';
import { shareMemory } from '#xdb/engine/mariadb/memory.ts';

/**
 * Server parameters that a user may set (`db param set`, `--opt param.NAME=VALUE`): a whitelist, since one line of a server's configuration can undo the promise
 * that an acknowledged commit is on both members, or keep an engine from starting at all.
 */

const KIB = 2 ** 10;
const MIB = 2 ** 20;
const GIB = 2 ** 30;

const SQL_MODES = [
  'ALLOW_INVALID_DATES',
  'ANSI_QUOTES',
  'EMPTY_STRING_IS_NULL',
  'ERROR_FOR_DIVISION_BY_ZERO',
  'HIGH_NOT_PRECEDENCE',
  'IGNORE_SPACE',
  'NO_AUTO_CREATE_USER',
  'NO_AUTO_VALUE_ON_ZERO',
  'NO_BACKSLASH_ESCAPES',
  'NO_ENGINE_SUBSTITUTION',
  'NO_UNSIGNED_SUBTRACTION',
  'NO_ZERO_DATE',
  'NO_ZERO_IN_DATE',
  'ONLY_FULL_GROUP_BY',
  'PAD_CHAR_TO_FULL_LENGTH',
  'PIPES_AS_CONCAT',
  'REAL_AS_FLOAT',
  'STRICT_ALL_TABLES',
  'STRICT_TRANS_TABLES',
  'TIME_ROUND_FRACTIONAL',
];

const COLLATIONS = [
  'utf8mb4_uca1400_ai_ci',
  'utf8mb4_uca1400_as_cs',
  'utf8mb4_general_ci',
  'utf8mb4_unicode_ci',
  'utf8mb4_unicode_520_ci',
  'utf8mb4_bin',
  'utf8mb3_general_ci',
  'utf8mb3_unicode_ci',
  'utf8mb3_bin',
  'latin1_swedish_ci',
  'latin1_general_ci',
  'latin1_bin',
  'ascii_general_ci',
  'ascii_bin',
  'binary',
];

export const PARAMETERS: readonly Parameter[] = [
  integer('max_connections', 10, 10_000, (memory) => shareMemory(memory).maxConnections, 'connections at a time; each may take some MiB'),
  integer('max_user_connections', 0, 10_000, 0, 'connections at a time of one user; 0 = no limit'),
  bytes('max_allowed_packet', MIB, GIB, 16 * MIB, 'longest statement or row'),
  seconds('wait_timeout', 30, 604_800, 28_800, 'an idle connection is closed after it'),
  seconds('interactive_timeout', 30, 604_800, 28_800, 'the same for clients at a terminal'),
  seconds('net_read_timeout', 1, 3600, 30, 'wait for more from a client that is sending'),
  seconds('net_write_timeout', 1, 3600, 60, 'wait for a client that is reading'),
  seconds('idle_transaction_timeout', 0, 86_400, 0, 'a transaction that does nothing for so long is ended; 0 = never'),
  seconds('idle_write_transaction_timeout', 0, 86_400, 0, 'the same for one that has written'),
  seconds('lock_wait_timeout', 1, 86_400, 86_400, 'wait for a lock on a table definition'),
  {
    name: 'max_statement_time',
    dynamic: true,
    about: 'a statement that takes longer is ended; 0 = never',
    kind: 'decimal',
    min: 0,
    max: 86_400,
    default: 0,
  },
  atStart(
    bytes(
      'innodb_buffer_pool_size',
      32 * MIB,
      1024 * GIB,
      (memory) => shareMemory(memory).bufferPoolBytes,
      'pages in memory; at most three quarters of the memory',
    ),
  ),
  seconds('innodb_lock_wait_timeout', 1, 1000, 50, 'wait for a row lock'),
  bytes('innodb_log_file_size', 32 * MIB, 16 * GIB, 96 * MIB, 'redo log: larger ones write less and recover longer'),
  integer('innodb_io_capacity', 100, 100_000, 200, 'pages a second that are written in the background'),
  integer('innodb_io_capacity_max', 100, 200_000, 2000, 'the same when it is behind'),
  atStart(integer('innodb_read_io_threads', 1, 64, 4, 'threads that read')),
  atStart(integer('innodb_write_io_threads', 2, 64, 4, 'threads that write')),
  atStart(choice('innodb_autoinc_lock_mode', ['1', '2'], '1', 'how numbers are given to rows: 2 is faster and leaves gaps')),
  boolean('innodb_adaptive_hash_index', false, 'a hash of pages that are read often'),
  boolean('innodb_print_all_deadlocks', false, 'every deadlock goes to the log'),
  boolean('innodb_snapshot_isolation', true, 'REPEATABLE READ refuses to write over what it did not see'),
  boolean('innodb_strict_mode', true, 'tables that could not hold their rows are refused'),
  choice('innodb_default_row_format', ['dynamic', 'compact', 'redundant'], 'dynamic', 'row format of new tables'),
  atStart(integer('innodb_ft_min_token_size', 0, 16, 3, 'shortest word of a full-text index')),
  bytes('innodb_online_alter_log_max_size', 64 * KIB, 16 * GIB, 128 * MIB, 'room for writes during an ALTER'),
  atStart(choice('character_set_server', ['utf8mb4', 'utf8mb3', 'latin1', 'ascii', 'binary'], 'utf8mb4', 'of new databases')),
  atStart(choice('collation_server', COLLATIONS, 'utf8mb4_uca1400_ai_ci', 'of new databases')),
  {
    name: 'sql_mode',
    dynamic: true,
    about: 'modes, separated by commas',
    kind: 'set',
    choices: SQL_MODES,
    default: 'STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_CREATE_USER,NO_ENGINE_SUBSTITUTION',
  },
  choice(
    'transaction_isolation',
    ['READ-UNCOMMITTED', 'READ-COMMITTED', 'REPEATABLE-READ', 'SERIALIZABLE'],
    'REPEATABLE-READ',
    'of connections that do not choose',
  ),
  {
    name: 'default_time_zone',
    dynamic: false,
    about: 'of connections that do not choose',
    kind: 'text',
    pattern: /^(SYSTEM|[+-](0\d|1[0-3]):[0-5]\d)$/,
    like: '+02:00',
    default: 'SYSTEM',
  },
  boolean('explicit_defaults_for_timestamp', true, 'TIMESTAMP columns get no defaults of their own'),
  boolean('log_bin_trust_function_creators', false, 'functions may be made that are not declared deterministic'),
  boolean('local_infile', true, 'LOAD DATA LOCAL'),
  bytes('group_concat_max_len', 4 * KIB, GIB, MIB, 'longest result of GROUP_CONCAT'),
  bytes('max_heap_table_size', 16 * KIB, 4 * GIB, 16 * MIB, 'largest table in memory'),
  bytes('tmp_table_size', 16 * KIB, 4 * GIB, 16 * MIB, 'largest temporary table in memory'),
  bytes('sort_buffer_size', 32 * KIB, 64 * MIB, 2 * MIB, 'for each sort'),
  bytes('join_buffer_size', 8 * KIB, 64 * MIB, 256 * KIB, 'for each join without an index'),
  bytes('read_buffer_size', 8 * KIB, 16 * MIB, 128 * KIB, 'for each scan'),
  bytes('read_rnd_buffer_size', 8 * KIB, 16 * MIB, 256 * KIB, 'for each read after a sort'),
  integer('table_open_cache', 100, 100_000, 2000, 'tables kept open'),
  integer('table_definition_cache', 400, 100_000, 400, 'definitions kept'),
  // The engine takes no more than connections.
  integer(
    'thread_cache_size',
    0,
    10_000,
    (memory) => Math.min(256, shareMemory(memory).maxConnections),
    'threads kept for the next connection',
  ),
  integer('max_prepared_stmt_count', 0, 1_048_576, 16_382, 'prepared statements at a time'),
  boolean('slow_query_log', false, 'statements that take long go to a file'),
  { name: 'long_query_time', dynamic: true, about: 'what "long" is', kind: 'decimal', min: 0, max: 3600, default: 10 },
  boolean('log_queries_not_using_indexes', false, 'to the slow log, however fast'),
  integer('log_slow_rate_limit', 1, 1000, 1, 'every n-th only'),
  integer('min_examined_row_limit', 0, 1_000_000_000, 0, 'those that looked at fewer rows do not'),
  choice('binlog_row_image', ['FULL', 'MINIMAL', 'NOBLOB'], 'FULL', 'columns of a changed row in the binlog'),
  seconds('binlog_expire_logs_seconds', 86_400, 2_592_000, 604_800, 'age at which binlogs are removed'),
  atStart(integer('slave_parallel_threads', 1, 64, 4, 'threads that apply on a slave')),
  atStart(boolean('performance_schema', false, 'instrumentation; costs 60 to 140 MiB')),
];

/** Why some are not on the list, by what begins their name or is it. First match counts. */
const REFUSED: readonly [RegExp, string][] = [
  [
    /^(sync_binlog|innodb_flush_log_at_trx_commit|innodb_flush_log_at_timeout|sync_(relay_log|master_info|relay_log_info)|innodb_doublewrite|innodb_flush_method)$/,
    'an acknowledged commit could be lost when the power fails',
  ],
  [/^rpl_/, 'it decides when a commit counts as acknowledged; the sidecar sets it by the record'],
  [
    /^(read_only|super_read_only|init_rpl_role|init_slave|skip_slave_start|master_|report_)/,
    'it belongs to the role of a member; the sidecar sets it by the record',
  ],
  [
    /^(gtid_|server_id|log_bin$|log_bin_index|log_slave_updates|relay_log|binlog_format|binlog_checksum|slave_|replicate_|binlog_do_db|binlog_ignore_db|sql_log_bin|log_basename|encrypt_binlog)/,
    'replication and failover rest on it',
  ],
  [/^(enforce_storage_engine|default_storage_engine|storage_engine)$/, 'only what InnoDB holds survives a failover whole'],
  [
    /^(skip_grant_tables|skip_networking|skip_name_resolve|secure_file_priv|plugin_|init_connect|init_file|bind_address|port|extra_|socket|datadir|tmpdir|pid_file|user|ssl_|tls_|require_secure_transport|innodb_data_|innodb_log_group_|innodb_undo_|log_error|defaults_|unix_socket|old_passwords|strict_password)/,
    'it belongs to how the member is built, and the sidecar would be locked out or look in the wrong place',
  ],
  [/^event_scheduler$/, 'events would run on the member that has them and stop at the next switchover'],
  [/^(lower_case_table_names|innodb_page_size|innodb_checksum_algorithm)$/, 'it is fixed when the data are made'],
  [/^(innodb_force_recovery|innodb_read_only|innodb_fast_shutdown)$/, 'it is for repairs; restore a backup instead'],
];

/** Names may be written with `-`, in any case. */
const canonical = (name: string): string => name.trim().toLowerCase().replaceAll('-', '_');

const TABLE = parameterTable({
  ...{ parameters: PARAMETERS, refused: REFUSED, canonical, list: 'db param list NAME' },
  words: { on: 'ON', off: 'OFF' },
});
export const { find: parameter, read: readValue, defaultOf, needRestart } = TABLE;

/**
 * @returns canonical names and values, in the order of their names
 * @throws AppError `invalid` for the first that cannot be
 */
export function validateParameters(
  given: Readonly<Record<string, string>>,
  { memoryBytes }: { memoryBytes: number },
): Record<string, string> {
  const values = TABLE.readAll(given);
  checkTogether(values, memoryBytes);
  return Object.fromEntries(Object.entries(values).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** What one by one is right and would keep the engine from starting or make it run out of memory together. */
function checkTogether(values: Record<string, string>, memoryBytes: number): void {
  const pool = values.innodb_buffer_pool_size;
  if (pool !== undefined && Number(pool) > 0.75 * memoryBytes) {
    throw new AppError(
      'invalid',
      `innodb_buffer_pool_size=${inBytes(Number(pool))} leaves no room in a memory of ${inBytes(memoryBytes)}`,
      {
        hint: `at most ${inBytes(Math.floor((0.75 * memoryBytes) / MIB) * MIB)}, or more memory: db resize NAME --memory G`,
      },
    );
  }
  const { collation_server: collation, character_set_server: characters } = values;
  const charset = collation?.split('_')[0];
  if (charset !== undefined && charset !== (characters ?? 'utf8mb4')) {
    throw new AppError('invalid', `collation_server=${collation} needs character_set_server=${charset}`, { hint: 'set both' });
  }
  if (collation === undefined && characters !== undefined && characters !== 'utf8mb4')
    values.collation_server = defaultCollation(characters);
  const [capacity, most] = [values.innodb_io_capacity, values.innodb_io_capacity_max];
  if (capacity !== undefined && Number(capacity) > Number(most ?? Math.max(2000, 2 * Number(capacity)))) {
    throw new AppError('invalid', `innodb_io_capacity=${capacity} is more than innodb_io_capacity_max`, { hint: 'set both' });
  }
}

const defaultCollation = (charset: string): string => COLLATIONS.find((one) => one === charset || one.startsWith(`${charset}_`)) ?? charset;

/** All parameters with what they are now, for `db param list`. */
export function describeParameters(values: Readonly<Record<string, string>>, { memoryBytes }: { memoryBytes: number }): ParameterRow[] {
  return TABLE.describe(values, memoryBytes);
}
