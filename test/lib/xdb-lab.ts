import { randomBytes } from 'node:crypto';
import { chmod, chown, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type Connection, createConnection, type RowDataPacket } from 'mysql2/promise';
import { type ConsulClient, createConsul } from '#core/consul/client.ts';
import { type JsonResponse, requestJson } from '#core/http.ts';
import { waitFor } from '#core/sleep.ts';
import { run } from '#core/spawn.ts';
import { createCa, issuePair, type KeyPair } from '#ground/ca.ts';
import { memberRules } from '#ground/policies.ts';
import { BirthRecord } from '#pool/service-schema.ts';
import { startConsul, type TestConsul } from '#test/consul.ts';
import { bundleSidecar, sidecarCommand } from '#test/sidecar.ts';
import { xdbStage } from '#test/xdb-image.ts';
import { type Credentials, DbSpec, MemberStatus, SyncRecord } from '#xdb/schema.ts';
import { dbKeys } from '#xdb/store.ts';

/**
 * Members of one database on one engine: the image with its supervisor, real MariaDB, real HAProxy, a real Consul with tokens of few rights. The sidecar is bundled from the
 * tree as it is now.
 */
export interface XdbLab {
  readonly db: string;
  readonly consul: ConsulClient;
  readonly server: TestConsul;
  readonly credentials: Credentials;
  readonly network: string;
  /** Of the pool that its members belong to. */
  readonly ca: KeyPair;
  /** @param env more for its environment, fail points for instance */
  member(id: string, options?: { env?: Record<string, string>; args?: readonly string[] }): Promise<XdbMember>;
  sync(): Promise<SyncRecord | undefined>;
  /** Writes the specification anew. */
  respec(change: Partial<DbSpec>): Promise<void>;
  /** Removes everything, also after a failure. */
  stop(): Promise<void>;
}

export interface XdbMember {
  readonly id: string;
  readonly container: string;
  readonly folder: string;
  /** On the database's network; changes with a restart. */
  address(): Promise<string>;
  status(): Promise<MemberStatus>;
  admin(method: string, path: string, body?: unknown): Promise<JsonResponse>;
  /** A connection of the database's user. Port 3306 leads to the master, 3307 to the slave, 3305 is the engine here. */
  connect(port?: number): Promise<Connection>;
  /** Rows of one statement on a connection of its own. */
  sql<T extends object = Record<string, unknown>>(statement: string, port?: number): Promise<T[]>;
  /** By the engine's own socket, with all rights. */
  local(statement: string): Promise<string>;
  exec(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }>;
  /** Pids inside, of the program of this name. */
  pids(name: 'mariadbd' | 'node' | 'haproxy' | 'supervisor'): Promise<number[]>;
  signal(name: 'mariadbd' | 'node' | 'supervisor', signal: string): Promise<void>;
  /** SIGKILL of the container, as when its host dies. */
  kill(): Promise<void>;
  start(): Promise<void>;
  /** `docker stop`, which the member may prepare for. */
  stopGently(): Promise<void>;
  logs(): Promise<string>;
  remove(): Promise<void>;
}

/** Of the image: whom the files of a member belong to. */
const USER = 7481;

export async function docker(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run('docker', args, { timeoutMs: 120_000 });
  if (code !== 0) throw new Error(`docker ${args.join(' ')}: ${stderr}`);
  return stdout.trim();
}

export interface LabOptions {
  db?: string;
  members?: readonly string[];
  spec?: Partial<DbSpec>;
  /** Another database of the same pool: its Consul, network and CA. */
  beside?: XdbLab;
  secrets?: Partial<Credentials>;
}

