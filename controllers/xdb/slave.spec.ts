import { describe, expect, it } from 'vitest';
import { adb, ago, bare, host, NOW, placement, report, sidecar, sync } from '#test/xdb-world.ts';
import type { Observed } from '#xdb/plan/world.ts';
import { plan } from '#xdb/plan.ts';
import type { DbSpec, MemberStatus } from '#xdb/schema.ts';
import { statusOf } from '#xdb/status.ts';

/** `role=slave`, as the controller sees it. */
const follower = (change: Partial<DbSpec> = {}): DbSpec => ({
  ...adb({ name: 'bdb', role: 'slave' }),
  upstream: { host: 'adb', port: 3306, tls: true, ours: 'adb' },
  ...change,
});
const master = adb();
/** adb-1 leads on host 1, adb-2 is on host 2. */
const hosts = [host(1), host(2), host(3)];
const theirs = [placement(master, 'adb-1', hosts[0]!), placement(master, 'adb-2', hosts[1]!)];

function living(spec: DbSpec, said: Partial<MemberStatus> = {}, on = hosts[2]!): Observed {
  const mine = placement(spec, 'bdb-1', on);
  const world = bare({ hosts, everything: [...theirs, mine], birth: { v: 1, member: 'bdb-1', done: true }, upstreamLeader: 'adb-1' });
  return {
    ...world,
    reports: [report(spec, mine, world)],
    sync: sync('bdb-1', null),
    sidecars: [sidecar('bdb-1', 'master', { readOnly: true, lagSeconds: 2.4, ...said })],
    secrets: { 'bdb-1': { wanted: 'h', handed: 'h' } },
    previous: { v: 1, status: 'READY', sentence: '', next: [], specIndex: 5, time: ago(60), firstReady: ago(3000) },
  };
}

describe('a slave of another database', () => {
  it('is READY when it follows, says whom and how far behind it is, and what comes next', () => {
    expect(statusOf(follower(), living(follower()), NOW)).toMatchObject({
      status: 'READY',
      sentence: 'bdb-1 on host-3 follows adb, 2 s behind',
      next: ['db cutover bdb'],
    });
    const outside = follower({ upstream: { host: '10.1.1.1', port: 3310, tls: false } });
    expect(statusOf(outside, living(outside, { lagSeconds: null }), NOW).sentence).toBe('bdb-1 on host-3 follows 10.1.1.1:3310');
  });

  it.each<[string, Partial<MemberStatus>, string, RegExp]>([
    ['cannot go on', { state: 'failed', sentence: 'bdb-1 cannot follow adb any more: no such table' }, 'DEGRADED', /no such table/],
    ['cannot reach its master', { state: 'catching_up', sentence: 'bdb-1 tries to connect to adb: refused' }, 'DEGRADED', /refused/],
    ['is far behind', { lagSeconds: 1234 }, 'DEGRADED', /1234 s behind/],
    ['has a full disk', { disk: { usedBytes: 96, totalBytes: 100, state: 'read_only' } }, 'DEGRADED', /disk of bdb-1 is 96 % full/],
  ])('is not READY when it %s', (_, said, status, sentence) => {
    expect(statusOf(follower(), living(follower(), said), NOW)).toMatchObject({ status, sentence: expect.stringMatching(sentence) });
  });

  it('is DOWN when its member is not heard of, and DEGRADED on the host of its master', () => {
    expect(statusOf(follower(), { ...living(follower()), sidecars: [] }, NOW).status).toBe('DOWN');
    expect(statusOf(follower(), living(follower(), {}, hosts[0]), NOW)).toMatchObject({
      status: 'DEGRADED',
      sentence: 'bdb-1 and its master adb-1 share host host-1',
    });
  });

  it('is placed in another group than its master, else on another host, else anywhere', () => {
    const tiers = (some: typeof hosts) => {
      const [step] = plan(follower(), bare({ hosts: some, everything: theirs, upstreamLeader: 'adb-1' }), NOW);
      return step?.do === 'place' ? step.tiers.map((tier) => tier.hosts) : undefined;
    };
    const ids = (some: typeof hosts) => some.map(({ spec }) => spec.id);
    expect(tiers(hosts)).toEqual([ids(hosts.slice(1)), ids(hosts.slice(1)), ids(hosts)]);
    const oneGroup = hosts.map((each, index) => host(index + 1, { ...each.spec, group: 'group1' }));
    expect(tiers(oneGroup)?.at(0)).toEqual(ids(oneGroup.slice(1)));
    expect(tiers(hosts.slice(0, 1))).toEqual([ids(hosts.slice(0, 1))]);
  });

  it('stays one member while it follows, and grows to a pair after its cutover', () => {
    const spec = follower();
    expect(plan(spec, living(spec), NOW)).toEqual([]);
    const { upstream: _, ...rest } = spec;
    const pair: DbSpec = { ...rest, role: 'pair' };
    expect(plan(pair, living(pair, { readOnly: false }), NOW).map((step) => step.do)).toEqual(['grow']);
  });
});
