import { describe, expect, it } from 'vitest';
import { AppError } from '#core/errors.ts';
import type { Host } from '#pool/host.ts';
import { drainHost, findHost, hostKey, listHosts, removeHost, setLabels, undrainHost } from '#pool/hosts.ts';
import { listPlacements, readPlacement } from '#pool/placement-record.ts';
import type { MemberToPlace } from '#pool/placement-request.ts';
import { releasePlacement, reservePlacements } from '#pool/placements.ts';
import { createFakeKv, type FakeKv } from '#test/fake-kv.ts';
import { testHost, testHostId } from '#test/pool-hosts.ts';

const GIB = 2 ** 30;

async function poolOf(...hosts: Host[]): Promise<FakeKv> {
  const consul = createFakeKv();
  for (const { spec, facts, alive } of hosts) {
    await consul.kv.put(hostKey(spec.id, 'spec'), JSON.stringify(spec));
    if (facts !== undefined) await consul.kv.put(hostKey(spec.id, 'facts'), JSON.stringify(facts));
    if (!alive) continue;
    const session = await consul.session.create({ name: 'agent', ttlSeconds: 10, behavior: 'delete' });
    await consul.kv.acquire(hostKey(spec.id, 'alive'), '{}', session);
  }
  return consul;
}

function member(id: string, changes: Partial<MemberToPlace> = {}): MemberToPlace {
  return { id, service: id.replace(/-\d+$/, ''), cpus: 1, memoryBytes: GIB, diskBytes: 0, ...changes };
}

function reserve(consul: FakeKv, ...members: MemberToPlace[]) {
  return reservePlacements(consul, { kind: 'lb', members });
}

