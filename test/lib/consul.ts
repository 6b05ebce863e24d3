import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { requestJson } from '#core/http.ts';
import { waitFor } from '#core/sleep.ts';
import { run } from '#core/spawn.ts';

/** A Consul server of its own for one test: in a container without a network, its HTTP API only on a unix socket. */
export interface TestConsul {
  socketPath: string;
  /** A token that may do everything. */
  token: string;
  container: string;
  /** SIGKILL; the socket file stays, as after a crash. */
  kill(): Promise<void>;
  /** Starts it again after {@link kill} with the same data and waits for a leader. */
  start(): Promise<void>;
  /** SIGKILL and start: what a crash and a quick supervisor do. */
  restart(): Promise<void>;
  /** Freezes the process: connections stay open and nothing answers. */
  pause(): Promise<void>;
  unpause(): Promise<void>;
  /** Removes the container and its data. */
  stop(): Promise<void>;
}

export interface TestConsulOptions {
  /** Merged over the configuration that the tests use. */
  config?: Record<string, unknown>;
  /** Default policy of the ACLs; `deny` unless given. */
  defaultPolicy?: 'allow' | 'deny';
}

/** @throws when there is no image, or no leader within half a minute */
export async function startConsul({ config = {}, defaultPolicy = 'deny' }: TestConsulOptions = {}): Promise<TestConsul> {
  const image = await consulImage();
  const folder = await mkdtemp(join(tmpdir(), 'xc-'));
  const socketPath = join(folder, 'http.sock');
  await mkdir(join(folder, 'config'));
  await mkdir(join(folder, 'data'));
  const full = {
    server: true,
    bootstrap_expect: 1,
    node_name: 'test',
    bind_addr: '127.0.0.1',
    data_dir: join(folder, 'data'),
    addresses: { http: `unix://${socketPath}` },
    unix_sockets: { mode: '0660' },
    ports: { dns: -1, grpc: -1, serf_wan: -1 },
    acl: { enabled: true, default_policy: defaultPolicy, enable_token_persistence: true },
    session_ttl_min: '1s',
    performance: { raft_multiplier: 1 },
    limits: { http_max_conns_per_client: 4096 },
    disable_update_check: true,
    ...config,
  };
  await writeFile(join(folder, 'config', 'consul.json'), JSON.stringify(full));
  const container = `xcaas-test-consul-${folder.slice(-6).toLowerCase()}-${process.pid}`;
  const user = `${process.getuid?.() ?? 0}:${process.getgid?.() ?? 0}`;
  const docker = async (...args: string[]) => {
    const { code, stderr } = await run('docker', args);
    if (code !== 0) throw new Error(`docker ${args[0]}: ${stderr}`);
  };
  const stop = async () => {
    await run('docker', ['rm', '-f', container]);
    await rm(folder, { recursive: true, force: true });
  };
  const started = async () => {
    const leader = await waitFor(() => leaderOf(socketPath), { timeoutMs: 30_000 });
    if (leader !== undefined) return;
    const { stdout, stderr } = await run('docker', ['logs', '--tail', '50', container]);
    await stop();
    throw new Error(`Consul has no leader after 30 s:\n${stdout}${stderr}`);
  };
  const start = async () => {
    await docker('start', container);
    await started();
  };
  const kill = () => docker('kill', container);

  await docker(
    ...['create', '--name', container, '--network', 'none', '--user', user, '--volume', `${folder}:${folder}`],
    ...['--entrypoint', 'consul', image, 'agent', '-config-dir', join(folder, 'config')],
  );
  await start();
  const token = await bootstrapToken(socketPath);
  await registerNode(socketPath, token);
  return {
    socketPath,
    token,
    container,
    kill,
    start,
    restart: async () => {
      await kill();
      await start();
    },
    pause: () => docker('pause', container),
    unpause: () => docker('unpause', container),
    stop,
  };
}

/** The image under test; `XCAAS_TEST_CONSUL_IMAGE` tries another one, e.g. a newer Consul. */
export async function consulImage(): Promise<string> {
  const { version } = JSON.parse(await readFile(join(import.meta.dirname, '../../package.json'), 'utf8')) as { version: string };
  const image = process.env.XCAAS_TEST_CONSUL_IMAGE ?? `xcaas/consul:${version}`;
  const { code } = await run('docker', ['image', 'inspect', image]);
  if (code !== 0) throw new Error(`there is no image ${image}: build it with ./xcaas up, or with the build script of setup/`);
  return image;
}

async function leaderOf(socketPath: string): Promise<string | undefined> {
  try {
    const { status, body } = await requestJson({ socketPath, method: 'GET', path: '/v1/status/leader', timeoutMs: 2000 });
    return status === 200 && typeof body === 'string' && body !== '' ? body : undefined;
  } catch {
    return undefined;
  }
}

/** A leader takes a moment to start its ACLs: asked again until they are there. */
async function bootstrapToken(socketPath: string): Promise<string> {
  const token = await waitFor(
    async () => {
      const { status, body } = await requestJson({ socketPath, method: 'PUT', path: '/v1/acl/bootstrap', timeoutMs: 5000 });
      return status === 200 ? (body as { SecretID: string }).SecretID : undefined;
    },
    { timeoutMs: 20_000 },
  );
  if (token === undefined) throw new Error('the ACLs could not be bootstrapped');
  return token;
}

/** Without a token of its own the server may not enter itself into the catalog, and sessions need their node there. */
async function registerNode(socketPath: string, token: string): Promise<void> {
  const headers = { 'x-consul-token': token };
  const there = await waitFor(
    async () => {
      await requestJson({ socketPath, method: 'PUT', path: '/v1/agent/token/agent', headers, body: { Token: token }, timeoutMs: 5000 });
      const { body } = await requestJson({ socketPath, method: 'GET', path: '/v1/catalog/nodes', headers, timeoutMs: 5000 });
      return Array.isArray(body) && body.length > 0 ? true : undefined;
    },
    { timeoutMs: 30_000, intervalMs: 300 },
  );
  if (there === undefined) throw new Error('the test server did not enter itself into the catalog');
}
