import type { EngineFacts } from '#xdb/engine/engine.ts';
import { REPLICATION_ACCOUNTS } from './accounts.ts';
import { followedMember } from './followed.ts';
import { HEARTBEAT_TABLE, memberOfAccount, OWN_SCHEMA } from './names.ts';
import { type RelayLog, standing } from './relay.ts';
import { errnoOf, type Question, type Sql } from './sql.ts';
import { SLAVE_STATUS } from './status.ts';
import { BUSY_THREADS, countWaiters, whyBusy } from './threads.ts';
import { isExecuted } from './upstream/follow.ts';
import { readStart } from './upstream/start.ts';

interface Variables {
  instance: string;
  version: string;
  readOnly: number | string;
  semiSyncMaster: number | string;
  semiSyncSlave: number | string;
  binlogGtid: string | null;
  appliedGtid: string | null;
  serverId: number | string;
}

const VARIABLES: Question<Variables> = {
  text: `SELECT @@GLOBAL.report_user instance, VERSION() version, @@GLOBAL.read_only readOnly,
  @@GLOBAL.rpl_semi_sync_master_enabled semiSyncMaster, @@GLOBAL.rpl_semi_sync_slave_enabled semiSyncSlave,
  @@GLOBAL.gtid_binlog_pos binlogGtid, @@GLOBAL.gtid_slave_pos appliedGtid, @@GLOBAL.server_id serverId`,
  read([row]) {
    if (row === undefined) throw new Error('the engine did not say who it is');
    return row as unknown as Variables;
  },
};

const COUNTERS = [
  'Rpl_semi_sync_master_status',
  'Rpl_semi_sync_master_clients',
  'Rpl_semi_sync_master_wait_sessions',
  'Rpl_semi_sync_master_yes_tx',
  'Rpl_semi_sync_master_no_tx',
  'Threads_connected',
  'Uptime',
] as const;

const STATUS: Question<Record<(typeof COUNTERS)[number], number>> = {
  text: `SHOW GLOBAL STATUS WHERE Variable_name IN (${COUNTERS.map((name) => `'${name}'`).join(', ')})`,
  read(rows) {
    const values = new Map(rows.map(({ Variable_name, Value }) => [Variable_name, Value]));
    const number = (name: string) => {
      const value = values.get(name) ?? '0';
      return value === 'ON' ? 1 : value === 'OFF' ? 0 : Number(value);
    };
    return Object.fromEntries(COUNTERS.map((name) => [name, number(name)])) as Record<(typeof COUNTERS)[number], number>;
  },
};

/**
 * One look at the engine, by statements that answer while commits hang (H17): none of them takes the lock that `SHOW MASTER STATUS` waits for. In one exchange, as it
 * is done each second on a member at rest.
 */
export async function readFacts(sql: Sql, relay: RelayLog, dataDir: string): Promise<EngineFacts> {
  const [variables, status, threads, accounts, slave] = await sql.ask([
    VARIABLES,
    STATUS,
    BUSY_THREADS,
    REPLICATION_ACCOUNTS,
    SLAVE_STATUS,
  ]);
  const appliedGtid = variables.appliedGtid ?? '';
  const master = slave === undefined ? undefined : await followedMember(dataDir, slave);
  // A member is followed by GTID.
  const place = slave === undefined || master !== undefined ? undefined : await readStart(dataDir);
  const { received, unapplied } =
    slave === undefined || place === undefined
      ? await standing(relay, slave, appliedGtid)
      : { received: appliedGtid, unapplied: slave.sql === 'stopped' && !isExecuted(slave) };
  const acknowledgers = status.Rpl_semi_sync_master_clients;
  const dumping = threads.filter(({ command }) => command.startsWith('Binlog Dump')).flatMap(({ user }) => memberOfAccount(user) ?? []);
  return {
    instance: variables.instance,
    version: variables.version,
    serverId: Number(variables.serverId),
    uptimeSeconds: status.Uptime,
    readOnly: Number(variables.readOnly) === 1,
    semiSyncMaster: Number(variables.semiSyncMaster) === 1,
    semiSyncActive: status.Rpl_semi_sync_master_status === 1,
    semiSyncSlave: Number(variables.semiSyncSlave) === 1,
    waiters: countWaiters(threads, status.Rpl_semi_sync_master_wait_sessions),
    acknowledged: status.Rpl_semi_sync_master_yes_tx,
    unacknowledged: status.Rpl_semi_sync_master_no_tx,
    acknowledgers,
    binlogGtid: variables.binlogGtid ?? '',
    appliedGtid,
    dumps: dumping.map((member) => ({ member, semiSync: acknowledgers > 0 })),
    openAccounts: accounts.filter(({ locked }) => !locked).map(({ member }) => member),
    ...(slave === undefined
      ? {}
      : {
          slave: {
            masterHost: slave.host,
            masterPort: slave.port,
            master,
            masterServerId: slave.masterServerId,
            io: slave.io,
            sql: slave.sql,
            ioGtid: received,
            ioError: slave.ioError,
            sqlError: slave.sqlError,
            lagSeconds: await heartbeatAge(sql),
            backlogSeconds: slave.behind ?? slave.secondsBehind,
            ...(place === undefined ? {} : { drained: isExecuted(slave) }),
          },
        }),
    relayUnapplied: unapplied,
    connections: status.Threads_connected,
    busy: whyBusy(threads),
  };
}

const NO_SUCH_TABLE = 1146;

/** Seconds since the newest heartbeat that is here was written, by the clocks of two hosts; null where there is none. */
async function heartbeatAge(sql: Sql): Promise<number | null> {
  try {
    const [row] = await sql.query<{ age: string | null }>(
      `SELECT TIMESTAMPDIFF(MICROSECOND, MAX(at), UTC_TIMESTAMP(6)) / 1000000 age FROM ${OWN_SCHEMA}.${HEARTBEAT_TABLE}`,
    );
    return row?.age === null || row?.age === undefined ? null : Math.max(0, Number(row.age));
  } catch (error) {
    if (errnoOf(error) === NO_SUCH_TABLE) return null;
    throw error;
  }
}
