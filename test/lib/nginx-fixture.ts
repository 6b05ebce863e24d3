import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { type Agent, request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { GroupTable, Peer, SidecarPeers } from '#xlb/schema.ts';

const exec = promisify(execFile);
const ROOT = join(import.meta.dirname, '../..');
const IMAGE = 'xcaas-test/xlb-nginx:dev';

/** Runs the docker client. @returns its output, trimmed */
export async function docker(...args: string[]): Promise<string> {
  const { stdout } = await exec('docker', args, { maxBuffer: 64 * 1024 * 1024 });
  return stdout.trim();
}

export interface Reply {
  status: number;
  headers: IncomingHttpHeaders;
  body: string;
}

export interface Ask {
  method?: string;
  headers?: Record<string, string>;
  body?: string | Buffer;
  agent?: Agent;
  timeoutMs?: number;
  /** Ask over TLS with this name. */
  servername?: string;
  signal?: AbortSignal;
}

/** nginx of the image's stage without a sidecar, with the configuration of `images/xlb/sample.conf` and a server for tests. */
export interface NginxFixture {
  container: string;
  /** Address of the container. */
  address: string;
  /** Address of this process as the container sees it. */
  gateway: string;
  folder: string;
  control(method: string, path: string, body?: string | Buffer): Promise<Reply>;
  /** Pushes a table. @throws Error unless nginx answers 200 */
  put(table: GroupTable): Promise<void>;
  workers(): Promise<(SidecarPeers['workers'][number] & { leaving: boolean })[]>;
  /** Requests in flight by peer, over all workers. */
  active(group: string): Promise<Record<string, number>>;
  pids(): Promise<{ pids: number[]; old: number[] }>;
  /** A request for `path` of a group: `/g/<group><path>`. */
  get(group: string, path?: string, ask?: Ask): Promise<Reply>;
  /** Writes a group's last known good list as the sidecar does. */
  saveTable(table: GroupTable, suffix?: string): Promise<void>;
  /** Replaces the configuration and reloads. */
  reload(options: ConfOptions): Promise<void>;
  logs(): Promise<string>;
  /** @param seconds between SIGTERM and SIGKILL; `address` may be another one afterwards */
  restart(seconds: number): Promise<void>;
  stop(): Promise<void>;
}

export interface ConfOptions {
  workers?: number;
  generation?: string;
  /** Size of the dictionary of tables. */
  tables?: string;
  readTimeoutMs?: number;
}

async function conf({ workers = 1, generation = 'test', tables = '64m', readTimeoutMs = 60_000 }: ConfOptions): Promise<string> {
  const sample = await readFile(join(ROOT, 'images/xlb/sample.conf'), 'utf8');
  const changed = sample
    .replace(/worker_processes \d+;/, `worker_processes ${workers};`)
    .replace('$xlb_generation sample;', `$xlb_generation ${generation};`)
    .replace('xlb_tables 64m;', `xlb_tables ${tables};`)
    .replace(/proxy_read_timeout \d+ms;/, `proxy_read_timeout ${readTimeoutMs}ms;`);
  const location = 'location ~ ^/g/(?<group>[a-z0-9-]+)/ { set $xlb_group $group; proxy_pass http://xlb_peers; }';
  const servers = `server { listen 8000 backlog=4096; ${location} } server { listen 8443 ssl; http2 on; ${location} }`;
  return `${changed.trimEnd().slice(0, -1)}\n${servers}\n}\n`;
}

let built: Promise<unknown> | undefined;

/** Builds the image once a run; the engine's cache makes it a matter of a second when nothing changed. */
function buildImage(): Promise<unknown> {
  built ??= docker('build', '-q', '--network', 'host', '--target', 'engine', '-f', join(ROOT, 'images/xlb/Dockerfile'), '-t', IMAGE, ROOT);
  return built;
}

/** @param seed called with the state folder before nginx starts */
export async function startNginx(options: ConfOptions & { seed?: (state: string) => Promise<void> } = {}): Promise<NginxFixture> {
  await buildImage();
  const folder = await mkdtemp(join(tmpdir(), 'xlb-nginx-'));
  const state = join(folder, 'state');
  const run = join(folder, 'run');
  for (const path of [folder, state, run, join(state, 'nginx'), join(state, 'tables'), join(folder, 'secrets')]) {
    await mkdir(path, { recursive: true });
    // nginx runs as the image's own user.
    await chmod(path, 0o777);
  }
  let generations = 0;
  const install = async (next: ConfOptions) => {
    const name = `g${++generations}`;
    await mkdir(join(state, 'nginx', name));
    await writeFile(join(state, 'nginx', name, 'nginx.conf'), await conf(next));
    await symlink(name, join(state, 'nginx', `.${name}`));
    await rename(join(state, 'nginx', `.${name}`), join(state, 'nginx/current'));
  };
  await install(options);
  await options.seed?.(state);
  const mounts = [`${state}:/var/lib/xlb`, `${run}:/run/xlb`, `${join(folder, 'secrets')}:/run/secrets:ro`];
  const container = await docker('run', '-d', '--label', 'xcaas.test=xlb-nginx', ...mounts.flatMap((mount) => ['-v', mount]), IMAGE);
  const format = '{{range .NetworkSettings.Networks}}{{.IPAddress}} {{.Gateway}}{{end}}';
  const addresses = async () => (await docker('inspect', '-f', format, container)).split(' ');
  const [address = '', gateway = ''] = await addresses();
  const socketPath = join(run, 'nginx.sock');

  const fixture: NginxFixture = {
    container,
    address,
    gateway,
    folder,
    control: (method, path, body) => ask({ socketPath, path }, { method, ...(body === undefined ? {} : { body }), timeoutMs: 20_000 }),
    async put(table) {
      const reply = await fixture.control('PUT', `/groups/${table.name}`, JSON.stringify(table));
      if (reply.status !== 200) throw new Error(`PUT /groups/${table.name}: ${reply.status} ${reply.body}`);
    },
    async workers() {
      const reply = await fixture.control('GET', '/groups');
      if (reply.status !== 200) throw new Error(`GET /groups: ${reply.status} ${reply.body}`);
      return (JSON.parse(reply.body) as { workers: Awaited<ReturnType<NginxFixture['workers']>> }).workers;
    },
    async active(group) {
      const sums: Record<string, number> = {};
      for (const worker of await fixture.workers()) {
        for (const peer of worker.groups[group]?.peers ?? []) sums[peer.id] = (sums[peer.id] ?? 0) + peer.active;
      }
      return sums;
    },
    async pids() {
      return JSON.parse((await fixture.control('GET', '/generation')).body) as { pids: number[]; old: number[] };
    },
    get: (group, path = '/', options_ = {}) =>
      ask({ host: fixture.address, port: options_.servername === undefined ? 8000 : 8443, path: `/g/${group}${path}` }, options_),
    async saveTable(table, suffix = '') {
      const text = JSON.stringify(table);
      const sum = createHash('sha256').update(text).digest('hex');
      await writeFile(join(state, 'tables', `${table.name}.json${suffix}`), `${sum}\n${text}`);
    },
    async reload(next) {
      await install(next);
      await docker('exec', container, 'nginx', '-s', 'reload', '-c', '/var/lib/xlb/nginx/current/nginx.conf');
      await runs(next);
    },
    async restart(seconds) {
      await docker('restart', '-t', String(seconds), container);
      // Somebody else's container may have taken the address meanwhile.
      [fixture.address = ''] = await addresses();
    },
    async logs() {
      const { stdout, stderr } = await exec('docker', ['logs', container], { maxBuffer: 64 * 1024 * 1024 });
      return stdout + stderr;
    },
    async stop() {
      await docker('rm', '-f', '-v', container);
      await rm(folder, { recursive: true, force: true });
    },
  };
  const runs = ({ generation = 'test', workers = 1 }: ConfOptions) =>
    eventually(async () => {
      const now = JSON.parse((await fixture.control('GET', '/generation')).body) as { generation: string; workers: number };
      return now.generation === generation && now.workers === workers;
    }, `nginx with generation ${generation}`);
  await runs(options);
  return fixture;
}

function ask(
  target: { socketPath: string; path: string } | { host: string; port: number; path: string },
  { method = 'GET', headers = {}, body, agent, timeoutMs = 15_000, servername, signal }: Ask,
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const options = {
      ...target,
      method,
      headers: { host: servername ?? 'test', ...headers, ...(body === undefined ? {} : { 'content-length': Buffer.byteLength(body) }) },
      timeout: timeoutMs,
      ...(agent === undefined ? {} : { agent }),
      ...(signal === undefined ? {} : { signal }),
    };
    const request = servername === undefined ? httpRequest(options) : httpsRequest({ ...options, servername, rejectUnauthorized: false });
    request.on('response', (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks).toString() }),
      );
    });
    request.on('timeout', () => request.destroy(new Error(`no answer in ${timeoutMs} ms`)));
    request.on('error', reject);
    request.end(body);
  });
}