export async function startXdbLab(options: LabOptions = {}): Promise<XdbLab> {
  const { db = 'adb', members = ['adb-1', 'adb-2'], spec = {}, beside, secrets = {} } = options;
  const folder = await mkdtemp(join(tmpdir(), 'xdbl-'));
  await chmod(folder, 0o755);
  const suffix = folder.slice(-6).toLowerCase();
  const network = beside?.network ?? `xcaas-test-xdb-${suffix}`;
  const keys = dbKeys(db);
  const made: XdbMember[] = [];
  const cleanups: (() => Promise<unknown>)[] = [() => rm(folder, { recursive: true, force: true })];
  const stop = async () => {
    await Promise.all(made.map((member) => member.remove().catch(() => undefined)));
    for (const cleanup of cleanups.toReversed()) await cleanup();
  };
  try {
    const [image, bundle] = await Promise.all([xdbStage('member'), bundleSidecar('xdb', folder)]);
    if (beside === undefined) {
      await docker('network', 'create', '--label', 'xcaas.test=xdb', network);
      cleanups.push(() => run('docker', ['network', 'rm', '--force', network]));
    }
    const server = beside?.server ?? (await startConsul({ config: { unix_sockets: { mode: '0666' } } }));
    if (beside === undefined) cleanups.push(() => server.stop());
    await chmod(dirname(server.socketPath), 0o755);
    const consul = createConsul({ socketPath: server.socketPath, token: server.token });
    cleanups.push(async () => consul.close());
    const ca = beside?.ca ?? (await createCa('test'));
    const password = () => randomBytes(12).toString('hex');
    const credentials: Credentials = {
      agent: password(),
      replication: Object.fromEntries(members.map((id) => [id, password()])),
      users: { [db]: [password()] },
      ...secrets,
    };
    const full = (change: Partial<DbSpec> = {}) =>
      DbSpec.parse({
        ...{ v: 1, name: db, role: members.length === 1 ? 'single' : 'pair', flavor: 'mariadb', cpus: 0, network, database: db, user: db },
        ...{ memoryBytes: 256 * 2 ** 20, diskBytes: 20 * 2 ** 30, members: members.map((id) => ({ id, role: 'member' })) },
        ...spec,
        ...change,
      });
    await consul.kv.put(keys.spec, JSON.stringify(full()));
    await consul.kv.put(keys.birth, JSON.stringify(BirthRecord.parse({ v: 1, member: members[0], done: false })));

    return {
      ...{ db, consul, server, credentials, network, ca, stop },
      async member(id, { env = {}, args = [] } = {}) {
        const member = await startMember({
          id,
          db,
          folder,
          suffix,
          network,
          image,
          bundle,
          consul,
          server,
          credentials,
          ca,
          env,
          args,
          origin: spec.origin?.from,
        });
        made.push(member);
        return member;
      },
      async sync() {
        const entry = await consul.kv.get(keys.sync, { consistent: true });
        return entry === undefined ? undefined : SyncRecord.parse(JSON.parse(entry.value));
      },
      async respec(change) {
        await consul.kv.put(keys.spec, JSON.stringify(full(change)));
      },
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

interface MemberParts {
  id: string;
  db: string;
  folder: string;
  suffix: string;
  network: string;
  image: string;
  bundle: string;
  consul: ConsulClient;
  server: TestConsul;
  credentials: Credentials;
  ca: KeyPair;
  env: Record<string, string>;
  args: readonly string[];
  /** Database that this one is restored from. */
  origin: string | undefined;
}

async function startMember(parts: MemberParts): Promise<XdbMember> {
  const { id, db, network, image, bundle, consul, server, credentials, ca } = parts;
  const folder = join(parts.folder, id);
  for (const name of ['member', 'secrets', 'data', 'backup']) {
    await mkdir(join(folder, name), { recursive: true });
    await chown(join(folder, name), USER, USER);
  }
  const { cert, key } = await issuePair({ ca, cn: id, role: 'member', addresses: [], dnsNames: [id, db] });
  const secrets = {
    consul_token: await tokenOf(consul, db, id, parts.origin),
    'credentials.json': JSON.stringify(credentials),
    'ca.pem': ca.cert,
    'server.pem': cert,
    'server.key': key,
  };
  for (const [name, text] of Object.entries(secrets)) {
    await writeFile(join(folder, 'secrets', name), text, { mode: 0o600 });
    await chown(join(folder, 'secrets', name), USER, USER);
  }
  const container = `xcaas-test-xdb-${parts.suffix}-${id}`;
  const env = {
    XCAAS_KIND: 'db',
    XCAAS_NAME: db,
    XCAAS_MEMBER: id,
    XCAAS_NODE: 'test',
    XCAAS_HOST: 'host-1',
    XCAAS_LOG: 'debug',
    ...parts.env,
  };
  await docker(
    ...['run', '--detach', '--name', container, '--hostname', id, '--network', network, '--network-alias', db],
    ...['--label', 'xcaas.test=xdb'],
    ...['--restart', 'unless-stopped', '--stop-timeout', '60'],
    ...Object.entries(env).flatMap(([name, value]) => ['--env', `${name}=${value}`]),
    ...['--volume', `${dirname(server.socketPath)}:/run/consul`, '--volume', `${join(folder, 'member')}:/run/member`],
    ...['--volume', `${join(folder, 'secrets')}:/run/secrets:ro`, '--volume', `${join(folder, 'data')}:/var/lib/xdb`],
    ...['--volume', `${join(folder, 'backup')}:/var/lib/xdb-backup`, '--volume', `${bundle}:/usr/share/xdb/xdb.mjs:ro`],
    ...parts.args,
    ...[image, ...(await sidecarCommand('xdb'))],
  );
  return memberOf({ id, db, container, folder, credentials });
}

function memberOf({
  id,
  db,
  container,
  folder,
  credentials,
}: Pick<MemberParts, 'id' | 'db' | 'folder' | 'credentials'> & { container: string }): XdbMember {
  const socketPath = join(folder, 'member/admin.sock');
  const member: XdbMember = {
    ...{ id, container, folder },
    address: () => docker('inspect', '--format', '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}', container),
    admin: (method, path, body) => requestJson({ socketPath, method, path, timeoutMs: 15_000, ...(body === undefined ? {} : { body }) }),
    async status() {
      const answer = await member.admin('GET', '/status');
      if (answer.status !== 200) throw new Error(`${id}: ${JSON.stringify(answer.body)}`);
      return MemberStatus.parse(answer.body);
    },
    async connect(port = 3306) {
      const connection = await createConnection({
        ...{ host: await member.address(), port, user: db, password: credentials.users[db]?.[0], database: db, connectTimeout: 3000 },
      });
      connection.on('error', () => undefined);
      return connection;
    },
    async sql<T extends object>(statement: string, port?: number) {
      const connection = await member.connect(port);
      try {
        const [rows] = await connection.query<RowDataPacket[]>({ sql: statement, timeout: 10_000 });
        return rows as unknown as T[];
      } finally {
        connection.destroy();
      }
    },
    async local(statement) {
      const { code, stdout, stderr } = await member.exec('mariadb', '--user=xcaas_agent', '-N', '-B', '-e', statement);
      if (code !== 0) throw new Error(`${id}: ${stderr}`);
      return stdout.trim();
    },
    exec: (...args) => run('docker', ['exec', '--user', String(USER), container, ...args], { timeoutMs: 60_000 }),
    async pids(name) {
      // By its command line: Node names its main thread otherwise.
      const script = `for p in /proc/[0-9]*; do a=$(tr '\\0' '\\n' < $p/cmdline 2>/dev/null | head -n 1); if [ "\${a##*/}" = ${name} ]; then echo \${p#/proc/}; fi; done`;
      const { stdout } = await run('docker', ['exec', container, 'sh', '-c', script]);
      return stdout.split('\n').filter(Boolean).map(Number);
    },
    async signal(name, signal) {
      const pids = await member.pids(name);
      if (pids.length === 0) throw new Error(`${id} has no ${name}`);
      await docker('exec', container, 'sh', '-c', `kill -${signal} ${pids.join(' ')}`);
    },
    async kill() {
      await docker('kill', container);
    },
    async start() {
      await docker('start', container);
    },
    async stopGently() {
      await docker('stop', container);
    },
    async logs() {
      const { stdout, stderr } = await run('docker', ['logs', container]);
      return `${stdout}${stderr}`;
    },
    async remove() {
      await run('docker', ['rm', '--force', '--volumes', container]);
    },
  };
  return member;
}

/** As the controller gives it. */
async function tokenOf(consul: ConsulClient, db: string, member: string, origin: string | undefined): Promise<string> {
  const keys = dbKeys(db);
  const rules = memberRules({
    node: 'test',
    read: [keys.base, ...(origin === undefined ? [] : [dbKeys(origin).membersPrefix])],
    write: [
      keys.sync,
      keys.leader,
      keys.move,
      keys.birth,
      keys.data(member),
      keys.member(member),
      `${keys.base}acked/`,
      keys.backupsPrefix,
    ],
  });
  const name = `${member}-${randomBytes(4).toString('hex')}`;
  const policy = await consul.request('PUT', '/v1/acl/policy', { body: { Name: name, Rules: JSON.stringify(rules) } });
  if (policy.status !== 200) throw new Error(`policy: ${policy.text}`);
  const token = await consul.request('PUT', '/v1/acl/token', { body: { Description: name, Policies: [{ Name: name }] } });
  return (token.body as { SecretID: string }).SecretID;
}

/** Asserts that `probe` comes to give true, and fails with what it gave last. */
export async function eventually(what: string, probe: () => Promise<unknown>, timeoutMs = 60_000): Promise<void> {
  let last: unknown;
  const found = await waitFor(
    async () => {
      last = await probe().catch((error: unknown) => error);
      return last === true ? true : undefined;
    },
    { timeoutMs, intervalMs: 100 },
  );
  if (found === true) return;
  throw new Error(`${what} did not come true within ${timeoutMs} ms: ${last instanceof Error ? last.message : JSON.stringify(last)}`);
}
