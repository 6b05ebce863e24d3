import { randomBytes } from 'node:crypto';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Connection, createConnection } from 'mysql2/promise';
import { AppError, type ErrorCode } from '#core/errors.ts';
import { waitFor } from '#core/sleep.ts';
import { run } from '#core/spawn.ts';
import { createCa, issuePair, type KeyPair } from '#ground/ca.ts';
import { bundledProgram } from '#test/program.ts';
import { xdbStage } from '#test/xdb-image.ts';
import type { Engine, EngineSession, MasterAddress, StartOptions } from '#xdb/engine/engine.ts';

/** Real engines in containers on a network of their own, each with the engine's code beside it as in a member, spoken to from the test. */

const PREFIX = 'xcaas-test-engine';
const AGENT_PASSWORD = 'agent-secret';
export const MIB = 2 ** 20;

export interface LabMember {
  name: string;
  address: string;
  container: string;
  engine: Pick<Engine, 'hasData' | 'initialise' | 'wipe' | 'compare'>;
  /** Starts the engine and opens a session on it. */
  up(options?: Partial<StartOptions>, extra?: string[]): Promise<EngineSession>;
  /** Another session on the running engine. */
  session(): Promise<EngineSession>;
  signal(name: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): Promise<void>;
  donate(port: number, limit?: number): Promise<{ gtid: string }>;
  take(host: string, port: number): Promise<{ gtid: string }>;
  users<T = unknown>(operation: string, ...args: unknown[]): Promise<T>;
  /** A client of somebody's, through the engine's port. */
  client(user?: string, password?: string, database?: string): Promise<Connection>;
  asMaster(of: LabMember): MasterAddress;
  shell(...args: string[]): Promise<string>;
  engineLog(): Promise<string>;
}

export interface Lab {
  member(name: string): Promise<LabMember>;
  ca: KeyPair;
  network: string;
  stop(): Promise<void>;
}

export async function docker(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run('docker', args, { timeoutMs: 120_000 });
  if (code !== 0) throw new Error(`docker ${args.join(' ')}: ${stderr}`);
  return stdout.trim();
}

export const within = async (ms: number, what: string, probe: () => Promise<boolean> | boolean): Promise<void> => {
  const seen = await waitFor(async () => ((await probe()) ? true : undefined), { timeoutMs: ms, intervalMs: 50 });
  if (seen !== true) throw new Error(`not within ${ms} ms: ${what}`);
};

/** Replication password of a member. */
export const passwordOf = (member: string): string => `repl-secret-${member}`;

