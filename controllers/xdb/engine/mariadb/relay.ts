import { AppError } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import { sleep } from '#core/sleep.ts';
import type { Gtid } from '#xdb/engine/engine.ts';
import { containsGtid, newestGtid } from './gtid.ts';
import { type RelayScan, relayStamp, scanRelayLog } from './relay-scan.ts';
import type { Sql } from './sql.ts';
import { positions, type SlaveStatus, slaveStatus } from './status.ts';

/**
 * The relay log of a slave whose threads are stopped. In GTID mode MariaDB throws it away at the next START SLAVE or CHANGE MASTER, with all that was acknowledged and not
 * applied (H3); here it is known for what it is, and replayed first.
 */
export interface RelayLog {
  /** Reads it, unless it is as it was and what is known of it will do. @throws AppError `engine` when it cannot be read */
  scan(applied: Gtid): Promise<RelayScan>;
}

export function createRelayLog(dataDir: string): RelayLog {
  let last: { stamp: string; applied: Gtid; scan: Promise<RelayScan> } | undefined;
  return {
    async scan(applied) {
      const stamp = await relayStamp(dataDir);
      if (last?.stamp === stamp) {
        const known = await last.scan;
        // Once more is applied only the place of the first that is not has moved.
        if (last.applied === applied || known.unapplied === undefined) return known;
        if (containsGtid(applied, known.received)) return { received: known.received, unapplied: undefined };
      }
      const mine = { stamp, applied, scan: scanRelayLog(dataDir, applied) };
      last = mine;
      mine.scan.catch(() => {
        if (last === mine) last = undefined;
      });
      return mine.scan;
    },
  };
}

/** Facts wait this long for a scan, in milliseconds; it goes on meanwhile. */
const GLANCE_MS = 200;

/** Where a slave stands, whatever its threads do. */
export interface Standing {
  /** Everything that was received whole. */
  received: Gtid;
  /** Threads that would apply are stopped and something is not applied, or that is not known yet. */
  unapplied: boolean;
}

export async function standing(relay: RelayLog, status: SlaveStatus | undefined, applied: Gtid): Promise<Standing> {
  const told = toldByEngine(status, applied);
  const isStopped = status === undefined || status.sql === 'stopped';
  if (told !== undefined) return { received: told, unapplied: isStopped && !containsGtid(applied, told) };
  const scanning = relay.scan(applied);
  const scan = await Promise.race([scanning, sleep(GLANCE_MS).then(() => undefined)]);
  scanning.catch(() => undefined);
  if (scan === undefined) return { received: applied, unapplied: true };
  return { received: newestGtid(scan.received, applied), unapplied: isStopped && scan.unapplied !== undefined };
}

/** What was received, where the engine itself knows: it does not after a restart. */
function toldByEngine(status: SlaveStatus | undefined, applied: Gtid): Gtid | undefined {
  if (status === undefined) return undefined;
  if (status.io !== 'stopped' || status.ioGtid !== '') return newestGtid(status.ioGtid, applied);
  // A delayed slave acknowledges nothing; its master still has what it put off.
  return status.delaySeconds > 0 ? applied : undefined;
}

const POLL_MS = 20;

/**
 * Applies everything that was received, or as much as there is time for; to be called again then. A thread that applies is waited for; where none may be started, because
 * that would throw the relay log away, the engine is told to read it from the place of the first transaction that is not applied, by name and offset and not by
 * GTID: so it keeps the log, and applies it as it always does.
 *
 * @returns true once everything is applied; false when there was no time or the engine stopped applying (its status says why)
 * @throws AppError `engine` when the engine refuses
 */
export async function drain(sql: Sql, relay: RelayLog, log: Logger, timeoutMs: number): Promise<boolean> {
  const end = performance.now() + timeoutMs;
  let goal: Gtid | undefined;
  let started = false;
  for (;;) {
    const status = await slaveStatus(sql);
    const { applied } = await positions(sql);
    // While it still receives, the goal moves.
    if (goal === undefined || status?.io !== 'stopped') goal = await goalOf(relay, status, applied, end - performance.now());
    if (goal === undefined) return false;
    if (containsGtid(applied, goal)) {
      // It may read by name and offset: nobody shall take it for a slave that follows.
      if (status?.io === 'stopped' && status.sql === 'running') await sql.query('STOP SLAVE SQL_THREAD');
      return true;
    }
    if (performance.now() >= end) return false;
    if (status === undefined) {
      throw new AppError(
        'engine',
        `the relay log goes up to ${goal}, ${applied} is applied, and the engine has forgotten where it is from`,
      );
    }
    if (status.sql === 'stopped') {
      if (started) {
        log.warn({ err: status.sqlError, applied, goal }, 'what was received cannot be applied');
        return false;
      }
      started = true;
      await startApplying(sql, relay, status, applied, log);
    }
    await sleep(Math.min(POLL_MS, Math.max(1, end - performance.now())));
  }
}

/** Everything that was received; undefined when that could not be found out in time. */
async function goalOf(relay: RelayLog, status: SlaveStatus | undefined, applied: Gtid, leftMs: number): Promise<Gtid | undefined> {
  const told = toldByEngine(status, applied);
  if (told !== undefined) return told;
  const scan = await Promise.race([relay.scan(applied), sleep(Math.max(0, leftMs)).then(() => undefined)]);
  return scan === undefined ? undefined : newestGtid(scan.received, applied);
}

/**
 * A slave by GTIDs that was killed has forgotten the name of its master's binlog, and 11.8.6 breaks down when its parallel threads compare the empty name with another
 * (`compare_log_names`). Any name of that form will do: nothing is asked of the master by it.
 */
const ANY_BINLOG = 'binlog.000001';

async function startApplying(sql: Sql, relay: RelayLog, status: SlaveStatus, applied: Gtid, log: Logger): Promise<void> {
  if (status.io === 'stopped') {
    const { unapplied } = await relay.scan(applied);
    if (unapplied === undefined) return;
    log.info({ applied, ...unapplied }, 'what was received before is applied from the relay log');
    // With a name or an offset the relay log is kept, which is allowed without GTIDs only.
    await sql.query(
      'CHANGE MASTER TO MASTER_USE_GTID = no, MASTER_LOG_FILE = ?, MASTER_LOG_POS = 4, RELAY_LOG_FILE = ?, RELAY_LOG_POS = ?',
      [ANY_BINLOG, unapplied.file, unapplied.offset],
    );
  }
  await sql.query('START SLAVE SQL_THREAD');
}
