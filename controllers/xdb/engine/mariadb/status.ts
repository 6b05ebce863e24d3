import type { Question, Row, Sql } from './sql.ts';

/** What `SHOW ALL SLAVES STATUS` says of the one connection to a master. */
export interface SlaveStatus {
  host: string;
  port: number;
  io: 'running' | 'connecting' | 'stopped';
  sql: 'running' | 'stopped';
  /** Empty after a restart until the thread that receives was started again. */
  ioGtid: string;
  /** Why the thread that receives ended by itself, or what it goes on trying after; empty for one that was told to stop while it went on trying. */
  ioError: string;
  sqlError: string;
  /** Of the master that it is connected to; 0 before. */
  masterServerId: number;
  delaySeconds: number;
  /** Seconds between what was received last and what was applied last, by the master's clock alone. */
  behind: number | null;
  /** The same by the clocks of both; null while nothing is received. */
  secondsBehind: number | null;
  /** The thread that applies has come to the end of the relay log and waits there. */
  atEnd: boolean;
  /** Files and offsets of the master's: received until here, applied until here. */
  read: { file: string; offset: number };
  executed: { file: string; offset: number };
}

/** After it the thread that receives tries again, whatever the reason; what it says stays there also when it was told to stop. */
const GOES_ON_TRYING = /^error (re)?connecting to master/;

/** Undefined where no master is configured. */
export const SLAVE_STATUS: Question<SlaveStatus | undefined> = {
  text: 'SHOW ALL SLAVES STATUS',
  read: ([row]) => (row === undefined ? undefined : slaveOf(row)),
};

/** @returns undefined where no master is configured */
export async function slaveStatus(sql: Sql, options?: { timeoutMs?: number }): Promise<SlaveStatus | undefined> {
  return SLAVE_STATUS.read(await sql.query<Row>(SLAVE_STATUS.text, [], options));
}

function slaveOf(row: Row): SlaveStatus {
  const text = (name: string) => String(row[name] ?? '');
  const number = (name: string) => Number(row[name] ?? 0);
  const behind = row.Master_Slave_time_diff;
  const isStopped = text('Slave_IO_Running') === 'No';
  return {
    host: text('Master_Host'),
    port: number('Master_Port'),
    io: text('Slave_IO_Running') === 'Yes' ? 'running' : isStopped ? 'stopped' : 'connecting',
    sql: text('Slave_SQL_Running') === 'Yes' ? 'running' : 'stopped',
    ioGtid: text('Gtid_IO_Pos'),
    ioError: isStopped && GOES_ON_TRYING.test(text('Last_IO_Error')) ? '' : text('Last_IO_Error'),
    sqlError: text('Last_SQL_Error'),
    masterServerId: number('Master_Server_Id'),
    delaySeconds: number('SQL_Delay'),
    read: { file: text('Master_Log_File'), offset: number('Read_Master_Log_Pos') },
    executed: { file: text('Relay_Master_Log_File'), offset: number('Exec_Master_Log_Pos') },
    behind: behind === null || behind === undefined ? null : Math.max(0, Number(behind)),
    atEnd: text('Slave_SQL_Running') === 'Yes' && /^Slave has read all relay log/.test(text('Slave_SQL_Running_State')),
    secondsBehind: row.Seconds_Behind_Master == null ? null : Number(row.Seconds_Behind_Master),
  };
}

/** Positions as the engine knows them; these can be asked for while commits hang, `SHOW MASTER STATUS` cannot (H17). */
export async function positions(sql: Sql): Promise<{ binlog: string; applied: string }> {
  const rows = await sql.query<{ b: string | null; s: string | null }>('SELECT @@GLOBAL.gtid_binlog_pos b, @@GLOBAL.gtid_slave_pos s');
  return { binlog: rows[0]?.b ?? '', applied: rows[0]?.s ?? '' };
}
