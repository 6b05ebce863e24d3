import { Redis } from 'ioredis';
import { afterEach, describe, expect, it } from 'vitest';
import { startXcacheLab, type XcacheLab, type XcacheMember } from '#test/xcache-lab.ts';
import { eventually } from '#test/xdb-lab.ts';
import type { KeyReport, SlowCommand } from '#xcache/sidecar/reports.ts';

let lab: XcacheLab | undefined;
afterEach(async () => {
  await lab?.stop();
  lab = undefined;
});

async function members(here: XcacheLab): Promise<[XcacheMember, XcacheMember]> {
  lab = here;
  const [one, two] = await Promise.all(here.spec.members.map(({ id }) => here.member(id)));
  await whole(here);
  if (one === undefined || two === undefined) throw new Error('no members');
  return [one, two];
}
const whole = (here: XcacheLab) =>
  eventually('all is well', async () => {
    const lead = await here.lead();
    return lead?.state === 'open' && lead.insync.length === here.spec.replicas;
  });
const config = async (member: XcacheMember, name: string) => (await member.cli('CONFIG', 'GET', name)).split('\n')[1] ?? '';
const keysOf = async (member: XcacheMember) => Number(await member.cli('DBSIZE'));
const setting = async (member: XcacheMember) =>
  (await member.admin('GET', '/settings')).body as { persistence?: string; complaint: string };
const persisted = (of: XcacheMember[], how: string) =>
  eventually(`all keep ${how}`, async () => (await Promise.all(of.map(setting))).every(({ persistence }) => persistence === how));

