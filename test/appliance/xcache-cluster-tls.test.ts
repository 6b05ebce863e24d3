import type { Cluster } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '#test/xdb-lab.ts';
import { type ClusterLab, heal, masterWithKey, startClusterLab, startLoad } from './xcache-cluster-lab.ts';

/** Everything between clients, engines and sidecars is encrypted; snapshots are on disk, so a master that began again by itself would go back in time. */
let cluster: ClusterLab;
let client: Cluster;

beforeAll(async () => {
  cluster = await startClusterLab({ persistence: 'rdb' }, { spec: { tls: true } });
  await cluster.whole(3, 40_000);
  client = await cluster.client(2000);
});
afterAll(() => cluster?.lab.stop());

describe('a cluster that speaks TLS', () => {
  it('has a frozen master succeeded, which follows when it wakes', async () => {
    const load = startLoad(client, 'frozen', 4);
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const { master, key } = await masterWithKey(cluster);
    await cluster.member(master).pause();
    const frozen = performance.now();
    await eventually('its shard takes writes', async () => (await client.set(key, 'again')) === 'OK', 20_000);
    console.log(`master frozen: its shard takes writes again after ${Math.round(performance.now() - frozen)} ms`);
    await cluster.member(master).unpause();
    await cluster.becomes('another one leads', ({ slots }) => slots[master] === undefined);
    await cluster.whole(3);
    await load.stop();
    const missing = await load.missing(client);
    console.log(`of ${load.acknowledged} writes ${missing.length} were lost`);
    expect(missing.length).toBeLessThan(200);
  });

  it('hands over before a member ends: none of its clients’ commands fails, and nothing is lost', async () => {
    const load = startLoad(client, 'stopped', 4);
    await new Promise((resolve) => setTimeout(resolve, 500));
    const { master } = await masterWithKey(cluster);
    await cluster.member(master).stopGently();
    await cluster.member(master).start();
    await cluster.becomes('another one leads', ({ slots }) => slots[master] === undefined);
    await cluster.whole(3);
    await load.stop();
    expect(load.failures).toEqual([]);
    expect(await load.missing(client)).toEqual([]);
  });

  it('heals when all members are killed at once and each comes back where another was', async () => {
    const { sinceFirst, sinceLast } = await heal(cluster, 3);
    console.log(
      `all killed and back with other addresses: whole ${sinceFirst} ms after the first was started, ${sinceLast} ms after the last`,
    );
    const { key } = await masterWithKey(cluster);
    expect(await (await cluster.client()).set(key, 'healed')).toBe('OK');
  });
});
