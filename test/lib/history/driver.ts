import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { AppError } from '#core/errors.ts';
import { bundledProgram, type From, spawnProgram } from '../program.ts';
import type { ClientAnswer, ClientOrders } from './client.ts';
import type { Endpoint } from './connect.ts';
import { type Attempt, parseJournal } from './journal.ts';
import type { Outcomes } from './outcomes.ts';

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

/** A client that writes and keeps a journal. */
export interface History {
  readonly client: string;
  readonly journal: string;
  /** False once its process is gone, with its host perhaps. */
  alive(): boolean;
  /** @throws AppError `unavailable` when it is gone, `timeout` when it sleeps */
  report(): Promise<Outcomes>;
  /** Begins no more transactions. @returns when those under way have an outcome */
  pause(): Promise<Outcomes>;
  resume(): Promise<Outcomes>;
  /** Transactions from now on are counted to this round. */
  round(number: number): Promise<Outcomes>;
  stop(): Promise<Outcomes>;
  /** Ends it without a word. */
  kill(): void;
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
  mkdirSync(folder, { recursive: true });
  const journal = join(folder, `${client}.jsonl`);
  const program = bundledProgram(fileURLToPath(new URL('./client.ts', import.meta.url)), { name: 'history' });
  const child = spawnProgram(from, program, { folders: [folder] });
  let stderr = '';
  let ended: string | undefined;
  const waiting: { type: ClientAnswer['type']; resolve(outcomes: Outcomes): void; reject(error: Error): void }[] = [];
  const gone = () => new AppError('unavailable', `the client ${client} is gone (${ended}): ${stderr.slice(-500)}`);
  const over = (how: string) => {
    ended ??= how;
    for (const { reject } of waiting.splice(0)) reject(gone());
  };
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(-5000);
  });
  child.on('error', (error) => over(error.message));
  child.on('close', (code, signal) => over(`ended with ${code ?? signal}`));
  child.stdin?.on('error', () => undefined);
  createInterface({ input: child.stdout! }).on('line', (line) => {
    const { type, outcomes } = JSON.parse(line) as ClientAnswer;
    const at = waiting.findIndex((one) => one.type === type);
    if (at >= 0) waiting.splice(at, 1)[0]!.resolve(outcomes);
  });
  const ask = (order: string, type: ClientAnswer['type'], timeoutMs: number) =>
    new Promise<Outcomes>((resolve, reject) => {
      if (ended !== undefined) return reject(gone());
      const entry = {
        type,
        resolve(outcomes: Outcomes) {
          clearTimeout(timer);
          resolve(outcomes);
        },
        reject(error: Error) {
          clearTimeout(timer);
          reject(error);
        },
      };
      const timer = setTimeout(() => {
        waiting.splice(waiting.indexOf(entry), 1);
        reject(new AppError('timeout', `the client ${client} did not answer '${type}' within ${timeoutMs} ms ${stderr.slice(-500)}`));
      }, timeoutMs);
      waiting.push(entry);
      child.stdin?.write(`${order}\n`);
    });
  const kill = () => {
    child.stdin?.end();
    child.kill('SIGKILL');
  };
  const orders: ClientOrders = {
    client,
    journal,
    endpoint,
    steady,
    fresh,
    thinkMs,
    retryMs,
    seed,
    round,
    freshQueryMs: freshQueryMs ?? endpoint.queryMs,
    ...(epochSql ? { epochSql } : {}),
  };
  try {
    await ask(JSON.stringify(orders), 'started', 30_000);
  } catch (error) {
    kill();
    throw error;
  }
  // A statement under way may take its whole deadline, and so may each address of a connection.
  const patience = endpoint.queryMs * 2 + endpoint.connectMs * 4 * endpoint.hosts.length + 10_000;
  return {
    client,
    journal,
    alive: () => ended === undefined,
    report: () => ask('report', 'report', 10_000),
    pause: () => ask('pause', 'paused', patience),
    resume: () => ask('resume', 'resumed', 10_000),
    round: (number) => ask(`round ${number}`, 'round', 10_000),
    async stop() {
      try {
        return await ask('stop', 'stopped', patience);
      } finally {
        child.stdin?.end();
      }
    },
    kill,
  };
}

/** Everything that was ever tried: all journals of a folder, or of the clients whose names begin so. */
export function readJournals(folder: string, prefix = ''): Attempt[] {
  return readdirSync(folder)
    .filter((file) => file.startsWith(prefix) && file.endsWith('.jsonl'))
    .sort()
    .flatMap((file) => parseJournal(readFileSync(join(folder, file), 'utf8')));
}
