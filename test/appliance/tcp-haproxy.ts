import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '#core/log.ts';
import { waitFor } from '#core/sleep.ts';
import { run } from '#core/spawn.ts';
import { createTcpDriver, type TcpDriver, type TcpDriverOptions } from '#tcp/driver.ts';

/** Real HAProxy 3.0 of Debian in a container on the host's network, with its driver in this process. */

const IMAGE = 'xcaas-test/haproxy:dev';
const DOCKERFILE = `FROM debian:trixie-slim
RUN apt-get update && apt-get install -y --no-install-recommends haproxy && rm -rf /var/lib/apt/lists/*
`;

export interface TestHaproxy {
  driver: TcpDriver;
  dir: string;
  stateDir: string;
  /** Another driver on the same state, as after a restart of the sidecar. */
  newDriver(more?: Pick<TcpDriverOptions, 'saveEveryMs'>): TcpDriver;
  start(): Promise<void>;
  /** SIGKILL of master and workers. */
  kill(): Promise<void>;
  stop(): Promise<void>;
}

/** @param checkOk answers for `haproxy -c`; the real one unless given */
export async function createHaproxy({ checkOk }: { checkOk?: () => boolean } = {}): Promise<TestHaproxy> {
  await ensureImage();
  const dir = await mkdtemp(join(tmpdir(), 'xt-'));
  const stateDir = join(dir, 'state');
  await mkdir(stateDir);
  const container = `xcaas-test-tcp-${dir.slice(-6).toLowerCase()}-${process.pid}`;
  const user = `${process.getuid?.() ?? 0}:${process.getgid?.() ?? 0}`;
  const common = ['--network', 'host', '--user', user, '-v', `${dir}:${dir}`];
  const newDriver = (more: Pick<TcpDriverOptions, 'saveEveryMs'> = {}) =>
    createTcpDriver({
      ...more,
      runtimeSocket: join(dir, 'run.sock'),
      masterSocket: join(dir, 'master.sock'),
      stateDir,
      log: silentLogger(),
      async check(path) {
        if (checkOk && !checkOk()) return { ok: false, output: '[ALERT]    (1) : config : made to fail' };
        const { code, stdout, stderr } = await run('docker', ['run', '--rm', ...common, IMAGE, 'haproxy', '-V', '-c', '-f', path]);
        return { ok: code === 0, output: `${stdout}\n${stderr}` };
      },
    });
  const driver = newDriver();

  async function kill(): Promise<void> {
    await run('docker', ['rm', '-f', container]);
  }
  return {
    driver,
    dir,
    stateDir,
    newDriver,
    async start() {
      const command = ['haproxy', '-W', '-S', `${join(dir, 'master.sock')},mode,600`, '-f', driver.configPath];
      await docker('run', '-d', '--name', container, ...common, IMAGE, ...command);
      const up = await waitFor(async () => ((await driver.status()).running ? true : undefined), { timeoutMs: 20_000, intervalMs: 20 });
      if (!up) throw new Error(`HAProxy does not answer: ${(await run('docker', ['logs', container])).stderr}`);
    },
    kill,
    async stop() {
      await kill();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

async function docker(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run('docker', args);
  if (code !== 0) throw new Error(`docker ${args[0]}: ${stderr}`);
  return stdout.trim();
}

async function ensureImage(): Promise<void> {
  if ((await run('docker', ['image', 'inspect', IMAGE])).code === 0) return;
  const { code, stderr } = await run('docker', ['build', '--network', 'host', '-t', IMAGE, '-'], { input: DOCKERFILE, timeoutMs: 280_000 });
  if (code !== 0) throw new Error(`the image with HAProxy could not be built: ${stderr}`);
}

/** A server that says its name and a line end on each connection, and then says back what it hears. */
export interface Echo {
  name: string;
  port: number;
  sockets: Set<Socket>;
  accepted(): number;
  close(): Promise<void>;
}

export async function startEcho(name: string): Promise<Echo> {
  const sockets = new Set<Socket>();
  let accepted = 0;
  const server = createServer((socket) => {
    accepted += 1;
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => sockets.delete(socket));
    socket.write(`${name}\n`);
    socket.pipe(socket);
  });
  const port = await listen(server);
  return {
    name,
    port,
    sockets,
    accepted: () => accepted,
    close() {
      for (const socket of sockets) socket.destroy();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

export function listen(server: Server, port = 0): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  });
}

/** A port of loopback that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  const port = await listen(server);
  await new Promise((resolve) => server.close(resolve));
  return port;
}

export interface Client {
  /** The name of the server it reached. */
  peer: string;
  closed: boolean;
  /** Time of the end, by `performance.now()`. */
  closedAt: number | undefined;
  /** Sends a line and waits for it to come back; false when the connection is dead. */
  ping(): Promise<boolean>;
  close(): Promise<void>;
}

/**
 * @param localAddress the address of loopback to come from
 * @throws when no server said its name within 5 s
 */
export function open(port: number, localAddress = '127.0.0.1'): Promise<Client> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', localAddress });
    let pending = '';
    let heard: ((line: string) => void) | undefined;
    const timer = setTimeout(() => fail(new Error('no greeting within 5 s')), 5000);
    const client: Client = {
      peer: '',
      closed: false,
      closedAt: undefined,
      ping() {
        if (client.closed) return Promise.resolve(false);
        return new Promise((answer) => {
          const word = `ping ${Math.random()}`;
          const late = setTimeout(() => answer(false), 5000);
          heard = (line) => {
            clearTimeout(late);
            answer(line === word);
          };
          socket.write(`${word}\n`);
        });
      },
      close() {
        return new Promise((done) => {
          if (client.closed) return done();
          socket.once('close', () => done());
          socket.destroy();
        });
      },
    };
    function fail(error: Error) {
      clearTimeout(timer);
      socket.destroy();
      reject(error);
    }
    socket.on('data', (chunk) => {
      pending += chunk.toString('utf8');
      for (let end = pending.indexOf('\n'); end >= 0; end = pending.indexOf('\n')) {
        const line = pending.slice(0, end);
        pending = pending.slice(end + 1);
        if (client.peer === '') {
          client.peer = line;
          clearTimeout(timer);
          resolve(client);
        } else heard?.(line);
      }
    });
    socket.on('error', (error) => fail(error));
    socket.on('end', () => socket.end());
    socket.on('close', () => {
      client.closed = true;
      client.closedAt = performance.now();
      heard?.('');
      fail(new Error('closed before a greeting'));
    });
  });
}

/** Opens `count` connections one after another, closes them, and counts which server each reached. */
export async function sample(port: number, count: number): Promise<Map<string, number>> {
  const reached = new Map<string, number>();
  for (let index = 0; index < count; index += 1) {
    const client = await open(port);
    reached.set(client.peer, (reached.get(client.peer) ?? 0) + 1);
    await client.close();
  }
  return reached;
}
