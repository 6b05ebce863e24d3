import { cpSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AppError, messageOf } from '#core/errors.ts';
import { waitFor } from '#core/sleep.ts';
import { run } from '#core/spawn.ts';
import { VERSION } from '#core/version.ts';
import type { Endpoint } from '#test/history/connect.ts';
import { readsEpoch } from '#test/history/epoch.ts';
import { CREATE_TABLES } from '#test/history/tables.ts';
import type { PoolHost } from '#test/pool/host.ts';
import { type Pool, startPool } from '#test/xcaas.ts';
import { type Clients, createClients } from './clients.ts';
import { createDisks } from './disks.ts';
import { FAILPOINTS_FILE } from './faults/failpoints.ts';
import { describeRun, type FaultResult, type RunResult } from './results.ts';
import { createRunner, isWhole, type Runner } from './runner.ts';
import { createWorld, type Member, type World } from './world.ts';

/** A database on a pool of three, clients that write to it, and somebody who breaks things. */
export interface Suite {
  world: World;
  clients: Clients;
  runner: Runner;
  /** Journals, results, and what was found when something went wrong. */
  folder: string;
  /** Keeps a result, and the table of all of them, on disk. */
  keep(result: FaultResult): RunResult;
  /** Saves logs, records and journals of this moment. @returns the folder */
  diagnose(name: string): Promise<string>;
  stop(): Promise<void>;
}

export interface SuiteOptions {
  seed: number;
  /** Guards of the protocol to switch off in all sidecars, as `XCAAS_TEST_GUARDS` names them. */
  guards?: string;
  db?: string;
  /** How long clients that keep their connection wait for an answer; 8 s if not given. An engine that must end is given up by then. */
  patienceMs?: number;
}

const PORT = 13306;
const GIB = 2 ** 30;

export async function startSuite({ seed, guards = '', db = 'adb', patienceMs = 8000 }: SuiteOptions): Promise<Suite> {
  const folder = mkdtempSync(join(process.env.XCAAS_FAULT_FOLDER ?? tmpdir(), `xcaas-fault-${seed}-`));
  const journals = join(folder, 'journals');
  mkdirSync(journals);
  const say = (text: string) => process.stderr.write(`  ${text}\n`);
  say(`results and journals: ${folder}`);
  const disks = createDisks({ bytes: 16 * GIB });
  const pool = await startPool({ verbose: process.env.XCAAS_VERBOSE !== undefined, prepare: (host) => disks.mount(host) });
  let clients: Clients | undefined;
  try {
    const image = await testImage(pool, guards);
    const world = createWorld({ pool, db, disks });
    try {
      await makeDatabase(world, image);
    } catch (error) {
      say(`see ${await diagnose(world, { folder: join(folder, 'create'), journals })}`);
      throw error;
    }
    clients = await startClients(world, { journals, seed, patienceMs });
    const runner = createRunner({ world, clients, say });
    const result: RunResult = { seed, started: new Date().toISOString(), seconds: 0, faults: [] };
    const start = performance.now();
    return {
      ...{ world, clients, runner, folder },
      keep(one) {
        result.faults.push(one);
        result.seconds = Math.round((performance.now() - start) / 1000);
        writeFileSync(join(folder, 'results.json'), `${JSON.stringify(result, null, 2)}\n`);
        writeFileSync(join(folder, 'results.txt'), describeRun(result));
        return result;
      },
      diagnose: (name) => diagnose(world, { folder: join(folder, name), journals }),
      async stop() {
        await clients?.stop().catch((error: unknown) => say(`the clients did not end: ${messageOf(error)}`));
        pool.stop();
      },
    };
  } catch (error) {
    await clients?.stop().catch(() => undefined);
    pool.stop();
    throw error;
  }
}

/** The product's own image, with the settings of tests in its environment. @returns its tag, on every host */
async function testImage(pool: Pool, guards: string): Promise<string> {
  const tag = `xcaas-test/xdb-fault:${guards === '' ? 'dev' : guards.replaceAll(/[^A-Za-z0-9]/g, '-').toLowerCase()}`;
  const dockerfile = `FROM xcaas/xdb:${VERSION}\nENV XCAAS_TEST_FAILPOINTS=@${FAILPOINTS_FILE} XCAAS_TEST_GUARDS=${guards}\n`;
  const { code, stderr } = await run('docker', ['build', '--quiet', '--tag', tag, '-'], { input: dockerfile, timeoutMs: 120_000 });
  if (code !== 0) throw new AppError('engine', `the image could not be built: ${stderr}`);
  await pool.engines.loadImages([tag]);
  return tag;
}

