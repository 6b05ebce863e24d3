import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createInterface } from 'node:readline';
import { sleep, waitFor } from '#core/sleep.ts';
import { run } from '#core/spawn.ts';
import { bundledProgram } from '#test/program.ts';
import { xdbStage } from '#test/xdb-image.ts';

/** A database engine with the backup code beside it, in one container, as in a member. */
export interface Lab {
  name: string;
  address: string;
  /** A request to the program inside. @throws LabError */
  call<T = unknown>(call: string, request?: Record<string, unknown>): Promise<T>;
  sql(text: string): Promise<string[][]>;
  exec(...args: string[]): Promise<string>;
  /** SIGKILL of the engine. */
  killEngine(): Promise<void>;
  startEngine(): Promise<void>;
  logs(): string;
  stop(): Promise<void>;
}

export class LabError extends Error {
  readonly code: string | undefined;
  constructor(code: string | undefined, message: string, stack: string) {
    super(message);
    this.code = code;
    this.stack = stack;
  }
}

const PREFIX = 'xcaas-test-backup';

export async function docker(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run('docker', args, { timeoutMs: 300_000 });
  if (code !== 0) throw new Error(`docker ${args.join(' ')}: ${stderr}`);
  return stdout.trim();
}

let image: Promise<string> | undefined;

/** The engine's stage with the image's Node. */
async function buildImage(): Promise<string> {
  const base = await xdbStage('engine');
  const tag = 'xcaas-test/xdb-backup:dev';
  const file = `FROM ${base}\nCOPY --from=node:24-trixie-slim /usr/local/bin/node /usr/local/bin/node\n`;
  const { code, stderr } = await run('docker', ['build', '-q', '-t', tag, '-'], { input: file, timeoutMs: 300_000 });
  if (code !== 0) throw new Error(`docker build: ${stderr}`);
  return tag;
}

export interface LabNetwork {
  name: string;
  remove(): Promise<void>;
}

export async function labNetwork(): Promise<LabNetwork> {
  const name = `${PREFIX}-${process.pid}-${randomBytes(3).toString('hex')}`;
  await docker('network', 'create', name);
  return { name, remove: async () => void (await docker('network', 'rm', name)) };
}

const ENGINE = 'mariadbd --skip-ssl --read-only=0 --innodb-buffer-pool-size=64M --max-binlog-size=4M';
const INSTALL =
  'mariadb-install-db --datadir=/var/lib/xdb/db --auth-root-authentication-method=socket --auth-root-socket-user=mysql --skip-test-db >/dev/null';

