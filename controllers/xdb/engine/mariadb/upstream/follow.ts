import { rm } from 'node:fs/promises';
import { sleep } from '#core/sleep.ts';
import type { UpstreamDistance, UpstreamMaster } from '#xdb/engine/engine.ts';
import { noteFollowed } from '../followed.ts';
import { compareGtid, containsGtid, newestGtid, parseGtid } from '../gtid.ts';
import type { Setting } from '../options.ts';
import type { Sql } from '../sql.ts';
import { SAFETY } from '../start-options.ts';
import { positions, type SlaveStatus, slaveStatus } from '../status.ts';
import { binlogStatus } from './import.ts';
import { connectUpstream } from './inspect.ts';
import { IGNORED_TABLES } from './schemas.ts';
import { readStart, startFile } from './start.ts';

/** STOP SLAVE waits for the transaction that is being applied, in milliseconds. */
const STOP_MS = 8000;
const ASK_MS = 4000;

/**
 * Follows a master that is no member. By GTID where it has them: from everything that is here. Else from the place in its binlog up to which was applied, and then rows
 * that are as they were to be already are no error: that place is not written together with the data, so that after a crash a transaction may come twice.
 */
export async function followUpstream(sql: Sql, { dataDir }: Pick<Setting, 'dataDir'>, master: UpstreamMaster): Promise<void> {
  const { host, port, user, password, tls, caFile } = master;
  const start = await readStart(dataDir);
  const status = await slaveStatus(sql);
  const known =
    status !== undefined && status.host === host && status.port === port && status.executed.file !== '' ? status.executed : undefined;
  if (status !== undefined) await sql.query('STOP SLAVE', [], { timeoutMs: STOP_MS });
  const place = start === undefined ? undefined : (known ?? start);
  // What was received and not applied the master still has.
  await sql.query('RESET SLAVE ALL');
  await noteFollowed(dataDir, { host, port });
  await sql.query('SET GLOBAL replicate_wild_ignore_table = ?', [caFile === undefined ? IGNORED_TABLES : '']);
  await sql.query('SET GLOBAL rpl_semi_sync_slave_enabled = OFF');
  if (place === undefined) {
    const { binlog, applied } = await positions(sql);
    const from = newestGtid(binlog, applied);
    if (compareGtid(from, applied) !== 0) await sql.query('SET GLOBAL gtid_slave_pos = ?', [from]);
  } else {
    await sql.query("SET GLOBAL slave_exec_mode = 'IDEMPOTENT'");
    // Several threads do not keep the place up to which was applied.
    await sql.query("SET GLOBAL slave_parallel_mode = 'none'");
    await sql.query('SET GLOBAL sync_relay_log_info = 1');
  }
  const secured =
    caFile === undefined
      ? `MASTER_SSL = ${tls ? 1 : 0}, MASTER_SSL_VERIFY_SERVER_CERT = 0`
      : 'MASTER_SSL = 1, MASTER_SSL_CA = ?, MASTER_SSL_VERIFY_SERVER_CERT = 0';
  const from = place === undefined ? 'MASTER_USE_GTID = slave_pos' : 'MASTER_USE_GTID = no, MASTER_LOG_FILE = ?, MASTER_LOG_POS = ?';
  await sql.query(
    `CHANGE MASTER TO MASTER_HOST = ?, MASTER_PORT = ?, MASTER_USER = ?, MASTER_PASSWORD = ?, ${from},
     MASTER_CONNECT_RETRY = 1, MASTER_HEARTBEAT_PERIOD = 1, ${secured}`,
    [
      ...[host, port, user, password],
      ...(place === undefined ? [] : [place.file, place.offset]),
      ...(caFile === undefined ? [] : [caFile]),
    ],
  );
  await sql.query('START SLAVE');
}

/** Everything that was particular to an outside master is as it is in every engine. The slave's threads are stopped, and it has no master. */
export async function forgetUpstream(sql: Sql, dataDir: string): Promise<void> {
  await sql.query("SET GLOBAL replicate_wild_ignore_table = ''");
  await sql.query("SET GLOBAL slave_exec_mode = 'STRICT'");
  await sql.query(`SET GLOBAL slave_parallel_mode = '${SAFETY.slave_parallel_mode}'`);
  await rm(startFile(dataDir), { force: true });
}

/**
 * Of a master without GTIDs: everything that was received is applied. Where receiving ended in the middle of a transaction its beginning is left in the relay log for ever: it
 * was not received, and the thread that applies waits behind it.
 */
export function isExecuted({ read, executed, io, atEnd }: SlaveStatus): boolean {
  return (read.file === executed.file && read.offset === executed.offset) || (io === 'stopped' && atEnd);
}

const POLL_MS = 50;

/** The relay log of a master without GTIDs is kept over a stop: the thread goes on where it was. @returns true once everything received is applied */
export async function drainByPlace(sql: Sql, timeoutMs: number): Promise<boolean> {
  const end = performance.now() + timeoutMs;
  let started = false;
  for (;;) {
    const status = await slaveStatus(sql);
    if (status === undefined || isExecuted(status)) return true;
    if (performance.now() >= end) return false;
    if (status.sql === 'stopped') {
      if (started) return false;
      started = true;
      await sql.query('START SLAVE SQL_THREAD');
    }
    await sleep(POLL_MS);
  }
}

/** @throws AppError `unavailable`, `forbidden`, `timeout` when the master cannot be asked */
export async function behindUpstream(sql: Sql, { dataDir }: Pick<Setting, 'dataDir'>, master: UpstreamMaster): Promise<UpstreamDistance> {
  const there = await connectUpstream(master, ASK_MS);
  try {
    const [row] = await there.query<{ ro: string | number }>('SELECT @@GLOBAL.read_only AS ro');
    const readOnly = !/^(0|OFF)$/i.test(String(row?.ro ?? 0));
    if ((await readStart(dataDir)) !== undefined) {
      const [now] = await binlogStatus(there);
      const status = await slaveStatus(sql);
      const goal = { file: String(now?.File ?? ''), offset: Number(now?.Position ?? 0) };
      return { reached: status !== undefined && isAt(status.read, goal), missing: undefined, readOnly };
    }
    const [now] = await there.query<{ gtid: string | null }>('SELECT @@GLOBAL.gtid_binlog_pos AS gtid');
    const goal = now?.gtid ?? '';
    const status = await slaveStatus(sql);
    const { binlog, applied } = await positions(sql);
    const mine = [status?.ioGtid ?? '', binlog, applied].reduce(newestGtid);
    return { reached: containsGtid(mine, goal), missing: lacking(mine, goal), readOnly };
  } finally {
    there.close();
  }
}

/** Files of one binlog have numbers of one length, or longer ones later. */
function isAt(mine: { file: string; offset: number }, goal: { file: string; offset: number }): boolean {
  if (mine.file === goal.file) return mine.offset >= goal.offset;
  return mine.file.length > goal.file.length || (mine.file.length === goal.file.length && mine.file > goal.file);
}

/** Pure: how many transactions `goal` has that `mine` has not. */
export function lacking(mine: string, goal: string): number {
  const has = parseGtid(mine);
  let sum = 0n;
  for (const { domain, seq } of parseGtid(goal).values()) {
    const own = has.get(domain)?.seq ?? 0n;
    if (seq > own) sum += seq - own;
  }
  return Number(sum);
}
