import { fileURLToPath } from 'node:url';
import { AppError } from '#core/errors.ts';
import { waitFor } from '#core/sleep.ts';
import type { CacheClientOrders } from '#test/cache-history/client.ts';
import { startClient } from '#test/history/client-process.ts';
import type { CacheFault } from './cache-fault.ts';
import { createCacheJudge } from './cache-judge.ts';
import { type CacheWorld, createCacheWorld, isWhole } from './cache-world.ts';
import { type Clients, createClients, type Post } from './clients.ts';
import { followLeads } from './leads.ts';
import { type Suite, startServiceSuite, testImage } from './suite.ts';

export type CacheSuite = Suite<CacheWorld, CacheFault>;

export interface CacheSuiteOptions {
  seed: number;
  /** Guards of the protocol to switch off in all sidecars, as `XCAAS_TEST_GUARDS` names them. */
  guards?: string;
  /** Of `cache create`: a replicated one that keeps its data on disk, if not given. */
  create?: readonly string[];
  /** In place of one master and one replica. */
  isCluster?: boolean;
}

const CACHE = 'acache';
const CLIENT = fileURLToPath(new URL('../lib/cache-history/client.ts', import.meta.url));

const KEPT = ['--opt', 'persistence=aof'];
/** Three shards of a master and a replica on three hosts. */
const CLUSTER = ['--mode', 'cluster', '--shards', '3', '--replicas', '1'];

export function startCacheSuite({ seed, guards = '', isCluster = false, create = KEPT }: CacheSuiteOptions): Promise<CacheSuite> {
  return startServiceSuite<CacheWorld, CacheFault>({
    seed,
    world: (pool) => createCacheWorld({ pool, cache: CACHE, mode: isCluster ? 'cluster' : 'replicated' }),
    async make(world) {
      const image = await testImage(world.pool, 'xcache', guards, { XCAAS_TEST_GUARDS: guards });
      const settings = ['--memory', isCluster ? '256m' : '1', '--opt', 'replace-after=3600', ...(isCluster ? CLUSTER : []), ...create];
      await world.pool.json(['cache', 'create', '--image', image, ...settings, CACHE], { timeoutMs: 180_000 });
      const whole = await waitFor(async () => (isWhole(await world.status()) ? true : undefined), { timeoutMs: 60_000, intervalMs: 500 });
      if (!whole) throw new AppError('timeout', `${CACHE} did not become whole: ${JSON.stringify(await world.status())}`);
    },
    async begin(world, journals) {
      const leads = isCluster ? undefined : followLeads(world);
      const clients = await startClients(world, { journals, seed, isCluster });
      const look = async () => {
        const status = await world.status();
        return { epoch: status.epoch, isWhole: isWhole(status), sentence: `${status.status}: ${status.sentence}` };
      };
      return { clients, look, judge: createCacheJudge({ world, clients, leads }), stop: () => leads?.stop() };
    },
  });
}

/** One client on every host, so that one is beside the master wherever that is; each finds the cache by its name. */
async function startClients(
  world: CacheWorld,
  { journals, seed, isCluster }: { journals: string; seed: number; isCluster: boolean },
): Promise<Clients> {
  const { pool, name } = world;
  const { endpoint } = await world.status();
  const { user, password } = await pool.json<{ user: string; password: string }>(['cache', 'url', name]);
  const connectMs = 1000;
  const posts = pool.hosts.map(
    (host): Post => ({
      name: host.name,
      usable: () => host.power === 'on',
      start: ({ client, folder, ...place }) =>
        startClient<CacheClientOrders>({
          ...{ client, folder, entry: CLIENT, patienceMs: 30_000 },
          from: { inContainer: { host, network: 'xcaas', image: 'node:24-trixie-slim' } },
          orders: {
            ...place,
            ...{ steady: isCluster ? 4 : 3, fresh: isCluster ? 0 : 1, thinkMs: 40, retryMs: 50 },
            endpoint: {
              hosts: [{ host: endpoint.host, port: endpoint.port }],
              user,
              password,
              connectMs,
              answerMs: 2500,
              cluster: isCluster,
            },
          },
        }),
    }),
  );
  const clients = createClients({ folder: journals, seed, posts });
  await clients.revive();
  return clients;
}
