import { describe, expect, it } from 'vitest';
import { adb, ago, bare, host, NOW, placement, report, settled, sidecar, sync } from '#test/xdb-world.ts';
import { changesOf, worthALook } from '#xdb/controller.ts';
import type { Observed } from '#xdb/plan/world.ts';
import type { DbSpec, DbStatus } from '#xdb/schema.ts';
import { withMember } from '#xdb/spec.ts';
import { statusOf } from '#xdb/status.ts';

const of = (observed: Observed, spec: DbSpec = adb()) => statusOf(spec, observed, NOW);
const without = (world: Observed, member: string): Observed => ({
  ...world,
  sidecars: world.sidecars.filter((status) => status.member !== member),
});
/** The host of a member is gone, and everything on it. */
function lost(world: Observed, n: number): Observed {
  const id = host(n).spec.id;
  return {
    ...without(world, `adb-${n}`),
    hosts: world.hosts.map((each) => (each.spec.id === id ? { ...each, alive: false } : each)),
    silentHosts: [id],
    reports: world.reports.filter((each) => each.host !== id),
  };
}

describe('READY', () => {
  it('names who leads and who holds everything', () => {
    const { status, sentence } = of(settled());
    expect({ status, sentence }).toEqual({
      status: 'READY',
      sentence: 'adb-1 on host-1 leads, adb-2 on host-2 holds everything it acknowledged',
    });
    const single = adb({ role: 'single' });
    expect(of(settled(single), single)).toMatchObject({ status: 'READY', sentence: 'adb-1 on host-1 takes writes' });
  });

  it('is only what names a slave that follows', () => {
    const world = settled();
    const [leader, slave] = world.sidecars;
    expect(of({ ...world, sync: sync('adb-1', null) }).status).toBe('DEGRADED');
    expect(of({ ...world, sidecars: [leader!, { ...slave!, state: 'catching_up' }] }).status).toBe('DEGRADED');
    expect(of(without(world, 'adb-2')).status).toBe('DEGRADED');
    // A record that a container's predecessor has left.
    const restarted = world.reports.map((each) => (each.id === 'adb-2' ? { ...each, startedAt: ago(0) } : each));
    expect(of({ ...world, reports: restarted }).status).toBe('DEGRADED');
  });

  it('names the members that have yet to get the last change', () => {
    const world = settled();
    const old = world.reports.map((each) => (each.id === 'adb-2' ? { ...each, hash: 'old' } : each));
    expect([of(world).changing, of({ ...world, reports: old }).changing]).toEqual([[], ['adb-2']]);
  });

  it('is PENDING while a member has yet to get the last change', () => {
    const spec = adb();
    spec.restartSerial = 1;
    expect(of(settled(), spec)).toMatchObject({ status: 'PENDING', sentence: expect.stringContaining('adb-1, adb-2 has yet') });
  });
});

