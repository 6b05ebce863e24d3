import { expect, it } from 'vitest';
import type { Sql } from './sql.ts';
import { slaveStatus } from './status.ts';

const AWAY =
  "error reconnecting to master 'repl_adb-1@172.18.0.3:3305' - retry-time: 1  maximum-retries: 0  message: Can't connect to server on '172.18.0.3' (111)";
const ERRANT =
  "Got fatal error 1236 from master when reading data from binary log: 'An attempt was made to replicate with an incompatible history'";

it.each([
  { running: 'Connecting', error: AWAY, io: 'connecting', ioError: AWAY },
  // P2: it was told to stop while its master was away. That is nothing that keeps it from taking over, nor from following again.
  { running: 'No', error: AWAY, io: 'stopped', ioError: '' },
  { running: 'No', error: AWAY.replace('reconnecting', 'connecting'), io: 'stopped', ioError: '' },
  { running: 'No', error: ERRANT, io: 'stopped', ioError: ERRANT },
  { running: 'Yes', error: '', io: 'running', ioError: '' },
])('what the thread that receives says, which is $running after "$error"', async ({ running, error, io, ioError }) => {
  const row = { Slave_IO_Running: running, Last_IO_Error: error, Slave_SQL_Running: 'Yes' };
  const sql = { query: async () => [row] } as unknown as Sql;
  expect(await slaveStatus(sql)).toMatchObject({ io, ioError });
});
