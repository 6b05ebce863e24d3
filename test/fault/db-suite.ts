import { AppError } from '#core/errors.ts';
import { waitFor } from '#core/sleep.ts';
import type { Endpoint } from '#test/history/connect.ts';
import { type HistoryOptions, startHistory } from '#test/history/driver.ts';
import { readsEpoch } from '#test/history/epoch.ts';
import { CREATE_TABLES } from '#test/history/tables.ts';
import type { PoolHost } from '#test/pool/host.ts';
import type { From } from '#test/program.ts';
import { type Clients, createClients, type Post } from './clients.ts';
import { createDbJudge } from './db-judge.ts';
import { createWorld, isWhole, type World } from './db-world.ts';
import { createDisks } from './disks.ts';
import type { Fault } from './fault.ts';
import { FAILPOINTS_FILE } from './faults/db-failpoints.ts';
import { type Suite, startServiceSuite, testImage } from './suite.ts';
import type { Member } from './world.ts';

export type DbSuite = Suite<World, Fault<World>>;

export interface DbSuiteOptions {
  seed: number;
  /** Guards of the protocol to switch off in all sidecars, as `XCAAS_TEST_GUARDS` names them. */
  guards?: string;
  db?: string;
  /** How long clients that keep their connection wait for an answer; 8 s if not given. An engine that must end is given up by then. */
  patienceMs?: number;
}

const PORT = 13306;
const GIB = 2 ** 30;

export function startDbSuite({ seed, guards = '', db = 'adb', patienceMs = 8000 }: DbSuiteOptions): Promise<DbSuite> {
  const disks = createDisks({ bytes: 16 * GIB });
  return startServiceSuite<World, Fault<World>>({
    seed,
    prepare: (host) => disks.mount(host),
    world: (pool) => createWorld({ pool, db, disks }),
    async make(world) {
      const env = { XCAAS_TEST_FAILPOINTS: `@${FAILPOINTS_FILE}`, XCAAS_TEST_GUARDS: guards };
      await makeDatabase(world, await testImage(world.pool, 'xdb', guards, env));
    },
    async begin(world, journals) {
      const clients = await startClients(world, { journals, seed, patienceMs });
      const look = async () => {
        const status = await world.status();
        return { epoch: status.epoch, isWhole: isWhole(status), sentence: `${status.status}: ${status.sentence}` };
      };
      return { clients, look, judge: createDbJudge({ world, clients }) };
    },
  });
}

interface DbUrl {
  host: string;
  port: number;
  user: string;
  password: string;
  database: string;
}

async function makeDatabase(world: World, image: string): Promise<void> {
  const { pool, name: db } = world;
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
  const { pool, name: db } = world;
  const { host, port, user, password, database } = await pool.json<DbUrl>(['db', 'url', db]);
  const { master, follower: slave, witness } = await world.roles();
  const endpoint = (hosts: Endpoint['hosts']): Endpoint => ({
    ...{ hosts, user, password, database, tls: 'unverified', connectMs: 1000, queryMs: patienceMs },
  });
  const published = (member: { host: PoolHost }) => ({ host: member.host.address, port: PORT });
  const serverId = async (member: Member) => `${(await world.sql(member)('SELECT @@server_id'))[0]?.[0]}`;
  const servers = await Promise.all([master, slave].map(async (member) => ({ serverId: await serverId(member), member: member.id })));
  const options = { steady: 3, fresh: 3, thinkMs: 150, freshQueryMs: 2500, epochSql: readsEpoch(servers) };
  const post = (name: string, usable: () => boolean, from: From, hosts: Endpoint['hosts']): Post => ({
    ...{ name, usable },
    start: (who) => startHistory({ ...options, ...from, ...who, endpoint: endpoint(hosts) } satisfies HistoryOptions),
  });
  const inContainer = { host: witness, network: 'xcaas', image: 'node:24-trixie-slim' };
  const clients = createClients({
    ...{ folder: journals, seed },
    posts: [
      post('inside', () => witness.power === 'on', { inContainer }, [{ host, port }]),
      post('outside', () => true, {}, [published(master), published(slave)]),
    ],
  });
  await clients.revive();
  return clients;
}
