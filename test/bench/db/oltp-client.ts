/**
 * A load of small transactions, as a program of its own so that it can run in a container on the database's network. First line of its input: {@link LoadOrders} as JSON;
 * each further line `run THREADS SECONDS` is answered by a line of JSON, {@link LoadAnswer}. The end of input ends it.
 */
import { createInterface } from 'node:readline';
import { type Connection, createConnection, type ResultSetHeader } from 'mysql2/promise';

export interface LoadOrders {
  host: string;
  port: number;
  user: string;
  password: string;
  database: string;
  rows: number;
}

export interface LoadAnswer {
  transactions: number;
  failed: number;
  seconds: number;
  /** Milliseconds. */
  p50: number;
  p99: number;
}

let orders: LoadOrders | undefined;
const threads: Connection[] = [];

async function open({ host, port, user, password, database }: LoadOrders): Promise<Connection> {
  return createConnection({ host, port, user, password, database, ssl: { rejectUnauthorized: false }, multipleStatements: true });
}

/** The statements of a transaction of sysbench's `oltp_write_only`, in one round trip: what is measured is the database and not this program. */
function transaction(rows: number): string {
  const any = () => 1 + Math.floor(Math.random() * rows);
  const id = any();
  const text = () => Array.from({ length: 10 }, () => Math.random().toString().slice(2, 13)).join('-');
  return [
    'BEGIN',
    `UPDATE bench SET k = k + 1 WHERE id = ${any()}`,
    `UPDATE bench SET c = '${text()}' WHERE id = ${any()}`,
    `DELETE FROM bench WHERE id = ${id}`,
    `INSERT INTO bench (id, k, c, pad) VALUES (${id}, ${any()}, '${text()}', '${text().slice(0, 59)}')`,
    'COMMIT',
  ].join('; ');
}

async function run(load: LoadOrders, count: number, seconds: number): Promise<LoadAnswer> {
  while (threads.length < count) threads.push(await open(load));
  const took: number[] = [];
  let failed = 0;
  const began = performance.now();
  const end = began + seconds * 1000;
  await Promise.all(
    threads.slice(0, count).map(async (connection) => {
      while (performance.now() < end) {
        const from = performance.now();
        try {
          await connection.query<ResultSetHeader[]>(transaction(load.rows));
          took.push(performance.now() - from);
        } catch {
          // Two that delete the same row: one of them is told to try again.
          failed += 1;
          await connection.query('ROLLBACK').catch(() => undefined);
        }
      }
    }),
  );
  const spent = (performance.now() - began) / 1000;
  took.sort((a, b) => a - b);
  const at = (share: number) => took[Math.min(took.length - 1, Math.floor(took.length * share))] ?? Number.NaN;
  return { transactions: took.length, failed, seconds: spent, p50: at(0.5), p99: at(0.99) };
}

/** One after another: the next line is read while nothing is under way. */
let last: Promise<unknown> = Promise.resolve();
createInterface({ input: process.stdin })
  .on('line', (line) => {
    if (orders === undefined) {
      orders = JSON.parse(line) as LoadOrders;
      return;
    }
    const load = orders;
    const [, count, seconds] = line.split(' ');
    last = last.then(async () => process.stdout.write(`${JSON.stringify(await run(load, Number(count), Number(seconds)))}\n`));
  })
  .on('close', () => process.exit(0));
