import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type ConsulClient, createConsul, type ServiceRegistration } from '#core/consul/client.ts';
import { expectOk, httpRequest, type JsonResponse, requestJson } from '#core/http.ts';
import { waitFor } from '#core/sleep.ts';
import { run } from '#core/spawn.ts';
import { startConsul, type TestConsul } from '#test/consul.ts';
import { LbSpec, SidecarPeers, SidecarStatus } from '#xlb/schema.ts';

/** One member of a load balancer as an agent would start it: the real image, a real Consul with a token of few rights, backends in this process. */
export interface Member {
  container: string;
  /** Where the listeners are. */
  address: string;
  folder: string;
  status(): Promise<SidecarStatus>;
  peers(): Promise<SidecarPeers>;
  admin(method: string, path: string): Promise<JsonResponse>;
  /** Status and first line of an answer. */
  get(path?: string, options?: { port?: number; host?: string }): Promise<{ status: number; text: string }>;
  /** Runs a program in the container as its user. */
  exec(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }>;
  /** Process id of the sidecar, inside. */
  sidecarPid(): Promise<string>;
  /** SIGKILL of the sidecar alone; its supervisor starts it again. */
  killSidecar(): Promise<void>;
  restart(): Promise<void>;
  logs(): Promise<string>;
  stop(): Promise<void>;
}

export interface Backend {
  name: string;
  address: string;
  port: number;
  requests: number;
  close(): Promise<void>;
}

export async function docker(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run('docker', args);
  if (code !== 0) throw new Error(`docker ${args.join(' ')}: ${stderr}`);
  return stdout.trim();
}

export async function memberImage(): Promise<string> {
  const { version } = JSON.parse(await readFile(join(import.meta.dirname, '../../package.json'), 'utf8')) as { version: string };
  return process.env.XCAAS_TEST_XLB_IMAGE ?? `xcaas/xlb:${version}`;
}

/** A Consul whose socket the user of the image may open, and a client that may do everything. */
export async function startLabConsul(): Promise<{ server: TestConsul; client: ConsulClient }> {
  const server = await startConsul({ config: { unix_sockets: { mode: '0666' } } });
  await chmod(dirname(server.socketPath), 0o755);
  return { server, client: createConsul({ socketPath: server.socketPath, token: server.token }) };
}

/** What an agent gives a member: its own record to write, its service's to read, every service's health. */
export async function memberToken(consul: ConsulClient, lb: string, member: string): Promise<string> {
  const rules = [
    `key "xcaas/lb/${lb}/members/${member}" { policy = "write" }`,
    `key_prefix "xcaas/lb/${lb}/" { policy = "read" }`,
    `key_prefix "xcaas/targets/${lb}/" { policy = "read" }`,
    'service_prefix "" { policy = "read" }',
    'node_prefix "" { policy = "read" }',
    'session_prefix "" { policy = "write" }',
  ].join('\n');
  const name = `${member}-${Date.now()}`;
  const policy = await consul.request('PUT', '/v1/acl/policy', { body: { Name: name, Rules: rules } });
  if (policy.status !== 200) throw new Error(`policy: ${policy.text}`);
  const token = await consul.request('PUT', '/v1/acl/token', { body: { Description: name, Policies: [{ Name: name }] } });
  return (token.body as { SecretID: string }).SecretID;
}

/** Every request on a connection of its own: a TCP listener sees connections, not requests. */
const fresh = new http.Agent({ keepAlive: false });

export interface MemberOptions {
  lb: string;
  /** Folder that holds Consul's socket. */
  consulFolder: string;
  token: string;
  certs?: string;
  /** More for `docker run`; what is said here wins over what is said for every member. */
  args?: readonly string[];
}