describe('a cache with TLS', () => {
  it('speaks nothing else, replicates and fails over so, and has users who may do less', async () => {
    const here = await startXcacheLab({}, { spec: { tls: true } });
    const [one, two] = await members(here);
    const tls = { ca: here.ca, servername: here.cache };
    const client = await one.client({ tls });
    expect(await client.set('k', 'v')).toBe('OK');
    await eventually('the replica has it', async () => (await keysOf(two)) === 1);
    // As a stock command line does, by the name that its certificate is for.
    const cli = ['valkey-cli', '-h', 'acache-1', '-p', '6378', '--user', here.spec.user, '--pass', here.password, '--no-auth-warning'];
    const found = await here.exec(two.container, ...cli, '--tls', '--cacert', '/run/secrets/ca.pem', '--sni', 'acache', 'GET', 'k');
    expect(found).toMatchObject({ code: 0, stdout: 'v\n' });
    for (const port of [6379, 6378]) {
      const plain = await one.client({
        port,
        retryStrategy: () => null,
        maxRetriesPerRequest: 0,
        connectTimeout: 2000,
        commandTimeout: 2000,
      });
      await expect(plain.get('k')).rejects.toThrow();
      plain.disconnect();
    }
    const stranger = await one.client({ tls: { servername: here.cache }, retryStrategy: () => null, maxRetriesPerRequest: 0 });
    await expect(stranger.get('k')).rejects.toThrow();

    const sentinel = new Redis({
      sentinels: [
        { host: await one.address(), port: 26379 },
        { host: await two.address(), port: 26379 },
      ],
      ...{ name: here.cache, username: here.spec.user, password: here.password, tls, sentinelTLS: tls, enableTLSForSentinelMode: true },
      ...{ sentinelUsername: here.spec.user, sentinelPassword: here.password },
    });
    sentinel.on('error', () => undefined);
    expect(await sentinel.get('k')).toBe('v');
    await one.signal('engine', 'KILL');
    await eventually('the other one leads', async () => (await here.lead())?.master.id === 'acache-2');
    await eventually('the old one follows over TLS again', async () => (await here.lead())?.insync.length === 1);
    expect(await sentinel.get('k')).toBe('v');
    expect(await client.get('k')).toBe('v');
    sentinel.disconnect();
    client.disconnect();

    // Users with fewer rights, on every member, from the credentials only.
    const { user } = here.spec;
    await here.recredential({
      ...{ serial: 7, users: { [user]: [here.password], reader: ['r-old', 'r-new'].toReversed(), shop: ['s'] } },
      access: { reader: { readOnly: true, keys: [] }, shop: { readOnly: false, keys: ['shop:*'] } },
    });
    for (const member of [one, two])
      expect(await member.admin('POST', '/credentials', { serial: 7 })).toMatchObject({ status: 200, body: { serial: 7 } });
    expect(await one.admin('POST', '/credentials', { serial: 8 })).toMatchObject({ status: 409 });
    expect((await one.admin('GET', '/users')).body).toContainEqual({ name: 'reader', passwords: 2, readOnly: true, keys: [] });
    const as = (username: string | undefined, password: string) =>
      two.client({ port: 6378, tls, username: username as string, password, retryStrategy: () => null });
    for (const password of ['r-old', 'r-new']) {
      const reader = await as('reader', password);
      expect(await reader.get('k')).toBe('v');
      await expect(reader.set('k', 'w')).rejects.toThrow('NOPERM');
      await expect(reader.eval("return redis.call('set', KEYS[1], 'w')", 1, 'k')).rejects.toThrow();
      reader.disconnect();
    }
    const shop = await as('shop', 's');
    expect(await shop.set('shop:1', 'x')).toBe('OK');
    await expect(shop.get('k')).rejects.toThrow('NOPERM');
    await expect(shop.flushall()).rejects.toThrow('NOPERM');
    shop.disconnect();
    // The password alone is that of somebody who may do everything, or none.
    const unnamed = await as(undefined, 's');
    await expect(unnamed.get('k')).rejects.toThrow();
    unnamed.disconnect();
    const owner = await as(user, here.password);
    for (const command of [
      ...[['CONFIG', 'GET', 'masterauth'], ['CLIENT', 'KILL', 'TYPE', 'replica'], ['REPLICAOF', 'NO', 'ONE'], ['SHUTDOWN']],
      ...[['ACL', 'LIST'], ['MIGRATE', '10.0.0.1', '1', 'k', '0', '1'], ['FAILOVER'], ['MODULE', 'LIST'], ['MONITOR'], ['BGSAVE']],
    ] as [string, ...string[]][])
      await expect(owner.call(...command), command.join(' ')).rejects.toThrow('NOPERM');
    for (const command of [['INFO'], ['KEYS', '*'], ['ROLE'], ['SLOWLOG', 'GET'], ['CLIENT', 'LIST'], ['FLUSHALL']] as [
      string,
      ...string[],
    ][])
      await expect(owner.call(...command), command.join(' ')).resolves.toBeDefined();
    owner.disconnect();
  });
});