describe('DEGRADED says why', () => {
  it.each<[string, (world: Observed) => Observed, RegExp]>([
    [
      'the slave is copied',
      (w) => ({
        ...w,
        sync: sync('adb-1', null),
        sidecars: [w.sidecars[0]!, sidecar('adb-2', 'slave', { state: 'cloning', sentence: '40 %' })],
      }),
      /adb-2 is being copied from adb-1: 40 %/,
    ],
    ['its host is gone', (w) => lost({ ...w, sync: sync('adb-1', null) }, 2), /adb-2 is on host-2, which does not answer/],
    [
      'its container ended',
      (w) => ({
        ...without(w, 'adb-2'),
        sync: sync('adb-1', null),
        reports: w.reports.map((r) => (r.id === 'adb-2' ? { ...r, state: 'exited' as const } : r)),
      }),
      /adb-2 is exited/,
    ],
    [
      'the disk fills',
      (w) => ({ ...w, sidecars: [{ ...w.sidecars[0]!, disk: { usedBytes: 88, totalBytes: 100, state: 'warn' } }, w.sidecars[1]!] }),
      /the disk of adb-1 is 88 % full/,
    ],
    [
      'the disk is full',
      (w) => ({
        ...w,
        sidecars: [
          sidecar('adb-1', 'master', { readOnly: true, disk: { usedBytes: 96, totalBytes: 100, state: 'read_only' } }),
          w.sidecars[1]!,
        ],
      }),
      /takes no writes: its disk is full/,
    ],
    [
      'a step was refused',
      (w) => ({ ...w, refused: { code: 'no_host', message: 'no host for adb-3: 1 host' } }),
      /takes writes; no host for adb-3/,
    ],
  ])('%s', (_, change, sentence) => {
    const { status, sentence: said } = of(change(settled()));
    expect(said).toMatch(sentence);
    expect(status).toBe('DEGRADED');
  });

  it('both on one host, also when it is the only one', () => {
    expect(of(settled(adb(), [host(1)]))).toMatchObject({
      status: 'DEGRADED',
      sentence: expect.stringContaining('both members share host host-1'),
    });
  });

  it('both on one host while a better place is made use of', () => {
    const spec = withMember(adb(), 'member').spec;
    const world = settled(adb(), [host(1)]);
    const moving: Observed = {
      ...world,
      hosts: [host(1), host(2)],
      everything: [...world.everything, placement(spec, 'adb-3', host(2))],
      sidecars: [...world.sidecars, sidecar('adb-3', 'slave', { state: 'cloning', sentence: '40 %' })],
    };
    expect(of(moving, spec).sentence).toBe(
      'adb-1 takes writes; adb-1 and adb-2 share host host-1, and adb-3 is made to mend it: it is being copied from adb-1: 40 %',
    );
  });

  it('both in one group only where there are others', () => {
    const one = [host(1), host(2, { group: 'group1' })];
    expect(of(settled(adb(), one)).status).toBe('READY');
    const world = settled(adb(), one);
    expect(of({ ...world, hosts: [...one, host(3)] })).toMatchObject({
      status: 'DEGRADED',
      sentence: expect.stringMatching(/share (rack|group)/),
    });
  });
});

describe('DOWN says which case it is', () => {
  it.each<[string, (world: Observed) => Observed, RegExp]>([
    [
      'U6: the leader is away and alone',
      (w) => lost({ ...w, sync: sync('adb-1', null) }, 1),
      /^U6: adb-1 is on host-1, which does not answer, and nobody else holds everything/,
    ],
    [
      'U1: its data are gone',
      (w) => ({
        ...w,
        sync: sync('adb-1', null),
        data: { ...w.data, 'adb-1': { v: 1, gen: 'other', boot: 'b', ready: null } },
        sidecars: [sidecar('adb-1', 'none', { state: 'stays_down' })],
      }),
      /^U1: the data of adb-1 are gone/,
    ],
    [
      'U2: those of the one who takes over are',
      (w) => ({
        ...w,
        sync: sync('adb-1', null, { state: 'promoting' }),
        data: { 'adb-1': { v: 1, gen: 'other', boot: 'b', ready: null } },
        sidecars: [sidecar('adb-1', 'none', { state: 'stays_down' })],
      }),
      /^U2: /,
    ],
    ['U5: the record is gone', (w) => ({ ...w, sync: undefined }), /^U5: the record of who leads/],
    [
      'U5: the records went back',
      (w) => ({ ...w, sidecars: w.sidecars.map((s) => ({ ...s, rule: 'K1', role: 'none' as const, state: 'stays_down' as const })) }),
      /^U5: adb-1/,
    ],
    ['the slave is about to take over', (w) => lost(w, 1), /adb-1 is on host-1, which does not answer; adb-2 is to take over/],
    [
      'the slave takes over',
      (w) => ({ ...w, sync: sync('adb-2', null, { state: 'promoting', epoch: 2 }) }),
      /adb-2 takes over \(epoch 2\)/,
    ],
    [
      'the leader is starting',
      (w) => ({ ...w, sidecars: [sidecar('adb-1', 'master', { state: 'starting', readOnly: true, sentence: 'recovering' })] }),
      /adb-1 does not take writes yet: recovering/,
    ],
  ])('%s', (_, change, sentence) => {
    const { status, sentence: said } = of(change(settled()));
    expect(said).toMatch(sentence);
    expect(status).toBe('DOWN');
  });

  it('unless writes are held for a moment only', () => {
    const held = { v: 1 as const, id: 'x', kind: 'switchover' as const, target: 'adb-2', state: 'blocked' as const };
    const world = settled();
    const blocked = { ...world, move: held, sidecars: [sidecar('adb-1', 'master', { readOnly: true }), world.sidecars[1]!] };
    expect(of(blocked)).toMatchObject({ status: 'DEGRADED', sentence: expect.stringContaining('adb-2 takes over from adb-1') });
  });
});

