import { type ChildProcess, spawn } from 'node:child_process';
import { AppError } from '#core/errors.ts';
import { run } from '#core/spawn.ts';
import { AGENT, passwordHash, WRITER } from './names.ts';
import type { Setting } from './options.ts';

/** The last that a program said, which is where it says what went wrong. */
const TAIL = 4000;

/** Collects the end of what a program says. */
export function tailOf(stream: NodeJS.ReadableStream): () => string {
  let text = '';
  stream.setEncoding('utf8').on('data', (chunk: string) => {
    text = (text + chunk).slice(-TAIL);
  });
  return () => text.trim();
}

/** @throws AppError `engine` unless it ends with 0; `internal` when it could not be started */
export function ended(child: ChildProcess, name: string, said: () => string): Promise<void> {
  return new Promise((resolve, reject) => {
    child.once('error', (cause) => reject(new AppError('internal', `${name} could not be run: ${cause.message}`, { cause })));
    child.once('close', (code, signal) => {
      if (code === 0) return resolve();
      reject(new AppError('engine', `${name} ended with ${code ?? signal}: ${said().slice(-600)}`));
    });
  });
}

/** Starts one of the engine's tools; it is killed when `signal` aborts. */
export function startTool(file: string, args: readonly string[], stdio: 'in' | 'out' | 'none', signal?: AbortSignal): ChildProcess {
  const [input, output] = [stdio === 'in' ? 'pipe' : 'ignore', stdio === 'out' ? 'pipe' : 'ignore'] as const;
  return spawn(file, args, { stdio: [input, output, 'pipe'], ...(signal === undefined ? {} : { signal, killSignal: 'SIGKILL' as const }) });
}

/**
 * Gives the accounts of ours the present password, through the socket, by which the system's user is known without one. Nothing of it is in the binlog.
 *
 * @throws AppError `unavailable`
 */
export async function repairAccounts({ programs, socketPath, systemUser }: Setting, password: string): Promise<void> {
  const statements = ['SET SESSION sql_log_bin = 0', 'SET SESSION lock_wait_timeout = 5', ...accountStatements(password, systemUser)];
  const args = ['--no-defaults', '--protocol=socket', `--socket=${socketPath}`, `--user=${AGENT}`, '--batch'];
  const { code, stderr } = await run(programs.client, args, { input: `${statements.join(';\n')};\n`, timeoutMs: 10_000 });
  if (code !== 0) throw new AppError('unavailable', `the engine does not know the accounts of ours: ${stderr.trim().slice(-300)}`);
}

/** Rights that a writer of ours must not have: with them it would not be stopped where users are. */
const NOT_FOR_THE_WRITER = [
  'SUPER',
  'READ ONLY ADMIN',
  'BINLOG ADMIN',
  'BINLOG REPLAY',
  'CONNECTION ADMIN',
  'FEDERATED ADMIN',
  'REPLICATION SLAVE ADMIN',
  'REPLICATION MASTER ADMIN',
  'SET USER',
  'SHUTDOWN',
  'FILE',
];

/** Both accounts of ours, from nothing or as they are: only from this machine, and the agent's by the system's user too, for the engine's tools. */
export function accountStatements(password: string, systemUser: string): string[] {
  const hash = passwordHash(password);
  if (!/^[a-z_][a-z0-9_-]*$/.test(systemUser)) throw new AppError('internal', `${systemUser} cannot be the name of a system user`);
  const native = `mysql_native_password USING '${hash}'`;
  const local = `'${AGENT}'@'localhost'`;
  const loopback = `'${AGENT}'@'127.0.0.1'`;
  const writers = [`'${WRITER}'@'localhost'`, `'${WRITER}'@'127.0.0.1'`];
  return [
    `CREATE OR REPLACE USER ${local} IDENTIFIED VIA unix_socket AS '${systemUser}' OR ${native}`,
    `CREATE OR REPLACE USER ${loopback} IDENTIFIED VIA ${native}`,
    `GRANT ALL PRIVILEGES ON *.* TO ${local}, ${loopback} WITH GRANT OPTION`,
    ...writers.map((writer) => `CREATE OR REPLACE USER ${writer} IDENTIFIED VIA ${native}`),
    `GRANT ALL PRIVILEGES ON *.* TO ${writers.join(', ')} WITH GRANT OPTION`,
    `REVOKE ${NOT_FOR_THE_WRITER.join(', ')} ON *.* FROM ${writers.join(', ')}`,
  ];
}
