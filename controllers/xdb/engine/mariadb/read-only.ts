import { AppError, messageOf } from '#core/errors.ts';
import { errnoOf, INTERRUPTED, LOCK_WAIT_TIMEOUT, type Sql, STATEMENT_TIMEOUT } from './sql.ts';

/** Beyond the time that the engine was given, for its answer to come, in milliseconds. */
const ANSWER_MS = 3000;
/** Refusals that mean: not in time. */
const LATE: readonly (number | undefined)[] = [LOCK_WAIT_TIMEOUT, STATEMENT_TIMEOUT, INTERRUPTED];

/**
 * W1, O4. Switched on, it is in force only once no statement writes and no commit is under way, so that nobody waits for an acknowledgement either; until then all other
 * writes wait with it, which is why the time is short.
 *
 * @throws AppError `timeout` when it was not in force in time: it is then as it was before, and that was looked at; or, when the engine does not even say so, the
 * connection is gone
 */
export async function setReadOnly(sql: Sql, on: boolean, timeoutMs: number): Promise<void> {
  const seconds = Math.max(0.05, timeoutMs / 1000);
  try {
    // The lock's own limit knows whole seconds only, and applies to each of the two locks that are taken.
    await sql.query(
      `SET STATEMENT max_statement_time = ${seconds.toFixed(3)}, lock_wait_timeout = ${Math.ceil(seconds) + 1} FOR SET GLOBAL read_only = ${on ? 'ON' : 'OFF'}`,
      [],
      { timeoutMs: timeoutMs + ANSWER_MS },
    );
  } catch (error) {
    if (!LATE.includes(errnoOf(error))) throw error;
    if ((await isReadOnly(sql)) !== on) {
      throw new AppError('timeout', `read_only could not be set within ${timeoutMs} ms: ${messageOf(error)}`, { cause: error });
    }
    // The limit came between its taking effect and the answer.
  }
  if ((await isReadOnly(sql)) !== on) throw new AppError('engine', `read_only is not ${on ? 'on' : 'off'} after it was set`);
}

async function isReadOnly(sql: Sql): Promise<boolean> {
  const [row] = await sql.query<{ ro: number | string }>('SELECT @@GLOBAL.read_only ro');
  return Number(row?.ro) === 1;
}
