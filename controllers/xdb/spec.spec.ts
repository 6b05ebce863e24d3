import { X509Certificate } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import type { ConsulClient } from '#core/consul/client.ts';
import { createCa, type KeyPair } from '#ground/ca.ts';
import { hashOf } from '#pool/service-credentials.ts';
import { ensurePair, namesOf } from '#pool/service-tls.ts';
import { createFakeKv } from '#test/fake-kv.ts';
import { adb, gib, host } from '#test/xdb-world.ts';
import { changeCredentials, newCredentials, openCredentials, readCredentials, sealCredentials, withReplication } from '#xdb/credentials.ts';
import { readOptions } from '#xdb/options.ts';
import { difference, memberIds, newSpec, parsePublish, withMember, withoutMember } from '#xdb/spec.ts';
import { createDbStore, dbKeys } from '#xdb/store.ts';

const code = (wanted: string, message: RegExp = /./) => expect.objectContaining({ code: wanted, message: expect.stringMatching(message) });

describe('a new specification', () => {
  it('has a pair of members, a database and a user of its name', () => {
    expect(newSpec({ name: 'my-shop', network: 'xcaas' })).toMatchObject({
      role: 'pair',
      cpus: 0,
      memoryBytes: gib(1),
      diskBytes: gib(10),
      database: 'my_shop',
      user: 'my_shop',
      members: [{ id: 'my-shop-1' }, { id: 'my-shop-2' }],
      lastMember: 2,
    });
    expect(memberIds(newSpec({ name: 'one', network: 'xcaas', role: 'single' }))).toEqual(['one-1']);
  });

  it.each([
    ['1st', 'db_1st'],
    ['mysql', 'mysql_db'],
    ['root', 'root_db'],
    ['xcaas', 'xcaas_db'],
  ])('%s has the database %s', (name, database) => expect(newSpec({ name, network: 'xcaas' }).database).toBe(database));

  it('keeps user names within what the engine takes', () => {
    const { user, database } = newSpec({ name: `a${'-b'.repeat(19)}`, network: 'xcaas' });
    expect(user.length).toBeLessThanOrEqual(32);
    expect(database).toMatch(/^[a-z][a-z0-9_]*$/);
  });

  it('refuses sizes that no member lives on, and a port twice', () => {
    expect(() => adb({ memoryBytes: 4 })).toThrow(code('invalid', /4 bytes of memory/));
    expect(() => adb({ diskBytes: 100 })).toThrow(code('invalid', /disk/));
    expect(() =>
      adb({
        publish: [
          { hostPort: 1, port: 3306 },
          { hostPort: 1, port: 3307 },
        ],
      }),
    ).toThrow(code('port_taken'));
  });

  it('gives no number twice', () => {
    const grown = withMember(adb(), 'member');
    expect(grown.id).toBe('adb-3');
    expect(withMember(withoutMember(grown.spec, 'adb-3'), 'member').id).toBe('adb-4');
    expect(memberIds(withoutMember(grown.spec, 'adb-2'))).toEqual(['adb-1', 'adb-3']);
  });

  it('tells what differs', () => {
    expect(difference(adb(), adb())).toEqual([]);
    const other = adb({ memoryBytes: gib(2), publish: [{ hostPort: 5, port: 3306 }], labels: { storage: 'ssd' } });
    expect(difference(adb(), other)).toEqual([
      'memory: 2 GiB instead of 1 GiB',
      'publish: 5 instead of none',
      'labels: storage=ssd instead of none',
    ]);
    expect(difference(adb({ memoryBytes: gib(2) }), adb({ memoryBytes: gib(2) + 1 }))).toEqual([
      `memory: ${gib(2) + 1} bytes instead of 2 GiB`,
    ]);
  });

  it('reads ports to publish', () => {
    expect(parsePublish('13306')).toEqual({ hostPort: 13306, port: 3306 });
    expect(parsePublish('13307:3307')).toEqual({ hostPort: 13307, port: 3307 });
    for (const text of ['', '0', '99999', '80:80', 'a', '1:2:3', '-1']) expect(() => parsePublish(text)).toThrow(code('usage'));
  });
});