describe('a running cache', () => {
  it('takes parameters on every member at once, and has them after a start', async () => {
    const here = await startXcacheLab();
    const both = await members(here);
    const [one, two] = both;
    await here.respec({ parameters: { maxclients: '2000', 'notify-keyspace-events': 'Ex' } });
    await eventually('all have it', async () =>
      (await Promise.all(both.map((each) => config(each, 'maxclients')))).every((now) => now === '2000'),
    );
    expect((await config(two, 'notify-keyspace-events')).split('').toSorted().join('')).toBe('Ex');
    await one.signal('engine', 'KILL');
    await eventually('it is a replica again', async () => (await here.lead())?.insync[0]?.id === 'acache-1');
    expect([await config(one, 'maxclients'), await config(one, 'busy-reply-threshold')]).toEqual(['2000', '1000']);
    await here.respec({});
    await eventually('the default is back', async () =>
      (await Promise.all(both.map((each) => config(each, 'maxclients')))).every((now) => now === '10000'),
    );

    // Reports: what is large, what is slow, what is read often.
    const client = await two.client();
    await client.set('large', 'x'.repeat(500_000));
    await client.rpush('list', ...Array.from({ length: 3000 }, (_, index) => `element ${index}`));
    await Promise.all(Array.from({ length: 5000 }, (_, index) => client.set(`k:${index}`, index)));
    const big = (await two.admin('GET', '/report/big-keys?limit=2')).body as KeyReport;
    expect(big).toMatchObject({
      complete: true,
      next: null,
      total: 5002,
      keys: [
        { key: 'large', type: 'string' },
        { key: 'list', type: 'list' },
      ],
    });
    expect(big.scanned).toBeGreaterThanOrEqual(5002);
    expect(big.keys[0]?.value).toBeGreaterThan(500_000);
    expect(await two.admin('GET', '/report/hot-keys')).toMatchObject({
      status: 409,
      body: { error: { hint: expect.stringContaining('lfu') } },
    });
    await here.respec({ policy: 'allkeys-lfu', parameters: { 'slowlog-log-slower-than': '0' } });
    await eventually('reads are counted', async () => (await config(two, 'maxmemory-policy')) === 'allkeys-lfu');
    for (let count = 0; count < 300; count += 1) await client.get('k:7');
    const hot = (await two.admin('GET', '/report/hot-keys?limit=3')).body as KeyReport;
    expect(hot.keys[0]).toMatchObject({ key: 'k:7' });
    const slow = (await two.admin('GET', '/report/slow-log?count=20')).body as { commands: SlowCommand[] };
    expect(slow.commands.length).toBe(20);
    expect(await two.admin('GET', '/report/big-keys?limit=0')).toMatchObject({ status: 400 });

    const text = String((await two.admin('GET', '/metrics')).body);
    for (const line of [
      'xcaas_cache_fenced 0',
      /^xcaas_cache_replica_lag_seconds\{replica="[\d.]+"\} [12]$/m,
      /^xcaas_cache_epoch [2-9]$/m,
      /^xcaas_cache_engine\{name="keyspace_hits"\} \d+$/m,
    ])
      expect(text).toMatch(line);
    client.disconnect();
  });

  it('changes what it keeps on disk, and holds less at no moment', async () => {
    const here = await startXcacheLab({ diskBytes: 2 ** 30 });
    const both = await members(here);
    const [one, two] = both;
    const client = await one.client();
    const fill = (count: number) => Promise.all(Array.from({ length: count }, (_, index) => client.set(`k:${index}`, index)));
    const restart = async () => {
      const before = (await here.lead())?.epoch;
      await Promise.all(both.map((each) => each.kill()));
      await Promise.all(both.map((each) => each.start()));
      await eventually('there is a master again', async () => (await here.lead())?.epoch !== before);
      await whole(here);
    };
    const files = async (member: XcacheMember) =>
      (await here.exec(member.container, 'ls', '/var/lib/xcache/db')).stdout.split('\n').filter((name) => name !== '');
    await fill(100);
    await persisted(both, 'none');
    expect(await files(two)).toEqual([]);
    await here.respec({ persistence: 'aof' });
    await persisted(both, 'aof');
    await fill(200);
    // It is written to its file each second.
    await new Promise((resolve) => setTimeout(resolve, 1500));
    await restart();
    expect(await Promise.all(both.map(keysOf))).toEqual([200, 200]);
    await here.respec({ persistence: 'rdb' });
    await persisted(both, 'rdb');
    expect(await files(one)).toEqual(['dump.rdb']);
    await restart();
    expect(await Promise.all(both.map(keysOf))).toEqual([200, 200]);
    // Killed before the change has come to its end: what was there before is begun with.
    await fill(300);
    await Promise.all(both.map((each) => each.cli('SAVE')));
    await here.respec({ persistence: 'aof' });
    await restart();
    await persisted(both, 'aof');
    expect(await Promise.all(both.map(keysOf))).toEqual([300, 300]);
    client.disconnect();
  });
});
