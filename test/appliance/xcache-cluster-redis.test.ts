import type { Cluster } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '#test/xdb-lab.ts';
import { type ClusterLab, masterWithKey, startClusterLab, startLoad } from './xcache-cluster-lab.ts';

/** The engine that moves slots key by key, and nothing on disk: a master that began again by itself would be empty, and its replica after it. */
let cluster: ClusterLab;
let client: Cluster;

beforeAll(async () => {
  cluster = await startClusterLab({ engine: 'redis', persistence: 'none' });
  await cluster.whole(3, 40_000);
  client = await cluster.client(2000);
});
afterAll(() => cluster?.lab.stop());

describe('a cluster of Redis that keeps nothing on disk', () => {
  it('has a master whose engine is killed succeeded before it is started again, and loses next to nothing', async () => {
    const load = startLoad(client, 'engine', 4);
    await new Promise((resolve) => setTimeout(resolve, 1500));
    const { master, key } = await masterWithKey(cluster);
    await cluster.member(master).signal('engine', 'KILL');
    const killed = performance.now();
    await eventually('its shard takes writes', async () => (await client.set(key, 'again')) === 'OK', 20_000);
    console.log(`engine killed: its shard takes writes again after ${Math.round(performance.now() - killed)} ms`);
    await cluster.becomes('its replica leads', ({ slots, state }) => state !== 'down' && slots[master] === undefined);
    await cluster.whole(3);
    await load.stop();
    const missing = await load.missing(client);
    console.log(`of ${load.acknowledged} writes ${missing.length} were lost`);
    expect(load.acknowledged).toBeGreaterThan(100);
    // Everything else would be gone had it begun empty: a third of all.
    expect(missing.length).toBeLessThan(load.acknowledged / 20);
  });

  it('changes the master of a shard by order while it is paused, and refuses what it would undo at once', async () => {
    const replica = [...(await cluster.statuses())].find(([, { role }]) => role === 'replica')?.[0] ?? '';
    expect(await cluster.lab.switchover()).toMatchObject({ state: 'failed', error: expect.stringContaining('name the replica') });
    expect(await cluster.lab.switchover(replica)).toMatchObject({ state: 'failed', error: expect.stringContaining('too many masters') });
    await cluster.lab.respec({ pausedUntil: new Date(Date.now() + 60_000).toISOString() });
    expect(await cluster.lab.switchover(replica)).toMatchObject({ state: 'done', target: replica });
    await cluster.lab.respec({});
    await cluster.whole(3);
    await eventually('masters are spread again', async () => {
      const masters = [...(await cluster.statuses()).values()].filter(({ role }) => role === 'master');
      return masters.length === 3 && new Set(masters.map(({ group }) => group)).size === 3;
    });
    await cluster.whole(3);
  });

  it('has a master that is lost for good replaced: its replica leads, and the new member gets the data from it', async () => {
    const { master, key } = await masterWithKey(cluster);
    await client.set(key, 'kept');
    await eventually('all members are in step', async () =>
      [...(await cluster.statuses()).values()].every(({ state }) => state === 'running'),
    );
    const fresh = await cluster.replace(master);
    await cluster.becomes(
      'the new member is known',
      ({ nodes, state, slots }) => state === 'whole' && fresh in nodes && !(master in slots),
    );
    await cluster.whole(3);
    expect(await client.get(key)).toBe('kept');
    const lines = (await cluster.member(fresh).cli('CLUSTER', 'NODES')).split('\n');
    expect(lines).toHaveLength(6);
  });

  it('grows by a shard while clients write, though the sidecar that moves slots is killed: none of their commands fails', async () => {
    const user = await cluster.client();
    const load = startLoad(user, 'grows', 4);
    await new Promise((resolve) => setTimeout(resolve, 2000));
    const quiet = load.rate();
    await cluster.scale(4);
    await cluster.becomes('some slots have moved', ({ progress }) => progress !== undefined && progress.left < progress.total, 40_000);
    const began = performance.now();
    load.rate();
    await (await cluster.holder()).signal('node', 'KILL');
    await cluster.whole(4, 200_000);
    const busy = load.rate();
    await load.stop();
    const ms = Math.round(performance.now() - began);
    console.log(
      `the rest of 4096 slots moved in ${ms} ms, ${Math.round(busy)} writes/s against ${Math.round(quiet)} before: ${(busy / quiet).toFixed(2)} x`,
    );
    expect(load.failures).toEqual([]);
    expect(await load.missing(user)).toEqual([]);
    for (const id of Object.keys((await cluster.record())?.slots ?? {}))
      expect(await cluster.member(id).cli('CLUSTER', 'NODES')).not.toMatch(/\[\d+-[<>]-/);
  }, 300_000);
});
