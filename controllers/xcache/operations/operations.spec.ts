import { describe, expect, it } from 'vitest';
import { listEvents } from '#pool/events.ts';
import type { ServiceInUse } from '#pool/services.ts';
import { cacheWorld, livingCache } from '#test/xcache-operations.ts';
import { gib, host, lead, said } from '#test/xcache-world.ts';
import { cacheKeys } from '#xcache/store.ts';
import { type CreateCacheRequest, createCache } from './create.ts';
import { destroyCache, undestroyCache } from './destroy.ts';
import { pauseCache, restartCache, resumeCache, scaleCache, setOptions } from './maintain.ts';
import { forceFailover, orderSwitchover, readMove } from './move.ts';
import { listParameters, setParameters } from './parameters.ts';
import { cacheUrl, cacheView, listCaches } from './view.ts';

const code = (wanted: string, message: RegExp = /./) => expect.objectContaining({ code: wanted, message: expect.stringMatching(message) });

describe('create', () => {
  it('writes specification, birth and sealed credentials at once, and nothing the second time', async () => {
    const { kv, deps } = await cacheWorld();
    const spec = await createCache(deps, { name: 'acache', options: { 'param.timeout': '60', 'maxmemory-policy': 'allkeys-lfu' } });
    expect(spec).toMatchObject({
      mode: 'replicated',
      policy: 'allkeys-lfu',
      parameters: { timeout: '60' },
      imageId: expect.stringMatching(/^sha256:/),
    });
    const keys = kv.keys().filter((key) => key.startsWith('xcaas/cache/'));
    expect(keys).toEqual(['xcaas/cache/acache/birth', 'xcaas/cache/acache/credentials', 'xcaas/cache/acache/spec']);
    const { writes } = kv;
    expect(await createCache(deps, { name: 'acache' })).toEqual(spec);
    expect(await createCache(deps, { name: 'acache', replicas: 1, options: { engine: 'valkey' } })).toEqual(spec);
    expect(kv.writes).toBe(writes);
  });

  it('refuses another specification under the same name, showing the difference and whether it could be changed', async () => {
    const { deps } = await cacheWorld();
    await createCache(deps, { name: 'acache' });
    const again = (request: Partial<CreateCacheRequest>) =>
      createCache(deps, { name: 'acache', ...request }).catch((error: unknown) => error);
    expect(await again({ mode: 'standalone' })).toMatchObject({
      code: 'conflict',
      message: expect.stringContaining('mode: standalone instead of replicated'),
      hint: expect.stringContaining('fixed at creation'),
    });
    expect(await again({ memoryBytes: gib(2) })).toMatchObject({
      message: expect.stringContaining('memory: 2 GiB instead of 1 GiB'),
      hint: expect.stringContaining('cache scale'),
    });
  });

  it.each<[string, Partial<CreateCacheRequest>, string, RegExp]>([
    ['a name that is none', { name: 'A b' }, 'invalid', /name/],
    ['an option that is none', { options: { colour: 'red' } }, 'usage', /colour/],
    ['a policy that does not exist', { options: { 'maxmemory-policy': 'oldest' } }, 'invalid', /oldest/],
    ['an engine that does not exist', { options: { engine: 'memcached' } }, 'invalid', /memcached/],
    ['more replicas than groups', { replicas: 3 }, 'no_host', /needs 4 fault groups, and the pool has 3/],
    ['replicas of a standalone one', { mode: 'standalone', replicas: 1 }, 'usage', /standalone/],
    ['masters that no group may lose', { mode: 'cluster', shards: 4 }, 'no_host', /4 masters of acache cannot be spread.*3 fault groups/],
    ['ports of a cluster', { mode: 'cluster', publish: ['7000'] }, 'usage', /clients of a cluster/],
    ['more memory than any host has', { memoryBytes: gib(64) }, 'no_host', /memory/],
    ['too little memory', { memoryBytes: 1000 }, 'invalid', /too little/],
    ['an image that is not there', { image: 'nowhere:1' }, 'not_found', /nowhere:1/],
    ['an image of another appliance', { image: 'xcaas/xlb:1234' }, 'invalid', /appliance xlb/],
    ['a setting that would break replication', { options: { 'param.repl-timeout': '1' } }, 'invalid', /repl-timeout/],
    ['a network of one host', { network: 'lan' }, 'invalid', /bridge/],
    ['a port that is none', { publish: ['http'] }, 'usage', /http/],
    ['a port that a cache has not', { publish: ['7000:3306'] }, 'usage', /a cache has no port 3306/],
  ])('refuses %s before anything is written', async (_, request, wanted, message) => {
    const { kv, deps } = await cacheWorld();
    await expect(createCache(deps, { name: 'acache', ...request })).rejects.toEqual(code(wanted, message));
    expect(kv.keys().filter((key) => key.startsWith('xcaas/cache/'))).toEqual([]);
  });

  it('refuses a name or port of another service, and data that another cache left', async () => {
    const services: ServiceInUse[] = [{ kind: 'db', name: 'shop', hostPorts: [7000] }];
    const taken = await cacheWorld({ services });
    await expect(createCache(taken.deps, { name: 'shop' })).rejects.toEqual(code('conflict', /database shop/));
    await expect(createCache(taken.deps, { name: 'acache', publish: ['7000'] })).rejects.toEqual(code('port_taken', /7000.*database shop/));
    const left = await cacheWorld({ volumes: [{ member: 'acache-2', volumes: ['data'], kept: false }] });
    await expect(createCache(left.deps, { name: 'acache' })).rejects.toEqual(code('conflict', /holds data of an earlier acache-2/));
  });

  it('on one host is made all the same: it mends itself when another one joins', async () => {
    const { deps } = await cacheWorld({ hosts: [host(1)] });
    expect((await createCache(deps, { name: 'acache' })).members).toHaveLength(2);
    await expect(createCache(deps, { name: 'other', mode: 'cluster' })).rejects.toEqual(code('no_host', /1 fault group$/));
  });
});

