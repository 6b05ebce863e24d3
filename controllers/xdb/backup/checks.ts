import { AppError } from '#core/errors.ts';
import type { BackupCheck, TableSum } from './schema.ts';
import type { Sql } from './sql.ts';

export interface TableName {
  schema: string;
  table: string;
}

const SYSTEM = "'mysql','information_schema','performance_schema','sys'";

/** Tables of users and of the sidecar; what the engine keeps for itself differs from member to member. */
export function tablesOf(sql: Sql): Promise<TableName[]> {
  return sql.query<TableName>(
    'SELECT table_schema AS `schema`, table_name AS `table` FROM information_schema.tables ' +
      `WHERE table_type = 'BASE TABLE' AND engine = 'InnoDB' AND table_schema NOT IN (${SYSTEM}) ORDER BY table_schema, table_name`,
  );
}

export interface SumsOptions {
  connect: () => Promise<Sql>;
  /** No table is begun after this time, in milliseconds. */
  budgetMs: number;
  signal: AbortSignal;
  now?: () => number;
}

/**
 * Rows and checksum of each table in one snapshot, and the transaction that the snapshot is as of.
 *
 * A table's metadata lock is given back before the next one (by a savepoint, as mysqldump does), and a statement that waits for one ends this: a slave whose
 * ALTER waits here falls behind, and could not take over.
 */
export async function sumTables({ connect, budgetMs, signal, now = () => performance.now() }: SumsOptions): Promise<BackupCheck> {
  const until = now() + budgetMs;
  const sql = await connect();
  const watcher = await connect();
  let stopped = false;
  const [{ id } = { id: '' }] = await sql.query<{ id: string }>('SELECT CONNECTION_ID() AS id');
  const timer = setInterval(() => {
    void watcher
      .query<{ n: string }>("SELECT COUNT(*) AS n FROM information_schema.processlist WHERE state LIKE 'Waiting for table metadata lock%'")
      .then(([row]) => {
        if (Number(row?.n) === 0 && !signal.aborted) return;
        stopped = true;
        return watcher.query(`KILL HARD QUERY ${Number(id)}`);
      })
      .catch(() => undefined);
  }, 500);
  try {
    await sql.query('SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ');
    await sql.query('START TRANSACTION WITH CONSISTENT SNAPSHOT');
    const gtid = await snapshotGtid(sql);
    const tables = await tablesOf(sql);
    const sums: TableSum[] = [];
    await sql.query('SAVEPOINT xcaas');
    for (const table of tables) {
      signal.throwIfAborted();
      if (stopped || now() > until) break;
      const sum = await sumTable(sql, table).catch(() => undefined);
      if (sum !== undefined) sums.push(sum);
      await sql.query('ROLLBACK TO SAVEPOINT xcaas');
    }
    return { v: 1, gtid, tables: sums, skipped: tables.length - sums.length };
  } finally {
    clearInterval(timer);
    watcher.close();
    sql.close();
  }
}

/** @returns undefined when it cannot be read as of now: it was changed, dropped, or is broken */
export async function sumTable(sql: Sql, { schema, table }: TableName): Promise<TableSum | undefined> {
  const [count] = await sql.query<{ n: string }>('SELECT COUNT(*) AS n FROM ??.??', [schema, table]);
  const [sum] = await sql.query<{ Checksum: string | null }>('CHECKSUM TABLE ??.?? EXTENDED', [schema, table]);
  if (count === undefined || sum === undefined || sum.Checksum === null) return undefined;
  return { schema, table, rows: Number(count.n), checksum: String(sum.Checksum) };
}

async function snapshotGtid(sql: Sql): Promise<string> {
  const rows = await sql.query<{ Variable_name: string; Value: string }>("SHOW STATUS LIKE 'binlog_snapshot_%'");
  const value = (name: string) => rows.find((row) => row.Variable_name.toLowerCase() === name)?.Value;
  const [row] = await sql.query<{ gtid: string | null }>('SELECT BINLOG_GTID_POS(?, ?) AS gtid', [
    value('binlog_snapshot_file') ?? '',
    Number(value('binlog_snapshot_position') ?? 0),
  ]);
  if (row?.gtid === null || row?.gtid === undefined)
    throw new AppError('engine', 'the engine does not say which transaction its snapshot is as of');
  return row.gtid;
}
