import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError } from '#core/errors.ts';
import { sleep } from '#core/sleep.ts';
import { connectSql, type Sql } from './sql.ts';

/**
 * An engine for nobody but this program, on a data directory of its own: without network, binlog, replication and members; on a private socket, with a user
 * that exists as long as it runs.
 */
export interface Scratch {
  socketPath: string;
  /** Client options (user and password) for the engine's own tools; a path. */
  clientFile: string;
  sql(): Promise<Sql>;
  /** Ends it in good order, so that its data can be taken over. @throws AppError `engine` when it does not end well */
  stop(): Promise<void>;
  /** SIGKILL. */
  kill(): Promise<void>;
}

export interface ScratchOptions {
  dataDir: string;
  /** For socket, temporary files and log: made, and removed at the end. Its path must fit a socket's name (about 90 bytes). */
  runDir: string;
  memoryBytes: number;
  /** Parameters that the data was made with and cannot be opened without. */
  parameters?: Readonly<Record<string, string>>;
  /** Milliseconds until it answers: it may have a redo log to apply. */
  timeoutMs?: number;
  signal: AbortSignal;
}

const USER = 'xcaas_scratch';
const STOP_MS = 600_000;

export async function startScratch(options: ScratchOptions): Promise<Scratch> {
  const { dataDir, runDir, memoryBytes, parameters = {}, timeoutMs = 600_000, signal } = options;
  const password = randomBytes(18).toString('base64url');
  const socketPath = join(runDir, 'engine.sock');
  const [initFile, clientFile] = [join(runDir, 'init.sql'), join(runDir, 'client.cnf')];
  await rm(runDir, { recursive: true, force: true });
  await mkdir(join(runDir, 'tmp'), { recursive: true, mode: 0o700 });
  const account = `CREATE OR REPLACE USER ${USER}@localhost IDENTIFIED BY '${password}';\nGRANT ALL ON *.* TO ${USER}@localhost WITH GRANT OPTION;\n`;
  await writeFile(initFile, account, { mode: 0o600 });
  await writeFile(clientFile, `[client]\nuser=${USER}\npassword=${password}\nsocket=${socketPath}\nssl=0\n`, { mode: 0o600 });
  const args = [
    '--no-defaults',
    `--datadir=${dataDir}`,
    `--socket=${socketPath}`,
    `--pid-file=${join(runDir, 'engine.pid')}`,
    `--tmpdir=${join(runDir, 'tmp')}`,
    `--init-file=${initFile}`,
    '--skip-networking',
    '--skip-log-bin',
    '--skip-slave-start',
    '--skip-ssl',
    '--performance-schema=OFF',
    '--event-scheduler=OFF',
    '--innodb-linux-aio=aio',
    // It is thrown away or stopped in good order: nobody was told that anything is durable.
    '--innodb-flush-log-at-trx-commit=0',
    `--innodb-buffer-pool-size=${Math.max(16 * 2 ** 20, Math.floor(memoryBytes / 2))}`,
    '--max-allowed-packet=1G',
    '--innodb-lock-wait-timeout=300',
    ...Object.entries(parameters).map(([name, value]) => `--${name.replace(/_/g, '-')}=${value}`),
  ];
  const child = spawn('mariadbd', args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-8000);
  });
  const ended = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('close', (code, name) => resolve(code === null ? `signal ${name}` : `code ${code}`));
  });
  let end: string | undefined;
  void ended.then((how) => {
    end = how;
  });
  const onAbort = () => void child.kill('SIGKILL');
  signal.addEventListener('abort', onAbort, { once: true });

  async function finish(): Promise<string> {
    const how = await ended;
    signal.removeEventListener('abort', onAbort);
    await rm(runDir, { recursive: true, force: true });
    return how;
  }

  const sql = () => connectSql({ socketPath, user: USER, password });
  const until = performance.now() + timeoutMs;
  for (;;) {
    const connection = await sql().catch(() => undefined);
    if (connection !== undefined) {
      connection.close();
      break;
    }
    if (end !== undefined || signal.aborted || performance.now() > until) {
      child.kill('SIGKILL');
      const how = await finish();
      if (signal.aborted) throw new AppError('timeout', 'called off');
      throw new AppError('engine', `the engine did not start on the restored data (${how}): ${errorsOf(said)}`);
    }
    await sleep(100, signal);
  }

  return {
    socketPath,
    clientFile,
    sql,
    async stop() {
      const connection = await sql();
      try {
        await connection.query(`DROP USER ${USER}@localhost`);
      } finally {
        connection.close();
      }
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
      const how = await finish();
      clearTimeout(timer);
      if (how !== 'code 0') throw new AppError('engine', `the engine on the restored data did not end well (${how}): ${errorsOf(said)}`);
    },
    async kill() {
      kill(child);
      await finish();
    },
  };
}

function kill(child: ChildProcess): void {
  child.kill('SIGKILL');
}

function errorsOf(log: string): string {
  const lines = log.split('\n').filter((line) => /\[ERROR\]|Fatal|error:/i.test(line));
  return (lines.length > 0 ? lines.slice(-3) : log.trim().split('\n').slice(-2)).join(' / ').slice(0, 600);
}
