import { AppError } from '#core/errors.ts';
import type { EngineSession } from '#xdb/engine/engine.ts';
import { allowDumps, cutDumps, ensureReplicationAccount } from './accounts.ts';
import { applyParameters } from './apply-parameters.ts';
import { compareWith } from './compare.ts';
import { connectLocal } from './connect.ts';
import { readFacts } from './facts.ts';
import { follow, forgetMaster, stopReceiving } from './follow.ts';
import { containsGtid, newestGtid } from './gtid.ts';
import { type Lease, writeHeartbeat } from './heartbeat.ts';
import { AGENT, WRITER } from './names.ts';
import type { Setting } from './options.ts';
import { setReadOnly } from './read-only.ts';
import { drain, type RelayLog, standing } from './relay.ts';
import { checkSettings } from './self-check.ts';
import type { Sql } from './sql.ts';
import { positions, slaveStatus } from './status.ts';
import { killOwnOthers, killUsers } from './threads.ts';
import { behindUpstream, drainByPlace, followUpstream } from './upstream/follow.ts';
import { readStart } from './upstream/start.ts';

const ALLOW_MS = 4000;
const COMPARE_MS = 4500;

/** What the protocol's statements need: nothing of them in the binlog, no wait for a lock that outlasts the step, no limit of the user's. */
const PREPARE =
  'SET SESSION sql_log_bin = 0, lock_wait_timeout = 3, max_statement_time = 0, wait_timeout = 86400, idle_transaction_timeout = 0, sql_mode = DEFAULT, autocommit = 1';

/** @throws AppError `unavailable` while the engine does not answer, `config_rejected` when it is not one that the sidecar started */
export async function openSession(setting: Setting, relay: RelayLog, timeoutMs: number): Promise<EngineSession> {
  const { dataDir, programs, log } = setting;
  const sql = await connectLocal(setting, AGENT, timeoutMs);
  try {
    await sql.query(PREPARE, [], { timeoutMs });
    const instance = await instanceOf(sql, timeoutMs);
    await checkSettings(sql);
    return sessionOn(instance);
  } catch (error) {
    sql.close();
    throw error;
  }

  function sessionOn(instance: string): EngineSession {
    const writers = createWriters(() => connectLocal(setting, WRITER, timeoutMs), instance);
    return {
      instance,
      facts: () => readFacts(sql, relay, dataDir),
      killOwnOthers: (limitMs) => killOwnOthers(sql, limitMs),
      setReadOnly: (on, limitMs) => setReadOnly(sql, on, limitMs),
      setSemiSyncMaster: (on) => set(sql, 'rpl_semi_sync_master_enabled', on),
      setSemiSyncSlave: (on) => set(sql, 'rpl_semi_sync_slave_enabled', on),
      ensureReplicationAccount: (member, password) => ensureReplicationAccount(sql, member, password),
      allowDumps: (members) => allowDumps(sql, members, ALLOW_MS),
      cutDumps: () => cutDumps(sql),
      killUsers: () => killUsers(sql),
      stopReceiving: () => stopReceiving(sql),
      drain: async (limitMs) => ((await readStart(dataDir)) === undefined ? drain(sql, relay, log, limitMs) : drainByPlace(sql, limitMs)),
      forgetMaster: () => forgetMaster(sql, relay, dataDir),
      async compareWith(master) {
        const { binlog, applied } = await positions(sql);
        return compareWith(programs, newestGtid(binlog, applied), master, log, COMPARE_MS);
      },
      follow: (master, options) => follow(sql, relay, setting, master, options),
      followUpstream: (master) => followUpstream(sql, setting, master),
      behindUpstream: (master) => behindUpstream(sql, setting, master),
      async received(gtid) {
        const { binlog, applied } = await positions(sql);
        if (containsGtid(newestGtid(binlog, applied), gtid)) return true;
        return containsGtid((await standing(relay, await slaveStatus(sql), applied)).received, gtid);
      },
      heartbeat: (beat, limitMs) => writeHeartbeat(() => writers.lease(), beat, limitMs),
      applyParameters: (parameters, memoryBytes) => applyParameters(sql, parameters, memoryBytes),
      query: (text, values) => sql.query(text, values),
      close() {
        writers.close();
        sql.close();
      },
    };
  }
}

async function set(sql: Sql, variable: string, on: boolean): Promise<void> {
  await sql.query(`SET GLOBAL ${variable} = ${on ? 'ON' : 'OFF'}`);
  const [row] = await sql.query<{ value: number | string }>(`SELECT @@GLOBAL.${variable} value`);
  if (Number(row?.value) !== (on ? 1 : 0)) throw new AppError('engine', `${variable} is not ${on ? 'on' : 'off'} after it was set`);
}

/** The word that this start of the engine was given on its command line. */
export async function instanceOf(sql: Sql, timeoutMs: number): Promise<string> {
  const [row] = await sql.query<{ instance: string | null }>('SELECT @@GLOBAL.report_user instance', [], { timeoutMs });
  if (!row?.instance)
    throw new AppError('config_rejected', 'an engine answers that was not started by the sidecar', { hint: 'it is killed by itself' });
  return row.instance;
}

/** Connections that write as users do; one of them is kept. */
function createWriters(connect: () => Promise<Sql>, instance: string) {
  let idle: Sql | undefined;
  let closed = false;
  return {
    async lease(): Promise<Lease> {
      let sql = idle;
      idle = undefined;
      if (sql === undefined || sql.closed) {
        sql = await connect();
        try {
          if ((await instanceOf(sql, 1000)) !== instance) throw new AppError('unavailable', 'the engine was started anew meanwhile');
        } catch (error) {
          sql.close();
          throw error;
        }
      }
      const mine = sql;
      return {
        sql: mine,
        giveBack() {
          if (closed || idle !== undefined || mine.closed) mine.close();
          else idle = mine;
        },
      };
    },
    close() {
      closed = true;
      idle?.close();
    },
  };
}
