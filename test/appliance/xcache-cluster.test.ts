import type { Cluster } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { memberImage } from '#test/xcache-lab.ts';
import { eventually } from '#test/xdb-lab.ts';
import { type ClusterLab, heal, masterWithKey, startClusterLab, startLoad } from './xcache-cluster-lab.ts';

let cluster: ClusterLab;
let client: Cluster;
let began = 0;
const shardOf = (id: string) => cluster.lab.spec.members.find((one) => one.id === id)?.shard;
/** Of each shard that serves: its master's group. */
const groups = async () => [...(await cluster.statuses()).values()].filter(({ role }) => role === 'master').map(({ group }) => group);

beforeAll(async () => {
  await memberImage();
  began = performance.now();
  cluster = await startClusterLab({ persistence: 'aof' });
  client = await cluster.client();
});
afterAll(() => cluster?.lab.stop());

describe('a cluster of three masters and their replicas', () => {
  it('is made by its sidecars: every slot has a master, and no group has two', async () => {
    await cluster.whole(3, 30_000);
    console.log(`made and whole ${Math.round(performance.now() - began)} ms after its containers were asked for`);
    const record = await cluster.record();
    expect(Object.values(record?.slots ?? {}).reduce((sum, count) => sum + count, 0)).toBe(16_384);
    await eventually('three masters and three replicas say so', async () => {
      const said = [...(await cluster.statuses()).values()].map(({ role, state }) => `${role} ${state}`);
      return ['master running', 'replica running'].every((what) => said.filter((one) => one === what).length === 3);
    });
    expect(new Set(await groups()).size).toBe(3);
    expect(await client.set('greeting', 'hello')).toBe('OK');
  });

  it('heals when all members are killed at once and each comes back where another was, with its data', async () => {
    const load = startLoad(client, 'before');
    await new Promise((resolve) => setTimeout(resolve, 2000));
    await load.stop();
    expect(load.failures).toEqual([]);
    const before = await cluster.addresses();
    const { sinceFirst, sinceLast } = await heal(cluster, 3);
    console.log(
      `all killed and back with other addresses: whole ${sinceFirst} ms after the first was started, ${sinceLast} ms after the last`,
    );
    const after = await cluster.addresses();
    for (const [id, address] of before) expect(after.get(id)).not.toBe(address);
    const reader = await cluster.client();
    expect(await load.missing(reader)).toEqual([]);
    expect(sinceLast).toBeLessThan(20_000);
  });

  it('gives copies to its own shard only: a replica that has come to follow another shard keeps what it has', async () => {
    const statuses = [...(await cluster.statuses()).values()];
    const replica = statuses.find(({ role }) => role === 'replica')!;
    const other = statuses.find(({ role, member }) => role === 'master' && shardOf(member) !== shardOf(replica.member))!;
    const copies = async () => /^sync_full:\d+/m.exec(await cluster.member(other.member).cli('INFO', 'stats'))?.[0];
    const before = await copies();
    // As if that master's address had been its own master's before.
    await cluster.member(replica.member).cli('CLUSTER', 'REPLICATE', other.nodeId!);
    await eventually('it was refused', async () => /psync|sync/.test(await cluster.member(other.member).cli('ACL', 'LOG')), 15_000);
    await cluster.becomes('it is seen', ({ state }) => state !== 'whole', 15_000).catch(() => undefined);
    await cluster.whole(3);
    expect(await copies()).toBe(before);
    const own = (await cluster.member(replica.member).cli('INFO', 'replication')).split('\r\n');
    expect(own).toContain('master_link_status:up');
  });

  it('goes on without a member that is killed: its replica leads, and masters are spread again when it is back', async () => {
    const user = await cluster.client(1000);
    const { master: victim, key } = await masterWithKey(cluster);
    const load = startLoad(user, 'killed', 4);
    await new Promise((resolve) => setTimeout(resolve, 1000));
    await cluster.member(victim).kill();
    const killed = performance.now();
    await eventually('its shard takes writes', async () => (await user.set(key, 'again')) === 'OK', 15_000);
    console.log(`master killed: its shard takes writes again after ${Math.round(performance.now() - killed)} ms`);
    await cluster.becomes('its replica leads', ({ slots, state }) => state !== 'down' && slots[victim] === undefined, 30_000);
    await cluster.member(victim).start();
    await cluster.whole(3);
    await eventually('masters are in three groups', async () => new Set(await groups()).size === 3);
    await cluster.whole(3);
    await load.stop();
    const missing = await load.missing(user);
    console.log(
      `of ${load.acknowledged} writes ${missing.length} were lost with the master; ${load.failures.length} were refused or unanswered`,
    );
    // What the replica had not got yet when its master died.
    expect(missing.length).toBeLessThan(200);
  });

  it('grows by a shard while clients write, and none of their commands fails', async () => {
    const user = await cluster.client();
    const load = startLoad(user, 'grows');
    await new Promise((resolve) => setTimeout(resolve, 3000));
    const quiet = load.rate();
    await cluster.scale(4);
    await cluster.becomes('slots move', ({ progress }) => progress !== undefined, 30_000);
    load.rate();
    const ms = await cluster.whole(4);
    const busy = load.rate();
    await load.stop();
    console.log(
      `4096 slots moved in ${ms} ms, ${Math.round(busy)} writes/s against ${Math.round(quiet)} before: ${(busy / quiet).toFixed(2)} x`,
    );
    expect(load.failures).toEqual([]);
    expect(await load.missing(user)).toEqual([]);
    expect(Object.values((await cluster.record())?.slots ?? {})).toEqual([4096, 4096, 4096, 4096]);
  });

  it('shrinks again, though the sidecar that does it is killed in the middle', async () => {
    const user = await cluster.client();
    const load = startLoad(user, 'shrinks');
    await cluster.scale(3);
    await cluster.becomes('slots move', ({ progress }) => progress !== undefined, 30_000);
    await (await cluster.holder()).signal('node', 'KILL');
    await cluster.becomes('the shard is empty', ({ emptied, slots }) => emptied.includes(3) && Object.keys(slots).length === 3);
    await cluster.remove('acache-7', 'acache-8');
    await cluster.whole(3);
    await eventually('nobody knows the removed ones', async () => {
      const lines = (await cluster.member('acache-1').cli('CLUSTER', 'NODES')).split('\n');
      return lines.length === 6;
    });
    await load.stop();
    expect(load.failures).toEqual([]);
    expect(await load.missing(user)).toEqual([]);
  });

  it('is not led by a replica that has no copy yet: a master that was only busy comes back as one, with what it had', async () => {
    const user = await cluster.client();
    const { master, key } = await masterWithKey(cluster);
    await user.set(key, 'kept');
    const engine = cluster.member(master);
    const statuses = await cluster.statuses();
    const own = statuses.get(master)?.nodeId;
    const replica = [...statuses.values()].find(({ role, member }) => role === 'replica' && shardOf(member) === shardOf(master))?.member;
    // Its copy will not begin for a minute.
    await engine.cli('CONFIG', 'SET', 'repl-diskless-sync-delay', '60');
    const empty = cluster.member(await cluster.replace(replica ?? ''));
    await eventually('it follows, and has nothing', async () => {
      const line = (await empty.cli('CLUSTER', 'NODES')).split('\n').find((each) => each.includes('myself')) ?? '';
      return line.includes(` ${own} `) && (await empty.cli('INFO', 'replication')).includes('master_link_status:down');
    });
    await engine.signal('engine', 'STOP');
    await new Promise((resolve) => setTimeout(resolve, 3700));
    await engine.signal('engine', 'CONT');
    await eventually('it takes commands', async () => (await user.get(key)) === 'kept', 20_000);
    expect(await empty.cli('ROLE')).toMatch(/^slave/);
    await engine.cli('CONFIG', 'SET', 'repl-diskless-sync-delay', '0');
    await cluster.whole(3);
    expect(await user.get(key)).toBe('kept');
  });
});
