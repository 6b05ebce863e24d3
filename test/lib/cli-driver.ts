import type { IncomingMessage, ServerResponse } from 'node:http';
import { PassThrough } from 'node:stream';
import { onTestFinished } from 'vitest';
import { COMMANDS as commands } from '#cli/commands.ts';
import { runCli } from '#cli/main.ts';
import { startScript } from '#test/http-script.ts';

/** The command line as a user types it, against an API whose answers a test tells. */

export interface Ran {
  exit: number;
  stdout: string;
  stderr: string;
}

/** Runs a command line as `bin/NAME` would, without a terminal unless told otherwise: `terminal` is the one that is typed at, `colours` one that shows them. */
export async function cli(
  line: string | string[],
  { env = {}, terminal = false, colours = false, typed = '', name = 'xcaas' } = {},
): Promise<Ran> {
  const argv = typeof line === 'string' ? line.split(' ').filter(Boolean) : line;
  const collect = () => {
    const stream = new PassThrough();
    let text = '';
    stream.on('data', (chunk) => {
      text += chunk;
    });
    Object.assign(stream, { isTTY: colours, hasColors: () => colours });
    return { stream: stream as unknown as NodeJS.WriteStream, text: () => text };
  };
  const [stdout, stderr] = [collect(), collect()];
  const stdin = Object.assign(new PassThrough(), { isTTY: terminal }) as unknown as NodeJS.ReadStream;
  if (typed !== '') (stdin as unknown as PassThrough).write(`${typed}\n`);
  const exit = await runCli({
    name,
    argv,
    env: { XCAAS_PROFILE: '/nowhere/profile.json', XCAAS_TOKEN: 'tok', ...env },
    stdin,
    stdout: stdout.stream,
    stderr: stderr.stream,
    commands,
  });
  return { exit, stdout: stdout.text(), stderr: stderr.text() };
}

export interface Asked {
  method: string;
  url: string;
  body: unknown;
  token: string | undefined;
}
export type Reply = { status?: number; body?: unknown; lines?: unknown[]; raw?: (response: ServerResponse) => void };

/** An API whose answers are told by `method url`; a list gives one after the other, its last for good. */
export async function apiOf(answers: Record<string, Reply | Reply[]>) {
  const asked: Asked[] = [];
  const times = new Map<string, number>();
  const server = await startScript((request: IncomingMessage, response: ServerResponse) => {
    let text = '';
    request.on('data', (chunk) => {
      text += chunk;
    });
    request.on('end', () => {
      const key = `${request.method} ${request.url}`;
      asked.push({
        method: request.method!,
        url: request.url!,
        body: text === '' ? undefined : JSON.parse(text),
        token: request.headers.authorization,
      });
      const time = times.get(key) ?? 0;
      times.set(key, time + 1);
      const replies = [
        answers[key] ?? { status: 404, body: { error: { code: 'not_found', message: `there is no ${key}`, hint: 'look' } } },
      ].flat();
      const reply = replies[Math.min(time, replies.length - 1)]!;
      if (reply.raw) return reply.raw(response);
      if (reply.lines) {
        response.writeHead(reply.status ?? 200, { 'content-type': 'application/x-ndjson' });
        return void response.end(reply.lines.map((each) => `${JSON.stringify(each)}\n`).join(''));
      }
      response.writeHead(reply.status ?? 200, { 'content-type': 'application/json' }).end(JSON.stringify(reply.body ?? {}));
    });
  });
  onTestFinished(() => void server.close());
  return { asked, env: { XCAAS_URL: `http://127.0.0.1:${server.port}` } };
}
export const lbView = (change: object = {}) => ({
  name: 'web',
  status: 'READY',
  sentence: 'all is well',
  listeners: [{ proto: 'http', port: 80 }],
  instances: [{ id: 'web-1', node: 'host-a', generation: 'abc', liveVersion: 3 }],
  targets: [{ name: 'default', peers: [] }],
  rules: [{ listen: '*', path: '/', group: 'default' }],
  ...change,
});
export const dbView = (change: object = {}) => ({
  name: 'adb',
  status: 'READY',
  sentence: 'all is well',
  flavor: 'mariadb',
  version: '11.8.6',
  epoch: 3,
  master: 'adb-1',
  sync: 'adb-2',
  endpoint: {
    host: 'adb',
    port: 3306,
    replicaPort: 3307,
    network: 'xcaas',
    published: [{ host: '10.0.0.1', hostPort: 13306, port: 3306 }],
  },
  members: [dbMember('adb-1', 'master', 'host-a'), { ...dbMember('adb-2', 'slave', 'host-b'), lagSeconds: 0, generation: 'g1' }],
  next: [],
  ...change,
});
export const dbMember = (id: string, role: string, node: string) => ({
  id,
  role,
  state: 'running',
  sentence: `${id} does what it should`,
  node,
  group: 'g',
  rack: 'r',
  lagSeconds: null,
  gtid: '0-1-7',
});
export const error = (code: string, status: number, message = 'no'): Reply => ({
  status,
  body: { error: { code, message, hint: 'do this' } },
});
