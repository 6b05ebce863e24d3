import { describe, expect, it } from 'vitest';
import { dataBytes } from './memory.ts';
import { readOptions } from './options.ts';
import { type NewCache, newSpec, refuseScale } from './spec.ts';

const GIB = 2 ** 30;
const HOSTS: Parameters<typeof readOptions>[1] = [];
const make = (fields: Partial<NewCache> = {}) => newSpec({ name: 'acache', network: 'xcaas', ...fields });

describe('a specification', () => {
  it('of nothing but a name is a replicated cache of two members', () => {
    expect(make()).toMatchObject({
      ...{
        mode: 'replicated',
        engine: 'valkey',
        shards: 1,
        replicas: 1,
        minReplicas: 1,
        persistence: 'none',
        policy: 'allkeys-lru',
        user: 'acache',
      },
      members: [
        { id: 'acache-1', shard: 0 },
        { id: 'acache-2', shard: 0 },
      ],
    });
  });

  it('of a cluster has three masters and a replica of each', () => {
    const { shards, members, minReplicas } = make({ mode: 'cluster' });
    expect([shards, members.length, minReplicas]).toEqual([3, 6, 0]);
    for (const shard of [0, 1, 2]) expect(members.filter((member) => member.shard === shard)).toHaveLength(2);
  });

  it('that keeps data on disk evicts nothing and has room for a file that is written anew', () => {
    expect(make({ persistence: 'aof', memoryBytes: 4 * GIB })).toMatchObject({ policy: 'noeviction', diskBytes: 8 * GIB });
    expect(make({ mode: 'standalone' })).toMatchObject({ replicas: 0, minReplicas: 0, members: [{ id: 'acache-1' }] });
    expect(make({ name: '1cache' }).user).toBe('c_1cache');
  });

  it.each<[string, Partial<NewCache>, RegExp, RegExp]>([
    ['bad characters', { name: 'A cache' }, /is wrong at name/, /^$/],
    ['shards without a cluster', { shards: 3 }, /a replicated cache has one master, not 3 shards/, /--mode cluster/],
    [
      'a cluster that could not lose a master',
      { mode: 'cluster', shards: 2 },
      /a cluster of 2 masters could not lose one/,
      /--shards 3 or more/,
    ],
    ['replicas of a standalone one', { mode: 'standalone', replicas: 1 }, /standalone cache has no replicas/, /--mode replicated/],
    ['replicated without replicas', { replicas: 0 }, /at least one replica/, /--replicas 1, or --mode standalone/],
    [
      'acknowledgements of more than there are',
      { minReplicas: 2 },
      /min-replicas=2 can never be met by 1 replica$/,
      /min-replicas=1 or less/,
    ],
    ['memory for nothing', { memoryBytes: 100 * 2 ** 20 }, /100 MiB of memory are too little/, /--memory 256m/],
    [
      'no disk for its files',
      { persistence: 'rdb', memoryBytes: 4 * GIB, diskBytes: GIB },
      /1 GiB of disk are too little for 4 GiB of memory/,
      /at least 8 GiB/,
    ],
    ['growth without a cluster', { autoscale: { on: true, maxShards: 5 } }, /cannot grow by shards/, /--mode cluster/],
    [
      'a ceiling below its beginning',
      { mode: 'cluster', shards: 5, autoscale: { on: true, maxShards: 4 } },
      /max-shards=4 is below the 5 shards/,
      /max-shards=5/,
    ],
    [
      'a port twice',
      {
        publish: [
          { hostPort: 7000, port: 6379 },
          { hostPort: 7000, port: 6380 },
        ],
      },
      /publishes host port 7000 twice/,
      /^$/,
    ],
    ['too many shards for anybody', { mode: 'cluster', shards: 501 }, /is wrong at shards/, /^$/],
  ])('with %s is refused', (_what, fields, message, hint) => {
    let thrown: unknown;
    try {
      make(fields);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toMatchObject({ name: 'AppError', message: expect.stringMatching(message) });
    expect((thrown as { hint?: string }).hint ?? '').toMatch(hint);
  });

  it('leaves room beside the data', () => {
    for (const memoryBytes of [256 * 2 ** 20, GIB, 8 * GIB])
      for (const persistence of ['none', 'aof'] as const) {
        const data = dataBytes({ memoryBytes, persistence });
        expect(data).toBeGreaterThan(0);
        expect(data).toBeLessThanOrEqual(0.75 * memoryBytes);
      }
  });
});

describe('options', () => {
  it('are read', () => {
    const given = {
      engine: 'Redis',
      persistence: 'rdb',
      'maxmemory-policy': 'volatile-ttl',
      'min-replicas': '0',
      autoscale: 'on',
      'max-shards': '9',
      'replace-after': '90s',
    };
    expect(readOptions(given, HOSTS)).toEqual({
      ...{
        engine: 'redis',
        persistence: 'rdb',
        policy: 'volatile-ttl',
        minReplicas: 0,
        autoscale: true,
        maxShards: 9,
        replaceAfter: 90,
        tls: undefined,
        parameters: {},
        labels: {},
      },
    });
    expect(readOptions({ group: 'g1' }, HOSTS).labels).toEqual({ group: 'g1' });
  });

  it.each<[Record<string, string>, RegExp]>([
    [{ engine: 'memcached' }, /engine=memcached is not known/],
    [{ 'maxmemory-policy': 'oldest-first' }, /maxmemory-policy=oldest-first is not known/],
    [{ persistence: 'yes' }, /persistence=yes is not known/],
    [{ 'min-replicas': '-1' }, /min-replicas takes a whole number from 0 to 5/],
    [{ 'min-replicas': 'one' }, /not "one"/],
    [{ 'max-shards': '3' }, /max-shards is the ceiling of autoscale/],
    [{ autoscale: 'on' }, /autoscale needs a ceiling/],
    [{ policy: 'allkeys-lru' }, /--opt policy is neither an option nor a label/],
    [{ engine: '' }, /--opt engine has no value/],
    [{ 'replace-after': '5' }, /from 30 to/],
  ])('%j is refused', (given, message) => {
    expect(() => readOptions(given, HOSTS)).toThrow(message);
  });
});

describe('scaling', () => {
  const data = (usedBytes: number) => ({ usedBytes, dataBytes: (memoryBytes: number) => dataBytes({ memoryBytes, persistence: 'none' }) });

  it('up is never refused', () => {
    refuseScale(make(), { memoryBytes: 2 * GIB }, data(GIB));
    refuseScale(make({ mode: 'cluster' }), { shards: 5 }, data(3 * GIB));
  });

  it.each<[string, Partial<NewCache>, { shards?: number; memoryBytes?: number }, number, RegExp]>([
    ['below its data', {}, { memoryBytes: 512 * 2 ** 20 }, 0.4 * GIB, /holds 409.6 MiB; that would leave room for 26\d/],
    ['to fewer shards than hold it', { mode: 'cluster', shards: 5 }, { shards: 3 }, 1.5 * GIB, /holds 1.5 GiB/],
    ['of what has no shards', {}, { shards: 3 }, 0, /acache is replicated: it has one master/],
    ['to a cluster that could not lose a master', { mode: 'cluster' }, { shards: 2 }, 0, /at least 3 shards/],
  ])('%s is refused', (_what, fields, change, used, message) => {
    expect(() => refuseScale(make(fields), change, data(used))).toThrow(message);
  });

  it('down with room to spare is not', () => {
    refuseScale(make({ mode: 'cluster', shards: 5 }), { shards: 3 }, data(0.5 * GIB));
  });
});