export async function startMember({ lb, consulFolder, token, certs, args = [] }: MemberOptions): Promise<Member> {
  const folder = await mkdtemp(join(tmpdir(), 'xlbm-'));
  await chmod(folder, 0o755);
  for (const name of ['member', 'secrets', 'data']) {
    await mkdir(join(folder, name));
    await chmod(join(folder, name), 0o777);
  }
  await writeFile(join(folder, 'secrets/consul_token'), token);
  if (certs !== undefined) await writeFile(join(folder, 'secrets/certs.json'), certs);
  const member = `${lb}-1`;
  const container = `xcaas-test-xlb-${folder.slice(-6).toLowerCase()}`;
  const environment = {
    XCAAS_KIND: 'lb',
    XCAAS_NAME: lb,
    XCAAS_MEMBER: member,
    XCAAS_NODE: 'here',
    XCAAS_HOST: 'host-1',
    XCAAS_LOG: 'debug',
    ...(process.env.XLB_TEST_NODE_OPTIONS ? { NODE_OPTIONS: process.env.XLB_TEST_NODE_OPTIONS } : {}),
  };
  await docker(
    ...['run', '--detach', '--name', container, '--memory', '512m'],
    ...Object.entries(environment).flatMap(([key, value]) => ['--env', `${key}=${value}`]),
    ...['--volume', `${consulFolder}:/run/consul`, '--volume', `${folder}/member:/run/member`],
    ...['--volume', `${folder}/secrets:/run/secrets:ro`, '--volume', `${folder}/data:/var/lib/xlb`],
    ...args,
    await memberImage(),
  );
  const addressOf = () => docker('inspect', '--format', '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}', container);
  const socketPath = join(folder, 'member/admin.sock');
  const handle: Member = {
    container,
    address: await addressOf(),
    folder,
    admin: (method, path) => requestJson({ socketPath, method, path, timeoutMs: 15_000 }),
    status: async () => SidecarStatus.parse(expectOk(await handle.admin('GET', '/status'), 'the sidecar')),
    peers: async () => SidecarPeers.parse(expectOk(await handle.admin('GET', '/peers'), 'the sidecar')),
    async get(path = '/', { port = 80, host } = {}) {
      const headers: Record<string, string> = host === undefined ? {} : { host };
      const { status, body } = await httpRequest({
        host: handle.address,
        port,
        method: 'GET',
        path,
        headers,
        timeoutMs: 5000,
        agent: fresh,
      });
      return { status, text: body.toString('utf8').split('\n')[0] ?? '' };
    },
    exec: (...args) => run('docker', ['exec', container, ...args]),
    sidecarPid: () => pidOf(container, '^node.*xlb.mjs'),
    async killSidecar() {
      await docker('exec', container, 'sh', '-c', `kill -9 ${await handle.sidecarPid()}`);
    },
    async restart() {
      await docker('kill', container);
      await docker('start', container);
      handle.address = await addressOf();
    },
    async logs() {
      const { stdout, stderr } = await run('docker', ['logs', '--tail', '200', container]);
      return `${stdout}${stderr}`;
    },
    async stop() {
      await run('docker', ['rm', '--force', '--volumes', container]);
      await rm(folder, { recursive: true, force: true });
    },
  };
  return handle;
}

/** Process id, inside the container, of the program whose command line matches; the image has no `pgrep`. */
export function pidOf(container: string, pattern: string): Promise<string> {
  const script = `for p in /proc/[0-9]*; do if tr '\\0' ' ' <$p/cmdline 2>/dev/null | grep -q '${pattern}'; then echo \${p#/proc/}; break; fi; done`;
  return docker('exec', container, 'sh', '-c', script);
}

/** The address under which containers of the default network reach this machine. */
export function bridgeAddress(): Promise<string> {
  return docker('network', 'inspect', 'bridge', '--format', '{{(index .IPAM.Config 0).Gateway}}');
}

/** A server that answers with its name. */
export async function startBackend(name: string, port = 0): Promise<Backend> {
  const address = await bridgeAddress();
  const backend: Backend = { name, address, port: 0, requests: 0, close: async () => undefined };
  const server = http.createServer((_request, response) => {
    backend.requests += 1;
    response.end(`${name}\n`);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, address, resolve);
  });
  backend.port = (server.address() as AddressInfo).port;
  backend.close = async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  return backend;
}

/** Registers a backend the way agents do, healthy at once. */
export function register(
  consul: ConsulClient,
  service: string,
  backend: Pick<Backend, 'name' | 'address' | 'port'>,
  more: Partial<ServiceRegistration> = {},
) {
  const id = `${service}-${backend.name}`;
  return consul.agent.register({
    ...{ id, name: service, address: backend.address, port: backend.port, meta: { container_name: backend.name } },
    check: { id: `${id}-check`, name: 'ttl', ttlSeconds: 600, status: 'passing' },
    ...more,
  });
}

export function webSpec(lb: string, fields: Record<string, unknown> = {}): LbSpec {
  return LbSpec.parse({
    ...{ v: 1, name: lb, replicas: 1, network: 'xcaas', publish: [], listeners: [{ proto: 'http', port: 80 }] },
    ...{ groups: [{ name: 'default', services: ['web'] }], rules: [{ listen: '*', group: 'default' }] },
    ...fields,
  });
}

/** Asserts that `probe` comes to give true, and fails with what it gave last. */
export async function eventually(what: string, probe: () => Promise<unknown>, timeoutMs = 30_000): Promise<void> {
  let last: unknown;
  const found = await waitFor(
    async () => {
      last = await probe().catch((error: unknown) => error);
      return last === true ? true : undefined;
    },
    { timeoutMs, intervalMs: 50 },
  );
  if (found !== true)
    throw new Error(`${what} did not come true within ${timeoutMs} ms: ${last instanceof Error ? last.message : JSON.stringify(last)}`);
}