describe('looking', () => {
  it('shows what the records say, with passwords in the URL only', async () => {
    const made = await cacheWorld();
    await livingCache(made);
    const { deps } = made;
    const view = await cacheView(deps, 'acache');
    expect(view).toMatchObject({
      name: 'acache',
      status: 'PENDING',
      mode: 'replicated',
      epoch: 1,
      master: 'acache-1',
      endpoint: { port: 6379, sentinelPort: 26379 },
    });
    expect(view.members).toMatchObject([
      { id: 'acache-1', role: 'master', node: 'host-1', group: 'group1', insync: false },
      { id: 'acache-2', role: 'replica', node: 'host-2', group: 'group2', insync: true },
    ]);
    const url = await cacheUrl(deps, 'acache', undefined);
    expect(url.url).toBe(`redis://acache:${url.password}@acache:6379`);
    expect(url.urls).toMatchObject({ sentinel: `redis-sentinel://acache:${url.password}@acache-1:26379,acache-2:26379#acache` });
    expect(JSON.stringify([view, await listCaches(deps), await listEvents(deps.store.consul)])).not.toContain(url.password);
    await expect(cacheUrl(deps, 'acache', 'nobody')).rejects.toEqual(code('not_found', /no user "nobody"/));
    await expect(cacheView(deps, 'bcache')).rejects.toMatchObject({ code: 'not_found', hint: expect.stringContaining('there is acache') });
  });

  it('gives a cluster’s clients its members', async () => {
    const { deps } = await cacheWorld();
    await createCache(deps, { name: 'acache', mode: 'cluster', options: { tls: 'on' } });
    const url = await cacheUrl(deps, 'acache', undefined);
    expect(url.url).toMatch(/^rediss:\/\/acache:[^@]+@acache-1:6379,acache-2:6379,.*acache-6:6379$/);
    expect(url.ca).toBe('CA');
  });
});