export async function startLab(): Promise<Lab> {
  const image = await xdbStage('member');
  const program = bundledProgram(new URL('./xdb-engine-program.ts', import.meta.url).pathname, { name: 'engine-program' });
  const id = `${PREFIX}-${process.pid}-${randomBytes(3).toString('hex')}`;
  const folder = await mkdtemp(join(tmpdir(), 'xe-'));
  const containers: string[] = [];
  const ca = await createCa('lab');
  await docker('network', 'create', id);
  let serverId = 10;

  async function member(name: string): Promise<LabMember> {
    serverId += 1;
    const mine = serverId;
    const container = `${id}-${name}`;
    const own = join(folder, name);
    const [shared, secrets] = [join(own, 'lab'), join(own, 'secrets')];
    await mkdir(shared, { recursive: true });
    await mkdir(secrets);
    await chmod(shared, 0o777);
    const pair = await issuePair({ ca, cn: name, role: 'member', addresses: [], dnsNames: [name] });
    for (const [file, text] of Object.entries({ 'ca.pem': ca.cert, 'server.pem': pair.cert, 'server.key': pair.key })) {
      await writeFile(join(secrets, file), text);
      await run('chown', ['7481:7481', join(secrets, file)]);
    }
    containers.push(container);
    await docker(
      ...['run', '-d', '--init', '--name', container, '--network', id, '--user', '7481:7481', '--entrypoint', '/usr/local/bin/node'],
      ...[
        '-e',
        `LAB_PASSWORD=${AGENT_PASSWORD}`,
        '-v',
        `${shared}:/lab`,
        '-v',
        `${secrets}:/run/secrets:ro`,
        '-v',
        `${program}:/lab.cjs:ro`,
      ],
      ...[image, '/lab.cjs'],
    );
    const address = await docker('inspect', '-f', '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}', container);
    const socketPath = join(shared, 'lab.sock');
    const call = <T>(target: string, method: string, ...args: unknown[]) => ask<T>(socketPath, { target, method, args });
    await within(20_000, 'the program in the container answers', async () =>
      call('here', 'running').then(
        () => true,
        () => false,
      ),
    );

    async function session(): Promise<EngineSession> {
      const { id: target, instance } = await call<{ id: string; instance: string }>('here', 'open');
      return new Proxy({} as EngineSession, {
        get: (_, property) =>
          property === 'instance'
            ? instance
            : property === 'then'
              ? undefined
              : (...args: unknown[]) => call(target, String(property), ...args),
      });
    }
    return {
      name,
      address,
      container,
      engine: new Proxy({} as Engine, {
        get: (_, property) => (property === 'then' ? undefined : (...args: unknown[]) => call('engine', String(property), ...args)),
      }),
      async up(options = {}, extra = []) {
        const defaults: StartOptions = { role: 'MASTER', semiSyncMaster: false, parameters: {}, serverId: mine, memoryBytes: 512 * MIB };
        await call('here', 'start', { ...defaults, ...options }, extra);
        const opened = await waitFor(() => session().catch(() => undefined), { timeoutMs: 30_000 });
        if (opened === undefined)
          throw new Error(`${name} does not start: ${(await docker('exec', container, 'tail', '-20', '/tmp/engine.log')).slice(-3000)}`);
        return opened;
      },
      session,
      signal: (signal) => call('here', 'signal', signal),
      donate: (port, limit) => call('here', 'donate', port, ...(limit === undefined ? [] : [limit])),
      take: (host, port) => call('here', 'take', host, port),
      users: (operation, ...args) => call('here', 'users', operation, ...args),
      async client(user = 'app', password = 'app-secret', database = 'app') {
        const connection = await createConnection({
          host: address,
          port: 3305,
          user,
          password,
          database,
          connectTimeout: 5000,
          ssl: { ca: ca.cert, verifyIdentity: false },
        });
        connection.on('error', () => undefined);
        return connection;
      },
      asMaster: (of) => ({
        member: name,
        host: address,
        port: 3305,
        user: `repl_${of.name}`,
        password: passwordOf(of.name),
        caFile: '/run/secrets/ca.pem',
      }),
      shell: (...args) => docker('exec', container, ...args),
      engineLog: () => docker('exec', container, 'cat', '/tmp/engine.log'),
    };
  }

  return {
    member,
    ca,
    network: id,
    async stop() {
      if (containers.length > 0) await run('docker', ['rm', '-f', '-v', ...containers]);
      await run('docker', ['network', 'rm', id]);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

function ask<T>(socketPath: string, body: unknown): Promise<T> {
  return new Promise((resolve, reject) => {
    const asking = request({ socketPath, method: 'POST', path: '/' }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => {
        const { value, error } = JSON.parse(text) as { value: T; error?: { code: ErrorCode; message: string; hint?: string } };
        if (error === undefined) return resolve(value);
        reject(new AppError(error.code, error.message, error.hint === undefined ? {} : { hint: error.hint }));
      });
    });
    asking.on('error', reject);
    asking.end(JSON.stringify(body));
  });
}

/** A master with an application's database, open, and a slave that was copied from it and follows it. */
export interface Pair {
  a: LabMember;
  b: LabMember;
  sa: EngineSession;
  sb: EngineSession;
}

export async function makeMaster(
  lab: Lab,
  name: string,
  followers: readonly string[],
): Promise<{ member: LabMember; session: EngineSession }> {
  const member = await lab.member(name);
  await member.engine.initialise({ agentPassword: AGENT_PASSWORD });
  const session = await member.up();
  for (const follower of followers) await session.ensureReplicationAccount(follower, passwordOf(follower));
  await session.setReadOnly(false, 2000);
  await session.heartbeat({ epoch: 1, member: name }, 3000);
  await member.users('createDatabase', 'app');
  await member.users('ensureUser', 'app', ['app-secret'], ['app']);
  const client = await member.client();
  await client.query('CREATE TABLE rows_ (id INT AUTO_INCREMENT PRIMARY KEY, text VARCHAR(64) NOT NULL)');
  await client.end();
  return { member, session };
}

/** A donor that listens, for whoever connects. @param limit see {@link LabMember.donate} */
export async function donateFrom(donor: LabMember, port: number, limit?: number): Promise<{ donating: Promise<{ gtid: string }> }> {
  const donating = donor.donate(port, limit);
  donating.catch(() => undefined);
  const listening = `grep -q ":${port.toString(16).toUpperCase().padStart(4, '0')} " /proc/net/tcp`;
  await within(10_000, 'the donor listens', async () =>
    run('docker', ['exec', donor.container, 'bash', '-c', listening]).then(({ code }) => code === 0),
  );
  return { donating };
}

/** Empty member → copy of the donor. */
export async function copyTo(donor: LabMember, recipient: LabMember, port = 3303): Promise<{ gtid: string }> {
  const { donating } = await donateFrom(donor, port);
  const [taken, given] = await Promise.all([recipient.take(donor.address, port), donating]);
  if (taken.gtid !== given.gtid) throw new Error(`given ${given.gtid}, taken ${taken.gtid}`);
  return taken;
}

export async function makePair(lab: Lab): Promise<Pair> {
  const { member: a, session: sa } = await makeMaster(lab, 'a', ['a', 'b']);
  const b = await lab.member('b');
  await copyTo(a, b);
  const sb = await b.up();
  await sb.ensureReplicationAccount('a', passwordOf('a'));
  await sa.allowDumps(['b']);
  await sb.follow(a.asMaster(b), { semiSync: true, delaySeconds: 0 });
  await connected(sb);
  return { a, b, sa, sb };
}

export async function connected(slave: EngineSession): Promise<void> {
  await within(10_000, 'the slave is connected', async () => (await slave.facts()).slave?.io === 'running');
}

/** Everything that the master has is applied. */
export async function caughtUp(master: EngineSession, slave: EngineSession): Promise<void> {
  const { binlogGtid } = await master.facts();
  await within(15_000, `the slave has applied ${binlogGtid}`, async () => (await slave.facts()).appliedGtid === binlogGtid);
}

/** Rows of the application's table, read beside everything else. */
export async function texts(session: EngineSession): Promise<string[]> {
  const rows = await session.query<{ text: string }>('SELECT text FROM app.rows_ ORDER BY id');
  return rows.map(({ text }) => text);
}

export const insert = (client: Connection, text: string) => client.query('INSERT INTO rows_ (text) VALUES (?)', [text]);