export async function startLab({ network, serverId = 1 }: { network: LabNetwork; serverId?: number }): Promise<Lab> {
  image ??= buildImage();
  const name = `${PREFIX}-${process.pid}-${randomBytes(3).toString('hex')}`;
  const program = bundledProgram(new URL('./xdb-backup-program.ts', import.meta.url).pathname, { name: 'backup-program' });
  await docker(
    ...['run', '-d', '--init', '--name', name, '--network', network.name, '--user', '7481:7481', '-v', `${program}:/lab.cjs:ro`],
    ...[await image, 'sleep', 'infinity'],
  );
  let child: ChildProcess | undefined;
  let log = '';
  const waiting = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>();
  let calls = 0;
  try {
    await docker('exec', name, 'sh', '-c', INSTALL);
    await startEngine();
    child = spawn('docker', ['exec', '-i', name, 'node', '/lab.cjs'], { stdio: ['pipe', 'pipe', 'pipe'] });
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      log = (log + text).slice(-20_000);
    });
    createInterface({ input: child.stdout! }).on('line', (line) => {
      const { n, result, error } = JSON.parse(line) as {
        n: number;
        result: never;
        error?: { code: string; message: string; stack: string };
      };
      const waiter = waiting.get(n);
      waiting.delete(n);
      if (error) waiter?.reject(new LabError(error.code, error.message, error.stack));
      else waiter?.resolve(result);
    });
    child.on('close', () => {
      for (const { reject } of waiting.values()) reject(new Error(`the program ended: ${log.slice(-2000)}`));
    });
  } catch (error) {
    await docker('rm', '-f', '-v', name);
    throw error;
  }

  async function startEngine(): Promise<void> {
    await docker('exec', '-d', name, 'sh', '-c', `exec ${ENGINE} --server-id=${serverId} >>/tmp/engine.log 2>&1`);
    const up = await waitFor(
      async () => {
        const { code } = await run('docker', ['exec', name, 'mariadb', '-u', 'mysql', '-e', 'SELECT 1']);
        return code === 0 ? true : undefined;
      },
      { timeoutMs: 60_000, intervalMs: 200 },
    );
    if (!up) throw new Error(`no engine: ${await docker('exec', name, 'tail', '-20', '/tmp/engine.log')}`);
  }

  const exec = (...args: string[]) => docker('exec', name, ...args);
  return {
    name,
    address: await docker('inspect', '-f', '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}', name),
    call: (call, request = {}) =>
      new Promise((resolve, reject) => {
        const n = ++calls;
        waiting.set(n, { resolve, reject });
        child!.stdin!.write(`${JSON.stringify({ n, call, ...request })}\n`);
      }),
    async sql(text) {
      const { code, stdout, stderr } = await run('docker', ['exec', '-i', name, 'mariadb', '-u', 'mysql', '-N', '-B'], {
        input: text,
        timeoutMs: 120_000,
      });
      if (code !== 0) throw new Error(stderr);
      return stdout === ''
        ? []
        : stdout
            .trimEnd()
            .split('\n')
            .map((line) => line.split('\t'));
    },
    exec,
    async killEngine() {
      await exec('sh', '-c', 'kill -9 $(cat /run/xdb/engine.pid)');
      await sleep(300);
    },
    startEngine,
    logs: () => log,
    async stop() {
      child?.kill('SIGKILL');
      await docker('rm', '-f', '-v', name);
    },
  };
}

/** Starts an engine on a restored data directory, asks it, and ends it. */
export async function askRestored(lab: Lab, dataDir: string, text: string): Promise<string[][]> {
  const socket = '/tmp/restored.sock';
  await lab.exec(
    'sh',
    '-c',
    `mkdir -p /tmp/rt; (exec mariadbd --no-defaults --datadir=${dataDir} --socket=${socket} --skip-networking --skip-ssl --tmpdir=/tmp/rt --innodb-linux-aio=aio --innodb-buffer-pool-size=32M --pid-file=/tmp/restored.pid >/tmp/restored.log 2>&1 &)`,
  );
  const ask = () =>
    run('docker', ['exec', '-i', lab.name, 'mariadb', '--no-defaults', '--skip-ssl', '-u', 'mysql', `--socket=${socket}`, '-N', '-B'], {
      input: text,
      timeoutMs: 60_000,
    });
  try {
    const answer = await waitFor(
      async () => {
        const { code, stdout, stderr } = await ask();
        if (code === 0) return stdout;
        return /Can't connect/.test(stderr) ? undefined : Promise.reject(new Error(stderr));
      },
      { timeoutMs: 60_000, intervalMs: 200 },
    );
    if (answer === undefined) throw new Error(`no engine: ${await lab.exec('tail', '-20', '/tmp/restored.log')}`);
    return answer === ''
      ? []
      : answer
          .trimEnd()
          .split('\n')
          .map((line) => line.split('\t'));
  } finally {
    await run('docker', [
      'exec',
      lab.name,
      'sh',
      '-c',
      'kill -9 $(cat /tmp/restored.pid); while pgrep -F /tmp/restored.pid >/dev/null 2>&1; do sleep 0.1; done; rm -f /tmp/restored.pid',
    ]);
  }
}
