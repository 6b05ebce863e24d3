import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { From } from '../program.ts';
import type { ClientOrders } from './client.ts';
import { type History, startClient } from './client-process.ts';
import type { Endpoint } from './connect.ts';
import { type Attempt, parseJournal } from './journal.ts';

export interface HistoryOptions extends From {
  /** Names the client in every row it writes; no other may ever have it. */
  client: string;
  /** Folder of this machine that journals are kept in. */
  folder: string;
  endpoint: Endpoint;
  seed: number;
  round?: number;
  /** Workers that keep their connection; 4 if not given. */
  steady?: number;
  /** Workers that open a connection for each transaction; 2 if not given. */
  fresh?: number;
  /** Mean pause of a worker between two transactions, ms; 50 if not given. */
  thinkMs?: number;
  /** Deadline of a statement of theirs, ms; the endpoint's if not given. */
  freshQueryMs?: number;
  /** Pause after a failure, ms; 50 if not given. */
  retryMs?: number;
  epochSql?: string;
}

export async function startHistory(options: HistoryOptions): Promise<History> {
  const {
    client,
    folder,
    endpoint,
    seed,
    round = 0,
    steady = 4,
    fresh = 2,
    thinkMs = 50,
    retryMs = 50,
    freshQueryMs,
    epochSql,
    ...from
  } = options;
  return startClient<ClientOrders>({
    ...{ from, client, folder, entry: fileURLToPath(new URL('./client.ts', import.meta.url)) },
    orders: {
      ...{ endpoint, steady, fresh, thinkMs, retryMs, seed, round, freshQueryMs: freshQueryMs ?? endpoint.queryMs },
      ...(epochSql ? { epochSql } : {}),
    },
    // A statement under way may take its whole deadline, and so may each address of a connection.
    patienceMs: endpoint.queryMs * 2 + endpoint.connectMs * 4 * endpoint.hosts.length + 10_000,
  });
}

/** Everything that was ever tried: all journals of a folder, or of the clients whose names begin so. */
export function readJournals(folder: string, prefix = ''): Attempt[] {
  return readdirSync(folder)
    .filter((file) => file.startsWith(prefix) && file.endsWith('.jsonl'))
    .sort()
    .flatMap((file) => parseJournal(readFileSync(join(folder, file), 'utf8')));
}