/** Asks again until `check` is true. @throws Error naming `what` after `seconds` */
export async function eventually(check: () => Promise<boolean> | boolean, what: string, seconds = 15): Promise<void> {
  const deadline = Date.now() + seconds * 1000;
  let last: unknown;
  while (Date.now() < deadline) {
    try {
      if (await check()) return;
    } catch (error) {
      last = error;
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`not within ${seconds} s: ${what}${last === undefined ? '' : ` (${String(last)})`}`);
}

/** A table with the schema's defaults; active checks far apart unless asked for, so that tests of other things are not disturbed. */
export function table(name: string, version: number, peers: Peer[], more: Partial<GroupTable> = {}): GroupTable {
  return {
    name,
    version,
    peers,
    algorithm: 'round_robin',
    hashKey: 'ip',
    tries: 3,
    maxFails: 1,
    failTimeoutMs: 10_000,
    active: { type: 'tcp', path: '/', intervalMs: 300_000, timeoutMs: 1000, rise: 2, fall: 2 },
    ...more,
  };
}

export function peer(id: string, address: string, port: number, more: Partial<Peer> = {}): Peer {
  return { id, address, port, weight: 100, state: 'up', container: `container-${id}`, node: 'node', ...more };
}

/** How many replies each peer gave, by the body. */
export function tally(replies: readonly Reply[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { body } of replies) counts[body] = (counts[body] ?? 0) + 1;
  return counts;
}