describe('options', () => {
  const hosts = [host(1, { labels: { storage: 'ssd' } }), host(2)];

  it('are options, parameters, or labels that a host has', () => {
    expect(
      readOptions(
        { engine: 'InnoDB', role: 'single', flavor: 'mariadb', storage: 'hdd', 'param.max_connections': '50', 'replace-after': '60' },
        hosts,
      ),
    ).toMatchObject({ role: 'single', labels: { storage: 'hdd' }, parameters: { max_connections: '50' }, replaceAfter: 60 });
    expect(readOptions({ group: 'group1', 'com.alipay.acs.topic.rack': 'rack1' }, hosts).labels).toEqual({
      group: 'group1',
      'com.alipay.acs.topic.rack': 'rack1',
    });
  });

  it.each<[Record<string, string>, string, RegExp]>([
    [{ engine: 'myisam' }, 'invalid', /only InnoDB/],
    [{ engine: 'mysql' }, 'invalid', /is a flavour/],
    [{ flavor: 'mysql' }, 'not_implemented', /mysql/],
    [{ flavor: 'oracle' }, 'invalid', /oracle/],
    [{ role: 'triple' }, 'invalid', /triple/],
    [{ role: 'slave' }, 'usage', /master/],
    [{ 'master-url': 'mysql://u:geheim@h:1' }, 'usage', /slave of another/],
    [{ colour: 'red' }, 'usage', /colour is neither/],
    [{ __proto__x: 'red' }, 'usage', /neither/],
    [{ storage: '' }, 'usage', /no value/],
    [{ 'replace-after': 'soon' }, 'invalid', /seconds/],
  ])('%j is refused', (given, wanted, message) => {
    expect(() => readOptions(given, hosts)).toThrow(code(wanted, message));
    try {
      readOptions(given, hosts);
    } catch (error) {
      expect(JSON.stringify(error) + String(error)).not.toContain('geheim');
    }
  });
});

describe('credentials', () => {
  const poolKey = Buffer.alloc(32, 7);

  it('are sealed, change with a serial, and give every member its own password', async () => {
    const kv = createFakeKv();
    const store = createDbStore(kv as unknown as ConsulClient);
    const first = newCredentials(adb());
    expect(Object.keys(first.replication)).toEqual(['adb-1', 'adb-2']);
    expect(new Set([first.agent, ...Object.values(first.replication), ...Object.values(first.users).flat()]).size).toBe(4);
    await store.sealed.cas(dbKeys('adb').credentials, sealCredentials(poolKey, 'adb', first, 1), 0);
    const text = (await kv.kv.get(dbKeys('adb').credentials))?.value ?? '';
    expect(text).not.toContain(first.agent);
    expect(await readCredentials({ store, poolKey }, 'adb')).toEqual(first);

    const after = await changeCredentials({ store, poolKey }, 'adb', (present) => withReplication(present, ['adb-1', 'adb-3']));
    expect(Object.keys(after.replication)).toEqual(['adb-1', 'adb-3']);
    expect(after.replication['adb-1']).toBe(first.replication['adb-1']);
    const record = await store.sealed.get(dbKeys('adb').credentials);
    expect(record?.value.serial).toBe(2);
    await changeCredentials({ store, poolKey }, 'adb', (present) => present);
    expect((await store.sealed.get(dbKeys('adb').credentials))?.modifyIndex).toBe(record?.modifyIndex);
    expect(() => openCredentials(poolKey, 'other', record!.value)).toThrow(code('invalid'));
  });

  it('are told apart by a hash that does not depend on their order', () => {
    expect(hashOf({ a: '1', b: '2' })).toBe(hashOf({ b: '2', a: '1' }));
    expect(hashOf({ a: '1' })).not.toBe(hashOf({ a: '2' }));
  });
});

describe('certificates of members', () => {
  let ca: KeyPair;
  beforeAll(async () => {
    ca = await createCa('test');
  });
  const poolKey = Buffer.alloc(32, 7);

  it('are kept until their names, their CA or their time is over, and hold the names clients use', async () => {
    const store = createDbStore(createFakeKv() as unknown as ConsulClient);
    let time = new Date('2026-01-01T00:00:00Z');
    const deps = { store, poolKey, ca, now: () => time };
    const published = adb({ publish: [{ hostPort: 13306, port: 3306 }] });
    const request = { recordKey: dbKeys('adb').tls('adb-1'), member: 'adb-1', names: namesOf(published, 'adb-1', host(1)) };
    expect(request.names).toEqual(['adb-1', 'adb', '10.0.0.1', 'host-1']);
    const first = await ensurePair(deps, request);
    const cert = new X509Certificate(first.cert);
    expect(cert.checkHost('adb')).toBe('adb');
    expect(cert.checkHost('localhost')).toBe('localhost');
    expect(cert.checkIP('10.0.0.1')).toBe('10.0.0.1');
    expect(cert.subject).toContain('OU=member');
    expect(await ensurePair(deps, request)).toEqual(first);

    time = new Date('2026-03-15T00:00:00Z');
    const renewed = await ensurePair(deps, request);
    expect(renewed.cert).not.toBe(first.cert);
    expect(await ensurePair(deps, { ...request, names: ['adb-1', 'adb'] })).not.toEqual(renewed);
    expect(await ensurePair({ ...deps, ca: await createCa('other') }, { ...request, names: ['adb-1', 'adb'] })).not.toEqual(renewed);
  });
});
