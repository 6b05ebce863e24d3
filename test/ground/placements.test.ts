import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type ConsulClient, createConsul } from '#core/consul/client.ts';
import { silentLogger } from '#core/log.ts';
import { createEvents, listEvents, pruneEvents } from '#pool/events.ts';
import { applyChanges, PLACEMENT_GUARD } from '#pool/guard.ts';
import { hostKey, listHosts, removeHost } from '#pool/hosts.ts';
import { listPlacements } from '#pool/placement-record.ts';
import { releasePlacement, reservePlacements } from '#pool/placements.ts';
import { startConsul, type TestConsul } from '#test/consul.ts';
import { testHost, testHostId } from '#test/pool-hosts.ts';

/** What the fake of the unit tests claims of Consul's transactions, indexes and locks, against Consul itself. */
describe('placements in a real Consul', () => {
  let server: TestConsul;
  let consul: ConsulClient;

  beforeAll(async () => {
    server = await startConsul();
    consul = createConsul({ socketPath: server.socketPath, token: server.token });
  });
  afterAll(async () => {
    consul?.close();
    await server?.stop();
  });
  beforeEach(() => consul.kv.deleteTree('xcaas/'));

  async function join(n: number, cpus: number): Promise<string> {
    const { spec, facts } = testHost(n, { cpus, memoryGib: 64, group: `group${n}` });
    await consul.kv.put(hostKey(spec.id, 'spec'), JSON.stringify(spec));
    await consul.kv.put(hostKey(spec.id, 'facts'), JSON.stringify(facts));
    const session = await consul.session.create({ name: 'agent', ttlSeconds: 30, behavior: 'delete' });
    expect(await consul.kv.acquire(hostKey(spec.id, 'alive'), '{}', session)).toBe(true);
    return session;
  }

  it('takes all changes of a transaction or none', async () => {
    const set = (key: string, index: number) => ({ verb: 'cas' as const, key, value: 'x', index });
    expect(await applyChanges(consul, [set('xcaas/a', 0), set('xcaas/b', 0)])).toBe(true);
    expect(await applyChanges(consul, [set('xcaas/c', 0), set('xcaas/b', 0)])).toBe(false);
    const { modifyIndex } = (await consul.kv.get('xcaas/b'))!;
    expect(await applyChanges(consul, [set('xcaas/c', 0), set('xcaas/b', modifyIndex + 1)])).toBe(false);
    expect(await consul.kv.get('xcaas/c')).toBeUndefined();
    expect(await applyChanges(consul, [{ verb: 'delete-cas', key: 'xcaas/a', index: modifyIndex + 99 }])).toBe(false);
    expect(await applyChanges(consul, [{ verb: 'delete-tree', key: 'xcaas/' }])).toBe(true);
    expect(await consul.kv.list('xcaas/')).toEqual([]);
  });

  it('never sells the same CPU twice to many that reserve at once', async () => {
    await join(1, 3);
    await join(2, 3);
    const others = Array.from({ length: 4 }, () => createConsul({ socketPath: server.socketPath, token: server.token }));
    const tries = await Promise.allSettled(
      Array.from({ length: 8 }, (_, n) =>
        reservePlacements(others[n % others.length]!, {
          kind: 'cache',
          members: [{ id: `s${n}-1`, service: `s${n}`, cpus: 1, memoryBytes: 0, diskBytes: 0 }],
        }),
      ),
    );
    for (const other of others) other.close();
    const all = await listPlacements(consul);
    expect(all).toHaveLength(6);
    expect(new Set(all.map(({ host, cpuset }) => `${host} ${cpuset}`)).size).toBe(6);
    const codes = tries.flatMap((each) => (each.status === 'rejected' ? [each.reason.code] : []));
    expect(codes).toEqual(['no_host', 'no_host']);
    expect((await consul.kv.get(PLACEMENT_GUARD))?.modifyIndex).toBeGreaterThan(0);
    for (const { member } of all) expect(await releasePlacement(consul, member)).toBe(true);
    expect(await listPlacements(consul)).toEqual([]);
  });

  it('sees a host die with its session, and forgets it when told', async () => {
    const session = await join(1, 2);
    expect(await listHosts(consul)).toMatchObject([{ alive: true, spec: { name: 'host-1' } }]);
    await consul.session.destroy(session);
    expect(await listHosts(consul)).toMatchObject([{ alive: false }]);
    await removeHost(consul, 'host-1');
    expect(await consul.kv.list(`xcaas/hosts/${testHostId(1)}`)).toEqual([]);
  });

  it('keeps events in order and prunes them', async () => {
    const events = createEvents({ consul, log: silentLogger() });
    for (let n = 0; n < 70; n += 1) await events.record({ object: `lb/web${n}`, kind: 'placed', reason: 'created', sentence: 'placed' });
    await events.record({ object: 'lb/web69', kind: 'placed', reason: 'created', sentence: 'placed' });
    await events.flush();
    expect(await pruneEvents(consul, 3)).toBe(67);
    expect((await listEvents(consul)).map(({ object, count }) => [object, count])).toEqual([
      ['lb/web67', 1],
      ['lb/web68', 1],
      ['lb/web69', 2],
    ]);
  });
});