describe('changing the master', () => {
  it('orders a switchover, and says how far it is', async () => {
    const made = await cacheWorld();
    await livingCache(made);
    const order = await orderSwitchover(made.deps, 'acache', undefined);
    expect(order).toMatchObject({ state: 'asked' });
    expect(await readMove(made.deps, 'acache', order.id)).toMatchObject({ sentence: 'the order is given' });
    await expect(orderSwitchover(made.deps, 'acache', 'acache-2')).rejects.toEqual(code('conflict', /under way/));
  });

  it.each<[string, string | undefined, Parameters<typeof livingCache>[1], string, RegExp]>([
    ['to the one that leads', 'acache-1', {}, 'conflict', /leads already/],
    ['to nobody of it', 'acache-9', {}, 'not_found', /no member "acache-9"/],
    ['while nobody is in sync', undefined, { lead: lead('acache-1', []) }, 'conflict', /no replica of acache is in sync/],
    ['to one that is down', 'acache-2', { sidecars: [said('acache-1', 'master')] }, 'conflict', /acache-2 is down/],
    [
      'while the master changes',
      undefined,
      { lead: lead('acache-1', ['acache-2'], { state: 'handing' }) },
      'conflict',
      /changing just now/,
    ],
    ['of one member', undefined, { request: { mode: 'standalone' } }, 'conflict', /has one member/],
    ['of a cluster', undefined, { request: { mode: 'cluster' } }, 'not_implemented', /is a cluster/],
  ])('is refused %s', async (_, to, change, wanted, message) => {
    const made = await cacheWorld();
    await livingCache(made, change);
    await expect(orderSwitchover(made.deps, 'acache', to)).rejects.toEqual(code(wanted, message));
    expect(await made.store.moves.get(cacheKeys('acache').move)).toBeUndefined();
  });

  it('by force ends the master, where somebody can take over', async () => {
    const made = await cacheWorld();
    await livingCache(made);
    expect(await forceFailover(made.deps, 'acache')).toMatchObject({
      master: 'acache-1',
      epoch: 1,
      sentence: expect.stringContaining('acache-2 is to take over'),
    });
    expect(made.asked).toEqual([{ member: 'acache-1', method: 'STOP', path: '' }]);
    const alone = await cacheWorld();
    await livingCache(alone, { lead: lead('acache-1', []) });
    await expect(forceFailover(alone.deps, 'acache')).rejects.toEqual(code('conflict', /in sync/));
    expect(alone.asked).toEqual([]);
  });
});

