import { describe, expect, it } from 'vitest';
import { acache, ago, bare, host, lead, lose, NOW, said, settled } from '#test/xcache-world.ts';
import { changesOf, worthALook } from './controller.ts';
import type { Observed } from './plan/world.ts';
import type { CacheSpec } from './schema.ts';
import { statusOf } from './status.ts';

const of = (spec: CacheSpec, observed: Observed) => {
  const { status, sentence } = statusOf(spec, observed, NOW);
  return `${status}: ${sentence}`;
};

describe('a status', () => {
  it('says who takes writes and who is in sync', () => {
    expect(of(acache(), settled())).toBe('READY: acache-1 on host-1 takes writes, acache-2 on host-2 is in sync');
    const single = acache({ mode: 'standalone' });
    expect(of(single, settled(single))).toBe('READY: acache-1 on host-1 takes writes');
  });

  it('says what is not as it should be, and what to type', () => {
    expect(of(acache(), settled(acache(), [host(1)]))).toBe('DEGRADED: acache-1 takes writes; both members share host host-1');
    const lost = lose({ ...settled(), lead: lead('acache-1', []) }, 'acache-2', 20);
    expect(of(acache(), lost)).toBe('DEGRADED: acache-1 takes writes; no replica is in sync: acache-2 is on host-2, which does not answer');
    expect(statusOf(acache(), lost, NOW).next).toEqual(['cache topology acache']);
    const refused = { ...settled(), refused: { code: 'no_host' as const, message: 'no host for acache-3' } };
    expect(statusOf(acache(), refused, NOW)).toMatchObject({ status: 'DEGRADED', code: 'no_host' });
  });

  it('is DOWN while nobody takes writes, and says who is waited for', () => {
    const lost = lose(settled(), 'acache-1', 3);
    expect(of(acache(), lost)).toBe(
      'DOWN: nobody takes writes: acache-1 is on host-1, which does not answer; acache-2 runs: acache-2 does what it should',
    );
    const promoting = { ...lost, lead: lead('acache-2', [], { state: 'promoting', epoch: 2 }) };
    expect(of(acache(), promoting)).toBe('DOWN: acache-2 takes over (epoch 2): acache-2 does what it should');
  });

  it('of one that is being made is PENDING, and FAILED when it cannot be', () => {
    const young = { ...acache(), created: ago(5) };
    expect(of(young, bare())).toBe('PENDING: acache is being made: acache-1 has no host yet; acache-2 has no host yet');
    const alone = { ...settled(), previous: undefined, lead: lead('acache-1', []) };
    expect(of(young, alone)).toMatch(/^PENDING: acache-1 takes writes; no replica is in sync/);
    expect(of(acache(), alone)).toMatch(/^DEGRADED/);
    const cluster = acache({ mode: 'cluster' });
    const healing = {
      v: 1 as const,
      born: true,
      nodes: {},
      holder: 'acache-1',
      state: 'healing' as const,
      sentence: 'acache-4 is introduced',
      slots: {},
      emptied: [],
    };
    const sidecars = cluster.members.map(({ id }, index) => said(id, index < 3 ? 'master' : 'replica'));
    const joining = { ...settled(cluster), previous: undefined, lead: undefined, cluster: healing, sidecars };
    const first = statusOf({ ...cluster, created: ago(5) }, joining, NOW);
    expect(first).toMatchObject({ status: 'PENDING', sentence: expect.stringContaining('acache-4 is introduced') });
    expect(of({ ...cluster, created: ago(5) }, { ...joining, previous: first })).toMatch(/^PENDING: .*acache-4 is introduced/);
    expect(of(cluster, joining)).toMatch(/^DEGRADED: .*acache-4 is introduced/);
    // An agent that was asked and did not answer is asked again.
    const busy = { ...settled(), previous: undefined, refused: { code: 'timeout' as const, message: 'n1 does not answer' } };
    expect(statusOf(young, busy, NOW)).toMatchObject({ status: 'PENDING', sentence: expect.stringContaining('n1 does not answer') });
    expect(statusOf(young, busy, NOW).firstReady).toBeUndefined();
    expect(of(acache(), busy)).toMatch(/^DEGRADED: .*n1 does not answer/);
    const refused = bare({ refused: { code: 'no_host', message: 'no host for acache-1' } });
    expect(statusOf(young, refused, NOW)).toMatchObject({ status: 'FAILED', code: 'no_host' });
    expect(of(young, bare({ refused: { code: 'timeout', message: 'n1 does not answer' } }))).toBe('PENDING: n1 does not answer');
  });

  it('rests, changes and ends', () => {
    expect(of({ ...acache(), pausedUntil: ago(-60) }, settled())).toMatch(/^PAUSED: failover and maintenance rest until/);
    expect(of({ ...acache(), restartSerial: 1 }, settled())).toMatch(/^PENDING: .*acache-1, acache-2 has yet to be changed$/);
    expect(of({ ...acache(), replicas: 2 }, settled())).toMatch(
      /^DEGRADED: acache-1 takes writes; 1 of 2 replicas are in sync: no other member is there yet/,
    );
    const destroyed = { ...acache(), destroyed: { time: ago(60), keepData: false, purge: false } };
    expect(of(destroyed, settled())).toBe('PENDING: acache is being removed');
    expect(statusOf(destroyed, { ...settled(), reports: [] }, NOW)).toMatchObject({
      code: 'not_found',
      next: ['cache undestroy acache', expect.any(String)],
    });
  });
});

describe('events', () => {
  const before = statusOf(acache(), settled(), NOW);

  it('tell a switchover from a failover', () => {
    const world = {
      ...settled(),
      lead: lead('acache-2', [], { epoch: 2 }),
      sidecars: [said('acache-1', 'replica'), said('acache-2', 'master')],
    };
    const after = statusOf(acache(), world, NOW);
    const reasons = (move?: Parameters<typeof changesOf>[3]) => changesOf('acache', before, after, move).map(({ reason }) => reason);
    expect(reasons()).toEqual(['failover', 'degraded']);
    expect(reasons({ v: 1, id: 'x', target: 'acache-2', state: 'done' })).toEqual(['switchover', 'degraded']);
    expect(changesOf('acache', before, after, undefined)[0]?.sentence).toBe(
      'acache-2 leads in place of acache-1 (epoch 2): acache-1 was lost or has stood down',
    );
  });

  it('tell who may take over, and that a master leads again', () => {
    const alone = statusOf(acache(), { ...settled(), lead: lead('acache-1', [], { epoch: 2 }) }, NOW);
    expect(changesOf('acache', before, alone, undefined).map(({ reason }) => reason)).toEqual(['took_back', 'out_of_sync', 'degraded']);
    expect(changesOf('acache', alone, before, undefined).map(({ reason }) => reason)).toEqual(['in_sync', 'ready']);
    expect(changesOf('acache', before, before, undefined)).toEqual([]);
  });
});

it('what moves with time is not worth a look', () => {
  const record = (change: object) => ({
    ...{ key: 'xcaas/cache/acache/members/acache-1', modifyIndex: Math.random(), session: 's' },
    value: JSON.stringify(said('acache-1', 'master', change)),
  });
  expect(worthALook(record({ offset: 1, beat: 1 }) as never)).toBe(worthALook(record({ offset: 2, beat: 2, sentence: 'else' }) as never));
  expect(worthALook(record({ state: 'down' }) as never)).not.toBe(worthALook(record({}) as never));
});