describe('while it is made', () => {
  const fresh = (change: Partial<Observed> = {}) => bare(change);

  it('is PENDING with what is going on, until it was as asked for once', () => {
    const spec = adb({ created: ago(5) });
    expect(of(fresh(), spec)).toMatchObject({ status: 'PENDING', sentence: 'members are being started' });
    const said = fresh({ sidecars: [sidecar('adb-1', 'none', { state: 'starting', sentence: 'makes its data' })] });
    expect(of(said, spec)).toMatchObject({ status: 'PENDING', sentence: 'adb-1: makes its data' });
    const copying = { ...settled(spec), sync: sync('adb-1', null), previous: undefined };
    expect(of(copying, spec)).toMatchObject({ status: 'PENDING', sentence: expect.stringContaining('nobody but adb-1') });
    expect(of(copying, adb({ created: ago(3600) })).status).toBe('DEGRADED');
    const whole = of({ ...settled(spec), previous: undefined }, spec);
    expect(whole).toMatchObject({ status: 'READY', firstReady: NOW.toISOString() });
    expect(of({ ...copying, previous: whole }, spec).status).toBe('DEGRADED');
  });

  it('on one host it is made, DEGRADED', () => {
    const spec = adb({ created: ago(5) });
    expect(of({ ...settled(spec, [host(1)]), previous: undefined }, spec)).toMatchObject({
      status: 'DEGRADED',
      firstReady: NOW.toISOString(),
    });
  });

  it('is FAILED for what will not pass by itself', () => {
    const refused = (code: 'no_host' | 'timeout') => fresh({ refused: { code, message: 'no host for adb-1' } });
    expect(of(refused('no_host'))).toMatchObject({ status: 'FAILED', code: 'no_host' });
    expect(of(refused('timeout')).status).toBe('PENDING');
    const strange = sidecar('adb-1', 'none', { state: 'failed', sentence: 'this volume holds the data of x' });
    expect(of(fresh({ sidecars: [strange] }))).toMatchObject({
      status: 'FAILED',
      sentence: expect.stringContaining('holds the data of x'),
    });
  });
});

it('PAUSED says until when, and what is amiss; DOWN stays DOWN', () => {
  const spec = { ...adb(), pausedUntil: ago(-60) };
  expect(of(settled(), spec)).toMatchObject({ status: 'PAUSED', sentence: expect.stringContaining(ago(-60)), next: ['db resume adb'] });
  expect(of(lost(settled(), 1), spec)).toMatchObject({
    status: 'DOWN',
    sentence: expect.stringContaining('failover is paused'),
    next: ['db failover adb', 'db resume adb'],
  });
  expect(of(settled(), { ...adb(), pausedUntil: ago(60) }).status).toBe('READY');
});

it('destroyed it is PENDING until its members are gone, then not found but for its data', () => {
  const spec = (purge: boolean): DbSpec => ({ ...adb(), destroyed: { time: ago(60), keepData: false, purge } });
  expect(of(settled(), spec(false))).toMatchObject({ status: 'PENDING', sentence: 'adb is being removed' });
  const kept = of({ ...settled(), reports: [] }, spec(false));
  expect(kept).toMatchObject({ code: 'not_found', next: ['db undestroy adb', 'db destroy adb --purge'] });
  expect(kept.sentence).toContain('2026-01-08');
  expect(of(lost(settled(), 2), spec(true)).sentence).toContain('host-2 does not answer');
});

