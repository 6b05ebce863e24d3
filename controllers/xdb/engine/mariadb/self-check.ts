import { AppError } from '#core/errors.ts';
import type { Sql } from './sql.ts';
import { SAFETY } from './start-options.ts';

/** Said by the engine in other words, or said to be only whether it is on. */
const SHOWN: Readonly<Record<string, string>> = { log_bin: 'ON', innodb_flush_log_at_trx_commit: '1' };
const NOT_SHOWN = ['relay_log', 'master_retry_count', 'skip_slave_start'];
/** Is changed while the engine runs; one by one is never wrong (`upstream/follow.ts`). */
const CHANGES = ['slave_parallel_mode'];

/**
 * Whether what the protocol stands on is in force: an engine that was started by somebody else, or changed since, must not be taken for one of ours.
 *
 * @throws AppError `config_rejected` naming the first that is not
 */
export async function checkSettings(sql: Sql): Promise<void> {
  const wanted = Object.entries(SAFETY).filter(([name]) => !NOT_SHOWN.includes(name) && !CHANGES.includes(name));
  const names = wanted.map(([name]) => `'${name}'`).join(', ');
  const rows = await sql.query<{ Variable_name: string; Value: string }>(`SHOW GLOBAL VARIABLES WHERE Variable_name IN (${names})`);
  const values = new Map(rows.map(({ Variable_name, Value }) => [Variable_name.toLowerCase(), Value]));
  for (const [name, value] of wanted) {
    const expected = SHOWN[name] ?? value;
    const found = values.get(name);
    if (found?.toLowerCase() !== expected.toLowerCase()) {
      throw new AppError('config_rejected', `the engine runs with ${name}=${found ?? 'nothing'} instead of ${expected}`, {
        hint: 'it was not started by the sidecar, or changed since; db restart NAME',
      });
    }
  }
}