describe('reservePlacements', () => {
  it('writes one record a member and counts it as reserved', async () => {
    const consul = await poolOf(testHost(1), testHost(2, { group: 'group2' }));
    const { placements } = await reserve(consul, member('web-1'), member('web-2'));
    expect(new Set(placements.map(({ host }) => host)).size).toBe(2);
    expect(await readPlacement(consul, 'web-1')).toMatchObject({ service: 'web', kind: 'lb', cpus: 1, cpuset: '0', memoryBytes: GIB });
    expect((await listHosts(consul)).map(({ reserved }) => reserved.memoryBytes)).toEqual([GIB, GIB]);
  });

  it('changes nothing when it is asked again', async () => {
    const consul = await poolOf(testHost(1));
    await reserve(consul, member('web-1'));
    const { writes } = consul;
    expect((await reserve(consul, member('web-1'))).placements[0]?.fresh).toBe(false);
    expect(consul.writes).toBe(writes);
  });

  it('reserves all or none', async () => {
    const consul = await poolOf(testHost(1, { memoryGib: 4 }));
    const both = reserve(consul, member('a-1', { memoryBytes: 2 * GIB }), member('a-2', { memoryBytes: 2 * GIB }));
    await expect(both).rejects.toMatchObject({ code: 'no_host' });
    expect(await listPlacements(consul)).toEqual([]);
  });

  it('never sells the same room twice to two that reserve at once', async () => {
    const consul = await poolOf(testHost(1, { cpus: 3, memoryGib: 64 }));
    consul.before = () => new Promise((resolve) => setTimeout(resolve, Math.random() * 3));
    const tries = await Promise.allSettled(Array.from({ length: 6 }, (_, n) => reserve(consul, member(`s${n}-1`))));
    consul.before = undefined;
    const all = await listPlacements(consul);
    expect(all).toHaveLength(3);
    expect(all.map(({ cpuset }) => cpuset).sort()).toEqual(['0', '1', '2']);
    const refused = tries.flatMap((each) => (each.status === 'rejected' ? [each.reason.code] : []));
    expect(refused).toEqual(['no_host', 'no_host', 'no_host']);
  });

  it('looks again when the answer was lost, whether it was done or not', async () => {
    for (const when of ['before', 'after'] as const) {
      const consul = await poolOf(testHost(1));
      let lost = 0;
      consul[when] = (operation) => {
        if (operation === 'txn' && lost++ === 0) throw new AppError('timeout', 'no answer');
      };
      const { placements } = await reserve(consul, member('web-1'));
      expect(placements[0]).toMatchObject({ host: testHostId(1), cpuset: '0' });
      expect(await listPlacements(consul)).toHaveLength(1);
    }
  });

  it('gives up on a Consul that never answers', async () => {
    const consul = await poolOf(testHost(1));
    consul.before = (operation) => {
      if (operation === 'txn') throw new AppError('unavailable', 'no leader');
    };
    await expect(reserve(consul, member('web-1'))).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('does not place while a placement cannot be read', async () => {
    const consul = await poolOf(testHost(1));
    await consul.kv.put('xcaas/placements/odd-1', '{"v":1}');
    await expect(reserve(consul, member('web-1'))).rejects.toMatchObject({
      code: 'internal',
      message: expect.stringContaining('xcaas/placements/odd-1'),
    });
  });

  it('releases what is there, and only on the host that is named', async () => {
    const consul = await poolOf(testHost(1));
    await reserve(consul, member('web-1'));
    expect(await releasePlacement(consul, 'web-1', testHostId(2))).toBe(false);
    expect(await releasePlacement(consul, 'web-1', testHostId(1))).toBe(true);
    expect(await releasePlacement(consul, 'web-1')).toBe(false);
    expect(await listPlacements(consul)).toEqual([]);
  });
});

describe('hosts', () => {
  it('lists hosts by name, dead and silent ones too, and leaves out what cannot be read', async () => {
    const consul = await poolOf(testHost(2), testHost(1, { alive: false }), testHost(3, { facts: null }));
    await consul.kv.put(hostKey(testHostId(9), 'spec'), '{}');
    await consul.kv.put(hostKey(testHostId(2), 'facts'), 'no json');
    const warned: unknown[] = [];
    const hosts = await listHosts(consul, { log: { warn: (fields: unknown) => void warned.push(fields) } as never });
    expect(hosts.map(({ spec, alive, facts }) => [spec.name, alive, facts?.cpus])).toEqual([
      ['host-1', false, 4],
      ['host-2', true, undefined],
      ['host-3', true, undefined],
    ]);
    expect(warned).toHaveLength(2);
  });

  it('is dead when its session ended', async () => {
    const consul = await poolOf(testHost(1));
    const alive = await consul.kv.get(hostKey(testHostId(1), 'alive'));
    await consul.session.destroy(alive!.session!);
    expect((await listHosts(consul))[0]?.alive).toBe(false);
  });

  it('finds a host by name, id and beginning of its id', () => {
    const hosts = [testHost(1), testHost(12)];
    expect(findHost(hosts, 'host-1')).toBe(hosts[0]);
    expect(findHost(hosts, testHostId(12))).toBe(hosts[1]);
    expect(findHost(hosts.slice(1), '0000')).toBe(hosts[1]);
    expect(() => findHost(hosts, '0000')).toThrow(
      expect.objectContaining({ code: 'ambiguous', message: expect.stringContaining('host-1, host-12') }),
    );
    expect(() => findHost(hosts, 'host')).toThrow(
      expect.objectContaining({ code: 'not_found', message: expect.stringContaining('host-1, host-12') }),
    );
    expect(() => findHost(hosts, '')).toThrow(expect.objectContaining({ code: 'not_found' }));
  });

  it('sets and removes labels, and refuses those that are none', async () => {
    const consul = await poolOf(testHost(1, { labels: { old: 'x', keep: 'y' } }));
    expect((await setLabels(consul, 'host-1', { storage: 'ssd', old: undefined })).labels).toEqual({ keep: 'y', storage: 'ssd' });
    for (const key of ['group', 'rack', 'node', 'a b', '']) {
      await expect(setLabels(consul, 'host-1', { [key]: 'x' })).rejects.toMatchObject({ code: 'invalid' });
    }
    await expect(setLabels(consul, 'host-7', { a: 'b' })).rejects.toMatchObject({ code: 'not_found' });
  });

  it('keeps a change that somebody else makes at the same time', async () => {
    const consul = await poolOf(testHost(1));
    let once = true;
    consul.before = async (operation, key) => {
      if (operation !== 'cas' || !once) return;
      once = false;
      const entry = await consul.kv.get(key);
      await consul.kv.put(key, JSON.stringify({ ...JSON.parse(entry!.value), labels: { other: 'yes' } }));
    };
    expect(await drainHost(consul, 'host-1')).toMatchObject({ drained: true, labels: { other: 'yes' } });
    expect(await undrainHost(consul, 'host-1')).toMatchObject({ drained: false, labels: { other: 'yes' } });
  });

  it('removes a host only when nothing lives there and its agent is gone', async () => {
    const consul = await poolOf(testHost(1), testHost(2));
    await reserve(consul, member('web-1'), member('web-2'));
    await expect(removeHost(consul, 'host-1')).rejects.toMatchObject({
      code: 'in_use',
      message: expect.stringMatching(/: web-\d lives there$/),
    });
    for (const { member: id } of await listPlacements(consul)) await releasePlacement(consul, id);
    await expect(removeHost(consul, 'host-1')).rejects.toMatchObject({ code: 'conflict' });
    await consul.session.destroy((await consul.kv.get(hostKey(testHostId(1), 'alive')))!.session!);
    await removeHost(consul, 'host-1');
    expect((await listHosts(consul)).map(({ spec }) => spec.name)).toEqual(['host-2']);
    expect(consul.keys().filter((key) => key.includes(testHostId(1)))).toEqual([]);
  });

  it('does not remove a host that a member is placed on meanwhile', async () => {
    const consul = await poolOf(testHost(1, { alive: false }));
    let once = true;
    consul.before = async (operation) => {
      if (operation !== 'txn' || !once) return;
      once = false;
      const session = await consul.session.create({ name: 'agent', ttlSeconds: 10, behavior: 'delete' });
      await consul.kv.acquire(hostKey(testHostId(1), 'alive'), '{}', session);
      await reserve(consul, member('web-1'));
    };
    await expect(removeHost(consul, 'host-1')).rejects.toMatchObject({ code: 'in_use' });
    expect(await listHosts(consul)).toHaveLength(1);
  });
});