describe('events', () => {
  const seen = (epoch: number, leader: string, slave: string | null, status: DbStatus['status'] = 'READY'): DbStatus => ({
    v: 1,
    status,
    sentence: 's',
    next: [],
    specIndex: 1,
    time: ago(0),
    seen: { epoch, leader, sync: slave },
  });
  const told = (before: DbStatus | undefined, now: DbStatus, move?: Observed['move']) =>
    changesOf('adb', before, now, move).map(({ kind, reason, sentence }) => `${kind} ${reason}: ${sentence}`);

  it('tell who leads from when on, and why', () => {
    expect(told(undefined, seen(1, 'adb-1', null))).toEqual(['info born: adb-1 leads adb (epoch 1)']);
    expect(told(seen(1, 'adb-1', 'adb-2'), seen(2, 'adb-2', 'adb-1'))).toEqual([
      'warning failover: adb-2 leads in place of adb-1 (epoch 2): adb-1 was lost',
      'info in_sync: adb-1 holds everything that adb-2 acknowledges',
    ]);
    const move = { v: 1 as const, id: 'x', kind: 'switchover' as const, target: 'adb-2', state: 'done' as const, blockedMs: 120 };
    expect(told(seen(1, 'adb-1', 'adb-2'), seen(2, 'adb-2', null), move)).toEqual([
      'info switchover: adb-2 leads in place of adb-1 (epoch 2): a switchover was asked for, no write was taken for 120 ms',
      'warning out_of_sync: nobody but adb-2 holds the newest writes',
    ]);
    expect(told(seen(1, 'adb-1', null), seen(3, 'adb-1', null))).toEqual([
      'warning took_back: adb-1 leads again (epoch 3; 1 was the last that was seen)',
    ]);
    expect(told(seen(1, 'adb-1', 'adb-2'), seen(1, 'adb-1', 'adb-2'))).toEqual([]);
    expect(told(seen(1, 'adb-1', 'adb-2'), seen(1, 'adb-1', 'adb-2', 'DOWN'))).toEqual(['warning down: adb is DOWN: s']);
  });
});

describe('what is worth a look', () => {
  const entry = (key: string, value: unknown, modifyIndex: number) => ({
    key: `xcaas/db/adb/${key}`,
    value: JSON.stringify(value),
    modifyIndex,
    lockIndex: 1,
    session: 's',
  });

  it('is what a sidecar decides, not how far it is', () => {
    const said = sidecar('adb-1', 'master', { gtid: '0-1-1' });
    const first = worthALook(entry('members/adb-1', said, 1));
    expect(worthALook(entry('members/adb-1', { ...said, gtid: '0-1-2', time: ago(0), lagSeconds: 3 }, 2))).toBe(first);
    expect(worthALook(entry('members/adb-1', { ...said, role: 'slave' }, 3))).not.toBe(first);
    expect(worthALook({ ...entry('members/adb-1', said, 4), session: undefined })).not.toBe(first);
  });

  it('is every change of the other records, and none of what only progresses', () => {
    expect(worthALook(entry('sync', {}, 7))).toBe(7);
    expect(worthALook(entry('members/adb-1', 'not understood', 8))).toBe(8);
    expect(worthALook(entry('acked/3', {}, 9))).toBeUndefined();
    expect(worthALook(entry('handed', {}, 9))).toBeUndefined();
  });
});

it('a member on a host that left the pool does not break a sentence', () => {
  const world = settled();
  const gone = { ...world, hosts: world.hosts.slice(1), reports: world.reports.slice(1), sidecars: world.sidecars.slice(1) };
  expect(of(gone).sentence).toContain('left the pool');
  const both = [placement(adb(), 'adb-1', host(1))];
  expect(of({ ...bare({ everything: both }), reports: [report(adb(), both[0]!, bare())] }).status).toBe('PENDING');
});