describe('scaling and settings', () => {
  it('changes numbers and sizes, with members for new shards', async () => {
    const made = await cacheWorld();
    await livingCache(made);
    expect(await scaleCache(made.deps, 'acache', { replicas: 2, memoryBytes: gib(2) })).toMatchObject({
      replicas: 2,
      memoryBytes: gib(2),
      minReplicas: 1,
    });
    const five = await cacheWorld({ hosts: [1, 2, 3, 4, 5].map((n) => host(n)) });
    await livingCache(five, { request: { mode: 'cluster' } });
    const scaled = await scaleCache(five.deps, 'acache', { shards: 5 });
    expect(scaled.members.slice(6)).toEqual([
      { id: 'acache-7', shard: 3 },
      { id: 'acache-8', shard: 3 },
      { id: 'acache-9', shard: 4 },
      { id: 'acache-10', shard: 4 },
    ]);
    expect((await scaleCache(five.deps, 'acache', { shards: 3 })).members).toHaveLength(10);
  });

  it.each<[string, Parameters<typeof scaleCache>[2], Parameters<typeof livingCache>[1], string, RegExp]>([
    ['nothing', {}, {}, 'usage', /nothing is to be changed/],
    ['shards of what has none', { shards: 3 }, {}, 'usage', /has one master/],
    ['more replicas than groups', { replicas: 3 }, {}, 'no_host', /needs 4 fault groups/],
    ['no replicas', { replicas: 0 }, {}, 'usage', /at least one replica/],
    ['replicas of a standalone one', { replicas: 1 }, { request: { mode: 'standalone' } }, 'usage', /standalone/],
    ['memory that no host has', { memoryBytes: gib(64) }, {}, 'no_host', /memory/],
    [
      'less memory than its data',
      { memoryBytes: gib(0.5) },
      { sidecars: [said('acache-1', 'master', { usedBytes: gib(0.4) }), said('acache-2', 'replica')] },
      'invalid',
      /holds/,
    ],
    ['what empties it', { memoryBytes: gib(2) }, { request: { mode: 'standalone' } }, 'conflict', /keeps nothing on disk/],
  ])('refuses %s, and changes nothing', async (_, asked, change, wanted, message) => {
    const made = await cacheWorld();
    await livingCache(made, change);
    const before = await made.store.spec('acache');
    await expect(scaleCache(made.deps, 'acache', asked)).rejects.toEqual(code(wanted, message));
    expect(await made.store.spec('acache')).toEqual(before);
  });

  it('sets what may change, and refuses what is fixed', async () => {
    const made = await cacheWorld();
    await livingCache(made);
    const { deps } = made;
    await setOptions(deps, 'acache', { 'maxmemory-policy': 'noeviction', persistence: 'aof', 'min-replicas': '0' });
    expect((await made.store.spec('acache')).value).toMatchObject({ policy: 'noeviction', persistence: 'aof', minReplicas: 0 });
    await expect(setOptions(deps, 'acache', { engine: 'redis' })).rejects.toEqual(code('usage', /engine cannot be set/));
    await expect(setOptions(deps, 'acache', { 'min-replicas': '2' })).rejects.toEqual(code('invalid', /can never be met by 1 replica/));
    await expect(setOptions(deps, 'acache', { autoscale: 'on', 'max-shards': '5' })).rejects.toEqual(
      code('usage', /cannot grow by shards/),
    );
    await expect(setOptions(deps, 'acache', {})).rejects.toEqual(code('usage'));
    expect(await setParameters(deps, 'acache', { timeout: '60' })).toMatchObject({ restarts: [] });
    expect(await setParameters(deps, 'acache', { databases: '4' })).toMatchObject({ restarts: ['databases'] });
    expect((await made.store.spec('acache')).value.restartSerial).toBe(1);
    expect((await listParameters(deps, 'acache')).find(({ name }) => name === 'timeout')).toMatchObject({ value: '60', changed: true });
    await expect(setParameters(deps, 'acache', { 'cluster-enabled': 'yes' })).rejects.toEqual(code('invalid'));
  });

  it('restarts one member by its host, all by the controller, and asks before it empties one', async () => {
    const made = await cacheWorld();
    await livingCache(made);
    await restartCache(made.deps, 'acache', { member: 'acache-2', force: false });
    expect(made.asked).toEqual([{ member: 'acache-2', method: 'STOP', path: '' }]);
    await restartCache(made.deps, 'acache', { member: undefined, force: false });
    expect((await made.store.spec('acache')).value.restartSerial).toBe(1);
    const single = await cacheWorld();
    await livingCache(single, { request: { mode: 'standalone' } });
    await expect(restartCache(single.deps, 'acache', { member: undefined, force: false })).rejects.toEqual(
      code('conflict', /a restart empties it/),
    );
    await restartCache(single.deps, 'acache', { member: undefined, force: true });
    const cluster = await cacheWorld();
    await livingCache(cluster, { request: { mode: 'cluster' } });
    await expect(restartCache(cluster.deps, 'acache', { member: undefined, force: false })).rejects.toEqual(
      code('conflict', /keeps nothing on disk: a restart may lose keys/),
    );
    await expect(setParameters(single.deps, 'acache', { databases: '4' })).rejects.toMatchObject({
      ...{
        code: 'conflict',
        message: expect.stringContaining('that databases needs empties it'),
        hint: 'first cache set acache persistence=rdb',
      },
    });
    await setParameters(single.deps, 'acache', { timeout: '60' });
  });

  it('rests for a while', async () => {
    const made = await cacheWorld();
    await livingCache(made);
    await pauseCache(made.deps, 'acache', 60);
    expect((await made.store.spec('acache')).value.pausedUntil).toBe('2026-01-01T12:01:00.000Z');
    await expect(pauseCache(made.deps, 'acache', 0)).rejects.toEqual(code('invalid'));
    await resumeCache(made.deps, 'acache');
    expect((await made.store.spec('acache')).value.pausedUntil).toBeUndefined();
  });
});

describe('destroying', () => {
  it('keeps what is on disk, can be taken back, and lets go for good', async () => {
    const made = await cacheWorld();
    await livingCache(made);
    const { deps } = made;
    expect((await destroyCache(deps, 'acache', { keepData: false, purge: false })).sentence).toMatch(
      /kept until 2026-01-08T12:00:00.000Z \(what was in memory only is gone\)/,
    );
    await expect(orderSwitchover(deps, 'acache', undefined)).rejects.toEqual(code('not_found', /was destroyed/));
    await expect(createCache(deps, { name: 'acache' })).rejects.toEqual(code('conflict', /was destroyed/));
    await undestroyCache(deps, 'acache');
    await expect(undestroyCache(deps, 'acache')).rejects.toEqual(code('conflict', /is not destroyed/));
    await expect(destroyCache(deps, 'acache', { keepData: true, purge: true })).rejects.toEqual(code('usage'));
    await destroyCache(deps, 'acache', { keepData: false, purge: true });
    await expect(undestroyCache(deps, 'acache')).rejects.toEqual(code('not_found', /are being removed/));
  });
});
