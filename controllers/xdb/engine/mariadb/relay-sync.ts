import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError, systemCode } from '#core/errors.ts';
import { relayFiles } from './relay-scan.ts';
import type { Sql } from './sql.ts';

/** As good as never: a file is synced when it is closed. */
const RARELY = 10_000;

/**
 * One sync an event is what a slave's acknowledgements are worth, and it is also all that a slave can do: some ten for each transaction, one after another, while its master
 * commits many transactions with one. A slave that was away would never catch up with a master that goes on alone.
 *
 * On: what was received until now is synced by name. An event that was written before the setting changed is in its file by then, and the file is synced after it.
 */
export async function setRelaySync(sql: Sql, dataDir: string, on: boolean): Promise<void> {
  const wanted = on ? 1 : RARELY;
  await sql.query('SET GLOBAL sync_relay_log = ?', [wanted]);
  const [row] = await sql.query<{ value: number | string }>('SELECT @@GLOBAL.sync_relay_log value');
  if (Number(row?.value) !== wanted) throw new AppError('engine', `sync_relay_log is not ${wanted} after it was set`);
  if (!on) return;
  for (const file of await relayFiles(dataDir)) await syncFile(join(dataDir, file));
}

async function syncFile(path: string): Promise<void> {
  try {
    const file = await open(path, 'r');
    try {
      await file.sync();
    } finally {
      await file.close();
    }
  } catch (error) {
    // Applied to its end and removed meanwhile.
    if (systemCode(error) !== 'ENOENT') throw error;
  }
}
