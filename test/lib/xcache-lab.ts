import { randomBytes } from 'node:crypto';
import { chmod, chown, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect as connectTo, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Redis, type RedisOptions } from 'ioredis';
import { type ConsulClient, createConsul } from '#core/consul/client.ts';
import { type JsonResponse, requestJson } from '#core/http.ts';
import { run } from '#core/spawn.ts';
import { createCa, issuePair, type KeyPair } from '#ground/ca.ts';
import { memberRules } from '#ground/policies.ts';
import { BirthRecord } from '#pool/service-schema.ts';
import { startConsul, type TestConsul } from '#test/consul.ts';
import { bundleSidecar, sidecarCommand } from '#test/sidecar.ts';
import { docker } from '#test/xdb-lab.ts';
import { type CacheCredentials, CacheMemberStatus, type CacheSpec, LeadRecord, MoveOrder } from '#xcache/schema.ts';
import { type NewCache, newSpec } from '#xcache/spec.ts';
import { cacheKeys, writtenByMember } from '#xcache/store.ts';

/**
 * Members of one cache on one engine: the image with its supervisor, the real engine, real HAProxy, a real Consul with tokens of few rights. The sidecar is bundled from the
 * tree as it is now.
 */
export interface XcacheLab {
  readonly cache: string;
  readonly spec: CacheSpec;
  readonly consul: ConsulClient;
  readonly server: TestConsul;
  readonly credentials: CacheCredentials;
  readonly network: string;
  readonly password: string;
  member(id: string, options?: { env?: Record<string, string> }): Promise<XcacheMember>;
  lead(): Promise<LeadRecord | undefined>;
  /** In a member's container. */
  exec(container: string, ...args: string[]): Promise<{ code: number; stdout: string; stderr: string }>;
  /** Gives every member these passwords of the user's, the newest first. */
  rotate(...passwords: string[]): Promise<void>;
  /** Gives every member these credentials, changed from those before. */
  recredential(change: Partial<CacheCredentials>): Promise<void>;
  /** Authority of the members' certificates. */
  readonly ca: string;
  readonly authority: KeyPair;
  /** Writes the specification anew. */
  respec(change: Partial<CacheSpec>): Promise<void>;
  /** Orders a change of the master. @returns the order's state when it is over */
  switchover(target?: string): Promise<MoveOrder>;
  /** Removes everything, also after a failure. */
  stop(): Promise<void>;
}

export interface XcacheMember {
  readonly id: string;
  readonly container: string;
  address(): Promise<string>;
  status(): Promise<CacheMemberStatus>;
  admin(method: string, path: string, body?: unknown): Promise<JsonResponse>;
  /** A client of the user's. Port 6379 leads to the master, 6380 to a replica, 6378 is the engine here, 26379 the Sentinel. */
  client(options?: RedisOptions): Promise<Redis>;
  /** `valkey-cli` inside, as the sidecar's account. */
  cli(...args: string[]): Promise<string>;
  signal(name: 'engine' | 'node' | 'supervisor' | 'haproxy', signal: string): Promise<void>;
  /** Takes it off the cache's network and away from Consul, as when its host is cut off: nothing is refused, nothing is answered. */
  cutOff(): Promise<void>;
  join(): Promise<void>;
  pause(): Promise<void>;
  unpause(): Promise<void>;
  /** SIGKILL of the container, as when its host dies. */
  kill(): Promise<void>;
  start(): Promise<void>;
  stopGently(): Promise<void>;
  logs(): Promise<string>;
  remove(): Promise<void>;
}

const ROOT = join(import.meta.dirname, '../..');
/** Of the image: whom the files of a member belong to. */
const USER = 7481;
const IMAGE = 'xcaas-test/xcache-member:dev';

let image: Promise<string> | undefined;

