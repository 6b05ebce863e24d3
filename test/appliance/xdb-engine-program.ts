import { type ChildProcess, spawn } from 'node:child_process';
import { openSync } from 'node:fs';
import { createServer as createHttpServer, type IncomingMessage } from 'node:http';
import { connect, createServer } from 'node:net';
import { Transform } from 'node:stream';
import { toAppError } from '#core/errors.ts';
import { createLogger } from '#core/log.ts';
import type { EngineSession } from '#xdb/engine/engine.ts';
import { createMariadb } from '#xdb/engine/mariadb/engine.ts';
import * as users from '#xdb/engine/mariadb/users.ts';

/**
 * Stands where the sidecar stands: beside the engine, as its user. It does what the test outside asks for, one call a request, and starts and kills the engine as the supervisor
 * would.
 */
const log = createLogger({ name: 'lab' });
const password = process.env.LAB_PASSWORD!;
const engine = createMariadb({
  dataDir: '/var/lib/xdb/db',
  socketPath: '/run/xdb/engine.sock',
  extra: { host: '127.0.0.1', port: 3304 },
  agentPassword: () => password,
  log,
});

let child: ChildProcess | undefined;
const sessions = new Map<string, EngineSession>();
let numbers = 0;

const here = {
  async start(options: Parameters<typeof engine.commandLine>[0], extra: string[] = []) {
    if (child !== undefined) throw new Error('an engine runs');
    const { file, args } = await engine.commandLine(options);
    const out = openSync('/tmp/engine.log', 'a');
    const mine = spawn(file, [...args, ...extra], { stdio: ['ignore', out, out] });
    child = mine;
    mine.once('exit', () => {
      if (child === mine) child = undefined;
    });
    return mine.pid;
  },
  async signal(name: NodeJS.Signals) {
    const mine = child;
    if (mine === undefined) return;
    mine.kill(name);
    if (name === 'SIGKILL') await new Promise((resolve) => mine.once('exit', resolve));
  },
  running: async () => child !== undefined,
  async open(timeoutMs = 1000) {
    const session = await engine.connect({ timeoutMs });
    numbers += 1;
    const id = String(numbers);
    sessions.set(id, session);
    return { id, instance: session.instance };
  },
  /** Gives one copy to whoever connects. @param limit ends the stream, in good order, after so many bytes */
  async donate(port: number, limit?: number) {
    return new Promise<{ gtid: string }>((resolve, reject) => {
      const server = createServer((socket) => {
        server.close();
        const stop = new AbortController();
        let sent = 0;
        const cut = new Transform({
          transform(chunk: Buffer, _encoding, done) {
            sent += chunk.length;
            if (limit === undefined || sent < limit) return done(null, chunk);
            this.push(chunk.subarray(0, Math.max(0, limit - (sent - chunk.length))));
            this.push(null);
            done();
            stop.abort();
          },
        });
        socket.on('error', () => stop.abort());
        cut.pipe(socket);
        engine.dump(cut, { signal: stop.signal }).then((done) => {
          cut.end();
          resolve(done);
        }, reject);
      });
      server.listen(port, '0.0.0.0');
    });
  },
  async take(host: string, port: number) {
    const socket = connect({ host, port });
    return engine.load(socket, { signal: AbortSignal.timeout(120_000) });
  },
  /** Operations of users and databases, on a connection that writes as users do. */
  async users(operation: keyof typeof users, ...args: unknown[]) {
    const sql = await engine.connectWriter({ timeoutMs: 2000 });
    try {
      const operations: Record<string, unknown> = { ...users };
      return await (operations[operation] as (...all: unknown[]) => Promise<unknown>)(sql, ...args);
    } finally {
      sql.close();
    }
  },
};

async function answer(request: IncomingMessage): Promise<unknown> {
  let body = '';
  for await (const chunk of request) body += chunk;
  const { target, method, args } = JSON.parse(body) as { target: string; method: string; args: unknown[] };
  const object: object | undefined = target === 'here' ? here : target === 'engine' ? engine : sessions.get(target);
  if (object === undefined) throw new Error(`there is no session ${target}`);
  return await (object as Record<string, (...all: unknown[]) => unknown>)[method]!(...args);
}

createHttpServer((request, response) => {
  answer(request).then(
    (value) => response.end(JSON.stringify({ value })),
    (thrown) => {
      const { code, message, hint } = toAppError(thrown);
      response.end(JSON.stringify({ error: { code, message, hint } }));
    },
  );
}).listen('/lab/lab.sock');

process.on('unhandledRejection', (error) => {
  log.fatal({ err: error }, 'unhandled rejection');
  process.exit(1);
});
