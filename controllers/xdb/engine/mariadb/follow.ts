import { AppError } from '#core/errors.ts';
import type { MasterAddress } from '#xdb/engine/engine.ts';
import { forgetFollowed, noteFollowed } from './followed.ts';
import { compareGtid, newestGtid } from './gtid.ts';
import type { Setting } from './options.ts';
import { type RelayLog, standing } from './relay.ts';
import type { Sql } from './sql.ts';
import { positions, type SlaveStatus, slaveStatus } from './status.ts';
import { forgetUpstream, isExecuted } from './upstream/follow.ts';
import { readStart } from './upstream/start.ts';

/** STOP SLAVE waits for the transaction that is being applied, in milliseconds. */
const STOP_MS = 20_000;

/** P2: nothing is received any more, and that is seen. A master that is frozen holds this up for the second that `kill_conn_timeout` gives it. */
export async function stopReceiving(sql: Sql): Promise<void> {
  await sql.query('STOP SLAVE IO_THREAD', [], { timeoutMs: STOP_MS });
  const status = await slaveStatus(sql);
  if (status !== undefined && status.io !== 'stopped')
    throw new AppError('engine', `the thread that receives is ${status.io} after it was told to stop`);
}

/**
 * P4: after this not even a stray START SLAVE would receive anything.
 *
 * @throws AppError `conflict` when that would throw away what was received and not applied
 */
export async function forgetMaster(sql: Sql, relay: RelayLog, dataDir: string): Promise<void> {
  const status = await slaveStatus(sql);
  if (status !== undefined) {
    await stopWhole(sql, relay, status, dataDir);
    await sql.query('RESET SLAVE ALL');
  }
  await forgetUpstream(sql, dataDir);
  await sql.query('SET GLOBAL rpl_semi_sync_slave_enabled = OFF');
  if ((await slaveStatus(sql)) !== undefined)
    throw new AppError('engine', 'the engine still knows a master after it was told to forget it');
  await forgetFollowed(dataDir);
}

/**
 * J2, J3: becomes the slave of this master, from what it has on. To be called only once the master was seen to have that (`compareWith`).
 *
 * @throws AppError `conflict` when what was received and not applied would be thrown away (J1)
 */
export async function follow(
  sql: Sql,
  relay: RelayLog,
  { dataDir }: Pick<Setting, 'dataDir'>,
  master: MasterAddress,
  { semiSync, delaySeconds }: { semiSync: boolean; delaySeconds: number },
): Promise<void> {
  const status = await slaveStatus(sql);
  if (status !== undefined) await stopWhole(sql, relay, status, dataDir);
  else await refuseUnapplied(sql, relay, undefined);
  const { host, port, user, password, caFile } = master;
  await sql.query('RESET SLAVE ALL');
  await noteFollowed(dataDir, { host, port, member: master.member });
  await forgetUpstream(sql, dataDir);
  // What this engine wrote itself, as a master, it has as well.
  const { binlog, applied } = await positions(sql);
  const from = newestGtid(binlog, applied);
  if (compareGtid(from, applied) !== 0) await sql.query('SET GLOBAL gtid_slave_pos = ?', [from]);
  // It takes effect with the start of the thread.
  await sql.query(`SET GLOBAL rpl_semi_sync_slave_enabled = ${semiSync ? 'ON' : 'OFF'}`);
  const tls =
    caFile === undefined
      ? 'MASTER_SSL = 0'
      : // Members are found by address, which is in no certificate: the chain is checked, the name is not.
        'MASTER_SSL = 1, MASTER_SSL_CA = ?, MASTER_SSL_VERIFY_SERVER_CERT = 0';
  await sql.query(
    `CHANGE MASTER TO MASTER_HOST = ?, MASTER_PORT = ?, MASTER_USER = ?, MASTER_PASSWORD = ?, MASTER_USE_GTID = slave_pos,
     MASTER_CONNECT_RETRY = 1, MASTER_HEARTBEAT_PERIOD = 1, MASTER_DELAY = ?, ${tls}`,
    [host, port, user, password, delaySeconds, ...(caFile === undefined ? [] : [caFile])],
  );
  await sql.query('START SLAVE');
}

async function stopWhole(sql: Sql, relay: RelayLog, status: SlaveStatus, dataDir: string): Promise<void> {
  await stopReceiving(sql);
  if ((await readStart(dataDir)) === undefined) await refuseUnapplied(sql, relay, status);
  else await refuseUnexecuted(sql);
  await sql.query('STOP SLAVE', [], { timeoutMs: STOP_MS });
}

/** With nothing received any more: the rest is applied by the thread that runs, or there is a rest and this must not go on. */
async function refuseUnapplied(sql: Sql, relay: RelayLog, before: SlaveStatus | undefined): Promise<void> {
  const now = before === undefined ? undefined : await slaveStatus(sql);
  const { applied } = await positions(sql);
  const { received, unapplied } = await standing(relay, now, applied);
  const order = compareGtid(applied, received);
  if (unapplied || (order !== 0 && order !== 1)) {
    throw new AppError(
      'conflict',
      `what was received up to ${received} is applied up to ${applied || 'nothing'} only: it would be thrown away`,
      {
        hint: 'it is applied first',
      },
    );
  }
}

/** The same of a master without GTIDs. */
async function refuseUnexecuted(sql: Sql): Promise<void> {
  const status = await slaveStatus(sql);
  if (status === undefined || isExecuted(status)) return;
  const { read, executed } = status;
  throw new AppError(
    'conflict',
    `received up to ${read.file}:${read.offset}, applied up to ${executed.file}:${executed.offset}: the rest would be thrown away`,
    {
      hint: 'it is applied first',
    },
  );
}