/** Builds the stage `member` once a run; the engine's cache makes it a matter of a second when nothing changed. */
export function memberImage(): Promise<string> {
  const args = ['build', '-q', '--network', 'host', '--target', 'member', '-f', `${ROOT}/images/xcache/Dockerfile`, '-t', IMAGE, ROOT];
  image ??= run('docker', args, { timeoutMs: 600_000 }).then(({ code, stderr }) => {
    if (code !== 0) throw new Error(`docker build: ${stderr}`);
    return IMAGE;
  });
  return image;
}

export interface LabOptions {
  /** Of another lab, which this one shares Consul and network with. */
  beside?: Pick<XcacheLab, 'server' | 'network' | 'authority'>;
  /** Of the specification, what no request says. */
  spec?: Partial<CacheSpec>;
  credentials?: Partial<CacheCredentials>;
}

export async function startXcacheLab(fields: Partial<NewCache> = {}, options: LabOptions = {}): Promise<XcacheLab> {
  const folder = await mkdtemp(join(tmpdir(), 'xcal-'));
  await chmod(folder, 0o755);
  const suffix = folder.slice(-6).toLowerCase();
  const { beside } = options;
  const network = beside?.network ?? `xcaas-test-xcache-${suffix}`;
  const spec: CacheSpec = { ...newSpec({ name: 'acache', network, memoryBytes: 256 * 2 ** 20, ...fields }), ...options.spec };
  const cache = spec.name;
  const keys = cacheKeys(cache);
  const made: XcacheMember[] = [];
  const cleanups: (() => Promise<unknown>)[] = [() => rm(folder, { recursive: true, force: true })];
  async function ground(): Promise<TestConsul> {
    if (beside !== undefined) return beside.server;
    await docker('network', 'create', '--label', 'xcaas.test=xcache', network);
    cleanups.push(() => run('docker', ['network', 'rm', '--force', network]));
    const own = await startConsul({ config: { unix_sockets: { mode: '0666' } } });
    cleanups.push(() => own.stop());
    await chmod(dirname(own.socketPath), 0o755);
    return own;
  }
  const stop = async () => {
    await Promise.all(made.map((member) => member.remove().catch(() => undefined)));
    for (const cleanup of cleanups.toReversed()) await cleanup();
  };
  try {
    const [tag, bundle] = await Promise.all([memberImage(), bundleSidecar('xcache', folder)]);
    const server = await ground();
    const consul = createConsul({ socketPath: server.socketPath, token: server.token });
    cleanups.push(async () => consul.close());
    const password = randomBytes(12).toString('hex');
    const credentials: CacheCredentials = {
      agent: randomBytes(12).toString('hex'),
      replication: randomBytes(12).toString('hex'),
      users: { [spec.user]: [password] },
      backupKeys: [{ id: 'k1', secret: randomBytes(12).toString('hex') }],
      ...options.credentials,
    };
    const ca = beside?.authority ?? (await createCa('test'));
    const recredential = async (change: Partial<CacheCredentials>) => {
      const next = JSON.stringify({ ...credentials, ...change });
      for (const { id } of made) await writeFile(join(folder, id, 'secrets/credentials.json'), next);
    };
    await consul.kv.put(keys.spec, JSON.stringify(spec));
    await consul.kv.put(keys.birth, JSON.stringify(BirthRecord.parse({ v: 1, member: spec.members[0]?.id, done: false })));
    return {
      ...{ cache, spec, consul, server, credentials, network, password, stop, ca: ca.cert, authority: ca },
      async member(id, { env = {} } = {}) {
        const member = await startMember({ id, spec, folder, suffix, tag, bundle, consul, server, credentials, ca, env });
        made.push(member);
        return member;
      },
      exec: (container, ...args) => run('docker', ['exec', container, ...args], { timeoutMs: 30_000 }),
      async lead() {
        const entry = await consul.kv.get(keys.lead, { consistent: true });
        return entry === undefined ? undefined : LeadRecord.parse(JSON.parse(entry.value));
      },
      rotate: (...passwords) => recredential({ users: { [spec.user]: passwords } }),
      recredential,
      async respec(change) {
        await consul.kv.put(keys.spec, JSON.stringify({ ...spec, ...change }));
      },
      async switchover(target) {
        const order = MoveOrder.parse({ v: 1, id: randomBytes(4).toString('hex'), state: 'asked', target });
        await consul.kv.put(keys.move, JSON.stringify(order));
        for (let tries = 0; tries < 300; tries += 1) {
          const now = MoveOrder.parse(JSON.parse((await consul.kv.get(keys.move, { consistent: true }))?.value ?? '{}'));
          if (now.id === order.id && now.state !== 'asked') return now;
          await new Promise((resolve) => setTimeout(resolve, 100));
        }
        throw new Error('the order was not looked at');
      },
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

interface MemberParts {
  id: string;
  spec: CacheSpec;
  folder: string;
  suffix: string;
  tag: string;
  bundle: string;
  consul: ConsulClient;
  server: TestConsul;
  credentials: CacheCredentials;
  ca: KeyPair;
  env: Record<string, string>;
}

async function startMember({
  id,
  spec,
  suffix,
  tag,
  bundle,
  consul,
  server,
  credentials,
  ca,
  ...parts
}: MemberParts): Promise<XcacheMember> {
  const folder = join(parts.folder, id);
  for (const name of ['member', 'secrets', 'data', 'backup', 'consul']) {
    await mkdir(join(folder, name), { recursive: true });
    await chown(join(folder, name), USER, USER);
  }
  const pair = await issuePair({ ca, cn: id, role: 'member', addresses: [], dnsNames: [id, spec.name], days: 90 });
  const secrets = {
    ...{ consul_token: await tokenOf(consul, spec, id), 'credentials.json': JSON.stringify(credentials) },
    ...{ 'ca.pem': ca.cert, 'server.pem': pair.cert, 'server.key': pair.key },
  };
  for (const [name, text] of Object.entries(secrets)) {
    await writeFile(join(folder, 'secrets', name), text, { mode: 0o600 });
    await chown(join(folder, 'secrets', name), USER, USER);
  }
  const container = `xcaas-test-xcache-${suffix}-${id}`;
  const line = await consulLine(join(folder, 'consul/http.sock'), server.socketPath);
  const tls = spec.tls ? { XCAAS_TLS: 'on' } : {};
  const env = {
    XCAAS_KIND: 'cache',
    XCAAS_NAME: spec.name,
    XCAAS_MEMBER: id,
    XCAAS_NODE: 'test',
    XCAAS_LOG: 'debug',
    ...tls,
    ...parts.env,
  };
  await docker(
    ...['run', '--detach', '--name', container, '--hostname', id, '--network', spec.network, '--label', 'xcaas.test=xcache'],
    ...['--restart', 'unless-stopped', '--stop-timeout', '60'],
    ...Object.entries(env).flatMap(([name, value]) => ['--env', `${name}=${value}`]),
    ...['--volume', `${join(folder, 'consul')}:/run/consul`, '--volume', `${join(folder, 'member')}:/run/member`],
    ...['--volume', `${join(folder, 'secrets')}:/run/secrets:ro`, '--volume', `${join(folder, 'data')}:/var/lib/xcache`],
    ...['--volume', `${join(folder, 'backup')}:/var/lib/xcache-backup`],
    ...['--volume', `${bundle}:/usr/share/xcache/xcache.mjs:ro`],
    ...[tag, ...(await sidecarCommand('xcache'))],
  );
  return memberOf({ id, container, folder, spec, credentials, line });
}

/** A member's way to Consul, which can be cut. */
interface ConsulLine {
  cut(isCut: boolean): void;
  close(): void;
}

async function consulLine(path: string, to: string): Promise<ConsulLine> {
  let isCut = false;
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => open.delete(socket));
    if (isCut) return;
    const other = connectTo(to);
    open.add(other);
    other.on('error', () => socket.destroy());
    other.on('close', () => {
      open.delete(other);
      socket.destroy();
    });
    socket.on('close', () => other.destroy());
    socket.pipe(other).pipe(socket);
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  await chmod(path, 0o666);
  const end = () => {
    for (const socket of open) socket.destroy();
  };
  return {
    cut(next) {
      isCut = next;
      end();
    },
    close() {
      server.close();
      end();
    },
  };
}

function memberOf({
  id,
  container,
  folder,
  spec,
  credentials,
  line,
}: Pick<MemberParts, 'id' | 'folder' | 'spec' | 'credentials'> & { container: string; line: ConsulLine }): XcacheMember {
  const socketPath = join(folder, 'member/admin.sock');
  const comm = { engine: `${spec.engine}-server`, node: 'node', supervisor: 'supervisor', haproxy: 'haproxy' };
  const member: XcacheMember = {
    ...{ id, container },
    address: () => docker('inspect', '--format', '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}', container),
    admin: (method, path, body) => requestJson({ socketPath, method, path, body, timeoutMs: 15_000 }),
    async status() {
      const answer = await member.admin('GET', '/status');
      if (answer.status !== 200) throw new Error(`${id}: ${JSON.stringify(answer.body)}`);
      return CacheMemberStatus.parse(answer.body);
    },
    async client(options = {}) {
      const password = credentials.users[spec.user]?.[0];
      const client = new Redis({
        host: await member.address(),
        port: 6379,
        username: spec.user,
        ...(password === undefined ? {} : { password }),
        ...options,
      });
      client.on('error', () => undefined);
      return client;
    },
    async cli(...args) {
      const whole = [
        'valkey-cli',
        '-s',
        '/run/xcache/engine.sock',
        '--no-auth-warning',
        '--user',
        '_agent',
        '--pass',
        credentials.agent,
        ...args,
      ];
      const { code, stdout, stderr } = await run('docker', ['exec', container, ...whole], { timeoutMs: 30_000 });
      if (code !== 0) throw new Error(`${id}: ${stderr}${stdout}`);
      return stdout.trim();
    },
    async signal(name, signal) {
      // Node names its main thread otherwise than itself.
      const script = `for p in /proc/[0-9]*; do line=$(tr '\\0' ' ' < $p/cmdline 2>/dev/null); first=\${line%% *}; if [ "\${first##*/}" = ${comm[name]} ]; then kill -${signal} \${p#/proc/} && echo yes; fi; done`;
      const { stdout } = await run('docker', ['exec', container, 'sh', '-c', script]);
      if (!stdout.includes('yes')) throw new Error(`${id} has no ${name}`);
    },
    async cutOff() {
      line.cut(true);
      await docker('network', 'disconnect', '--force', spec.network, container);
    },
    async join() {
      line.cut(false);
      await docker('network', 'connect', spec.network, container);
    },
    pause: async () => void (await docker('pause', container)),
    unpause: async () => void (await docker('unpause', container)),
    kill: async () => void (await docker('kill', container)),
    start: async () => void (await docker('start', container)),
    stopGently: async () => void (await docker('stop', container)),
    async logs() {
      const { stdout, stderr } = await run('docker', ['logs', container]);
      return `${stdout}${stderr}`;
    },
    async remove() {
      line.close();
      await run('docker', ['rm', '--force', '--volumes', container]);
    },
  };
  return member;
}

/** As the controller gives it. */
async function tokenOf(consul: ConsulClient, { name: cache, origin }: CacheSpec, member: string): Promise<string> {
  const read = [cacheKeys(cache).base, ...(origin === undefined ? [] : [cacheKeys(origin.from).membersPrefix])];
  const rules = memberRules({ node: 'test', read, write: writtenByMember(cache, member) });
  const name = `${member}-${randomBytes(4).toString('hex')}`;
  const policy = await consul.request('PUT', '/v1/acl/policy', { body: { Name: name, Rules: JSON.stringify(rules) } });
  if (policy.status !== 200) throw new Error(`policy: ${policy.text}`);
  const token = await consul.request('PUT', '/v1/acl/token', { body: { Description: name, Policies: [{ Name: name }] } });
  return (token.body as { SecretID: string }).SecretID;
}
