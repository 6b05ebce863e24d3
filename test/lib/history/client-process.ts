import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { AppError } from '#core/errors.ts';
import { bundledProgram, type From, spawnProgram } from '../program.ts';
import type { ClientAnswer, LoopOrders } from './client-loop.ts';
import type { Outcomes } from './outcomes.ts';

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

export interface ClientProcess<O extends LoopOrders> {
  /** Where it runs. */
  from: From;
  /** Path of the program, which calls `serveClient`. */
  entry: string;
  /** Names the client in everything it writes; no other may ever have it. */
  client: string;
  /** Folder of this machine that journals are kept in. */
  folder: string;
  orders: Omit<O, 'client' | 'journal'>;
  /** How long what is under way may take. */
  patienceMs: number;
}

/** Starts a client's program where it is to run, and speaks with it. */
export async function startClient<O extends LoopOrders>({
  from,
  entry,
  client,
  folder,
  orders,
  patienceMs,
}: ClientProcess<O>): Promise<History> {
  mkdirSync(folder, { recursive: true });
  const journal = join(folder, `${client}.jsonl`);
  const program = bundledProgram(entry, { name: 'history' });
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
  try {
    await ask(JSON.stringify({ ...orders, client, journal }), 'started', 30_000);
  } catch (error) {
    kill();
    throw error;
  }
  return {
    client,
    journal,
    alive: () => ended === undefined,
    report: () => ask('report', 'report', 10_000),
    pause: () => ask('pause', 'paused', patienceMs),
    resume: () => ask('resume', 'resumed', 10_000),
    round: (number) => ask(`round ${number}`, 'round', 10_000),
    async stop() {
      try {
        return await ask('stop', 'stopped', patienceMs);
      } finally {
        child.stdin?.end();
      }
    },
    kill,
  };
}