interface DbUrl {
  host: string;
  port: number;
  user: string;
  password: string;
  database: string;
}

async function makeDatabase(world: World, image: string): Promise<void> {
  const { pool, db } = world;
  const size = ['--cpu', '0', '--memory', '1', '--disk', '14'];
  await pool.json(['db', 'create', '-d', db, '--image', image, ...size, '--publish', String(PORT)], { timeoutMs: 300_000 });
  const whole = await waitFor(async () => (isWhole(await world.status()) ? true : undefined), { timeoutMs: 180_000, intervalMs: 500 });
  if (!whole) throw new AppError('timeout', `${db} did not become whole: ${JSON.stringify(await world.status())}`);
  const { master } = await world.roles();
  const { user } = await pool.json<DbUrl>(['db', 'url', db]);
  for (const text of CREATE_TABLES) await world.sql(master)(text);
  // Users do not see the heartbeat; this suite's clients read the epoch inside their transactions.
  await world.sql(master)(`GRANT SELECT ON xcaas.heartbeat TO '${user}'@'%'`);
}

/** One client where users' containers are, which resolves the name anew each time; one outside, through the published ports. */
async function startClients(
  world: World,
  { journals, seed, patienceMs }: { journals: string; seed: number; patienceMs: number },
): Promise<Clients> {
  const { pool, db } = world;
  const { host, port, user, password, database } = await pool.json<DbUrl>(['db', 'url', db]);
  const { master, slave, witness } = await world.roles();
  const endpoint = (hosts: Endpoint['hosts']): Endpoint => ({
    ...{ hosts, user, password, database, tls: 'unverified', connectMs: 1000, queryMs: patienceMs },
  });
  const published = (member: { host: PoolHost }) => ({ host: member.host.address, port: PORT });
  const serverId = async (member: Member) => `${(await world.sql(member)('SELECT @@server_id'))[0]?.[0]}`;
  const servers = await Promise.all([master, slave].map(async (member) => ({ serverId: await serverId(member), member: member.id })));
  const epochSql = readsEpoch(servers);
  const clients = createClients({
    folder: journals,
    seed,
    ...{ steady: 3, fresh: 3, thinkMs: 150, freshQueryMs: 2500, epochSql },
    posts: [
      {
        name: 'inside',
        from: () => ({ inContainer: { host: witness, network: 'xcaas', image: 'node:24-trixie-slim' } }),
        endpoint: endpoint([{ host, port }]),
        usable: () => witness.power === 'on',
      },
      { name: 'outside', from: () => ({}), endpoint: endpoint([published(master), published(slave)]), usable: () => true },
    ],
  });
  await clients.revive();
  return clients;
}

async function diagnose(world: World, { folder, journals }: { folder: string; journals: string }): Promise<string> {
  mkdirSync(folder, { recursive: true });
  const keep = async (name: string, ask: () => Promise<string>) =>
    writeFileSync(join(folder, name), await ask().catch((error: unknown) => `${messageOf(error)}\n`));
  const living = world.pool.hosts.filter(({ power }) => power === 'on');
  const [on] = living;
  if (on !== undefined) {
    await keep('status.json', async () => JSON.stringify(await world.status(on), null, 2));
    await keep('events.txt', async () => (await world.pool.cli(['db', 'events', world.db], { on, timeoutMs: 20_000 })).stdout);
    await keep('records.json', () => world.consul(on, 'GET', `/kv/xcaas/db/${world.db}/?recurse`));
  }
  for (const host of living) {
    const names = (await host.docker.listContainers({ all: true }).catch(() => [])).map(({ Names }) => Names[0]!.slice(1));
    for (const name of names)
      await keep(`${host.name}-${name}.log`, () =>
        host.exec('docker', ['logs', '--timestamps', '--tail', '3000', name]).then(({ stdout, stderr }) => stdout + stderr),
      );
  }
  cpSync(journals, join(folder, 'journals'), { recursive: true });
  return folder;
}
