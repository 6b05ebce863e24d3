import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { CacheCredentials } from '#xcache/schema.ts';
import { defaultPasswords } from './accounts.ts';
import { type EngineFilesOptions, engineFiles } from './files.ts';
import { FENCED, parseInfo } from './info.ts';

const MASTER = [
  '# Server\r\nredis_version:7.2.4\r\nvalkey_version:9.1.2\r\nrun_id:abc\r\n# Persistence\r\nloading:0\r\n# Memory\r\nused_memory:100\r\nmaxmemory:900',
  '# Replication\r\nrole:master\r\nconnected_slaves:3',
  'slave0:ip=10.0.0.2,port=6378,state=online,offset=90,lag=0,type=replica',
  'slave1:ip=10.0.0.3,port=6378,state=send_bulk,offset=0,lag=0,type=replica',
  'slave2:ip=10.0.0.4,port=6378,state=online,offset=50,lag=4,type=replica',
  'master_failover_state:no-failover\r\nmaster_repl_offset:91\r\n# Keyspace\r\ndb0:keys=1,expires=0,avg_ttl=0',
].join('\r\n');

describe('what an engine says of itself', () => {
  it('as a master: who follows it, and how long ago at most each acknowledged', () => {
    expect(parseInfo(MASTER, FENCED)).toMatchObject({
      ...{
        run: 'abc',
        version: '9.1.2',
        role: 'master',
        linkUp: false,
        offset: 91,
        empty: false,
        loading: false,
        failingOver: false,
        minReplicas: FENCED,
      },
      replicas: [
        { address: '10.0.0.2', ackMs: 1000, offset: 90 },
        { address: '10.0.0.4', ackMs: 5000, offset: 50 },
      ],
    });
    expect(parseInfo(MASTER.replace('no-failover', 'waiting-for-sync'), 0).failingOver).toBe(true);
  });

  it('as a replica: a link that is up and silent is none', () => {
    const text = (status: string, ago: number) =>
      `run_id:x\r\nredis_version:8.0.2\r\nrole:slave\r\nmaster_host:10.0.0.1\r\nmaster_link_status:${status}\r\nmaster_last_io_seconds_ago:${ago}\r\nslave_repl_offset:7\r\nmaster_repl_offset:9`;
    expect(parseInfo(text('up', 1), 0)).toMatchObject({
      role: 'replica',
      masterAddress: '10.0.0.1',
      linkUp: true,
      offset: 7,
      empty: true,
      version: '8.0.2',
    });
    expect(parseInfo(text('up', 2), 0).linkUp).toBe(false);
    expect(parseInfo(text('down', 0), 0).linkUp).toBe(false);
  });
});

describe('the files of an engine', () => {
  const files = (
    users: Record<string, string[]>,
    replication = 'rp',
    spec: Partial<EngineFilesOptions['spec']> = {},
    more: Partial<CacheCredentials> = {},
  ) =>
    engineFiles({
      spec: {
        engine: 'valkey',
        minReplicas: 1,
        mode: 'replicated',
        memoryBytes: 2 ** 30,
        persistence: 'aof',
        policy: 'noeviction',
        tls: false,
        parameters: {},
        ...spec,
      },
      appendOnly: true,
      credentials: { agent: 'agent-password', replication, users, ...more },
      place: spec.mode === 'cluster' ? { own: 1, all: [0, 1] } : undefined,
      ...{
        address: '10.0.0.2',
        port: 6378,
        paths: { data: '/d', acl: '/a', socket: '/s', tls: { ca: '/ca', certificate: '/cert', privateKey: '/key' } },
      },
    });

  it('let it begin refusing writes, and hold no password in clear but the one that it must send', () => {
    const { config, acl } = files({ app: ['one', 'two'] });
    expect(config.split('\n')).toEqual(
      expect.arrayContaining([`min-replicas-to-write ${FENCED}`, 'appendonly "yes"', 'save ""', 'masterauth "rp"']),
    );
    expect(config).not.toContain('agent-password');
    for (const password of ['agent-password', 'rp', 'one', 'two'])
      expect(acl).toContain(createHash('sha256').update(password).digest('hex'));
    expect(acl).not.toMatch(/>|\bone\b|\btwo\b/);
    expect(acl.split('\n').filter((line) => line.startsWith('user app on #'))).toHaveLength(1);
  });

  it('let nothing that a copy brought be removed from disk but where nothing is kept', () => {
    expect(files({}, 'rp', { persistence: 'none' }).config).toContain('rdb-del-sync-files "yes"');
    for (const persistence of ['rdb', 'aof'] as const) expect(files({}, 'rp', { persistence }).config).toContain('rdb-del-sync-files "no"');
  });

  it('let an engine give nobody a copy before it was told what it is', () => {
    expect(files({}, 'rp').config).toContain('\nreplicaof 127.0.0.1 1\n');
    expect(files({}, 'rp', { mode: 'cluster' }).config).not.toContain('replicaof');
  });

  it('let an engine of a cluster give copies to its own shard only', () => {
    const { config, acl } = files({}, 'rp', { mode: 'cluster' });
    expect(config).toContain('masteruser "_shard1"');
    const rules = (user: string) => acl.split('\n').find((line) => line.startsWith(`user ${user} `)) ?? '';
    expect(rules('_shard1')).toMatch(/\+@all$/);
    expect(rules('_shard0')).toMatch(/\+@all -psync -sync$/);
    expect(files({}, 'rp').acl).not.toContain('_shard');
  });

  it('cannot be broken out of', () => {
    expect(() => files({}, 'a"\nappendonly no')).toThrow('may not');
    expect(() => files({ 'app on nopass': ['x'] })).toThrow('cannot be the name');
    expect(files({}).acl).toContain('user default off');
  });

  it('speak TLS on every port, or on none', () => {
    const { config } = files({}, 'rp', { tls: true });
    expect(config.split('\n')).toEqual(
      expect.arrayContaining(['port 0', 'tls-port 6378', 'tls-replication "yes"', 'tls-auth-clients "no"', 'tls-cert-file "/cert"']),
    );
    expect(files({}).config).not.toMatch(/^tls-/m);
  });

  it('give users no more than their data, and those with fewer rights no way around', () => {
    const access = { reader: { readOnly: true, keys: [] }, shop: { readOnly: false, keys: ['shop:*', 'cart:*'] } };
    const { acl } = files({ app: ['a'], reader: ['r'], shop: ['s'] }, 'rp', {}, { access });
    const line = (name: string) => acl.split('\n').find((each) => each.startsWith(`user ${name} `)) ?? '';
    expect(line('app')).toMatch(/ ~\* &\* \+@all -@admin -@dangerous /);
    expect(line('app')).not.toMatch(/client\|kill|\+restore|\+migrate|\+config/);
    expect(line('reader')).toMatch(/ ~\* &\* \+@all -@write -@admin -@dangerous /);
    expect(line('reader')).not.toMatch(/flushall/);
    expect(line('shop')).toContain(' ~shop:* ~cart:* ');
    expect(line('shop')).not.toMatch(/flushall|\+keys|~\* /);
    // The password alone is that of somebody who may do everything.
    expect(line('default').match(/#[0-9a-f]{64}/g)).toEqual([`#${createHash('sha256').update('a').digest('hex')}`]);
    expect(defaultPasswords({ users: { reader: ['r'] }, access })).toEqual([]);
  });
});
