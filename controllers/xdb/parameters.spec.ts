import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { defaultOf, describeParameters, needRestart, PARAMETERS, parameter, readValue, validateParameters } from './parameters.ts';

const memoryBytes = 4 * 2 ** 30;
const validate = (given: Record<string, string>) => validateParameters(given, { memoryBytes });

describe('server parameters', () => {
  it('are read as people write them', () => {
    expect(validate({ 'Max-Allowed-Packet': '64M', slow_query_log: 'on', long_query_time: '0.5', wait_timeout: ' 600 ' })).toEqual({
      long_query_time: '0.5',
      max_allowed_packet: String(64 * 2 ** 20),
      slow_query_log: 'ON',
      wait_timeout: '600',
    });
    expect(validate({ sql_mode: 'strict_trans_tables, ansi_quotes' })).toEqual({ sql_mode: 'STRICT_TRANS_TABLES,ANSI_QUOTES' });
    expect(validate({ sql_mode: '' })).toEqual({ sql_mode: '' });
    expect(validate({ transaction_isolation: 'read-committed' })).toEqual({ transaction_isolation: 'READ-COMMITTED' });
  });

  it.each([
    ['sync_binlog', 'lost when the power fails'],
    ['innodb_flush_log_at_trx_commit', 'lost when the power fails'],
    ['innodb-flush-log-at-trx-commit', 'lost when the power fails'],
    ['rpl_semi_sync_master_timeout', 'acknowledged'],
    ['rpl_semi_sync_master_wait_point', 'acknowledged'],
    ['read_only', 'role'],
    ['init_rpl_role', 'role'],
    ['gtid_strict_mode', 'failover'],
    ['server_id', 'failover'],
    ['log_bin', 'failover'],
    ['sql_log_bin', 'failover'],
    ['binlog_format', 'failover'],
    ['slave_exec_mode', 'failover'],
    ['slave_skip_errors', 'failover'],
    ['replicate_do_db', 'failover'],
    ['enforce_storage_engine', 'InnoDB'],
    ['skip_grant_tables', 'built'],
    ['init_connect', 'built'],
    ['secure_file_priv', 'built'],
    ['plugin_load_add', 'built'],
    ['event_scheduler', 'switchover'],
    ['lower_case_table_names', 'fixed'],
    ['innodb_force_recovery', 'repairs'],
  ])('%s is refused with its reason', (name, reason) => {
    expect(() => validate({ [name]: '1' })).toThrow(expect.objectContaining({ code: 'invalid', message: expect.stringContaining(reason) }));
  });

  it.each([
    [{ max_connections: '5' }, '10 to 10000'],
    [{ max_connections: '1e3' }, '10 to 10000'],
    [{ max_allowed_packet: '2G' }, '1M to 1G'],
    [{ slow_query_log: 'maybe' }, 'on or off'],
    [{ sql_mode: 'STRICT_TRANS_TABLES,ORACLE' }, 'ORACLE'],
    [{ default_time_zone: "+02:00' --skip-grant-tables" }, 'like +02:00'],
    [{ max_statement_time: '-1' }, '0 to 86400'],
    [{ innodb_buffer_pool_size: '3.5G' }, '32M to'],
    [{ innodb_buffer_pool_size: '4G' }, 'no room'],
    [{ collation_server: 'latin1_bin' }, 'character_set_server=latin1'],
    [{ wait_timeout: '60', 'wait-timeout': '61' }, 'twice'],
    [{ innodb_buffer_pool: '1G' }, 'not a parameter'],
  ])('%j is refused', (given, reason) => {
    expect(() => validate(given as unknown as Record<string, string>)).toThrow(
      expect.objectContaining({ code: 'invalid', message: expect.stringContaining(reason) }),
    );
  });

  it('says which name may be meant', () => {
    expect(() => parameter('buffer_pool_size')).toThrow(
      expect.objectContaining({ hint: expect.stringContaining('innodb_buffer_pool_size') }),
    );
  });

  it('give a character set its collation', () => {
    expect(validate({ character_set_server: 'latin1' })).toMatchObject({ collation_server: 'latin1_swedish_ci' });
    expect(validate({ character_set_server: 'binary' })).toMatchObject({ collation_server: 'binary' });
  });

  it('are the same when what came out goes in again', () => {
    for (const known of PARAMETERS) {
      const value = defaultOf(known, memoryBytes);
      expect(readValue(known, value)).toBe(value);
    }
  });

  it('never let anything through that could be more than one word of a command line', () => {
    fc.assert(
      fc.property(fc.constantFrom(...PARAMETERS), fc.string({ unit: 'grapheme' }), (known, text) => {
        let value: string;
        try {
          value = readValue(known, text);
        } catch (error) {
          expect(error).toMatchObject({ code: 'invalid' });
          return;
        }
        expect(value).toMatch(/^[A-Za-z0-9_.,:+-]*$/);
      }),
    );
  });

  it('are told with their defaults and what a change needs', () => {
    const rows = describeParameters({ max_connections: '500' }, { memoryBytes });
    expect(rows.find(({ name }) => name === 'max_connections')).toMatchObject({
      value: '500',
      default: '922',
      changed: true,
      restart: false,
    });
    expect(rows.find(({ name }) => name === 'innodb_buffer_pool_size')).toMatchObject({ changed: false, restart: true });
    expect(needRestart({ wait_timeout: '60' }, { performance_schema: 'ON' })).toEqual(['performance_schema']);
  });
});
