import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ServiceHealth } from '#core/consul/client.ts';
import { GroupTable, TargetGroup } from '#xlb/schema.ts';
import { buildTable, contentHash, type Instance, readInstances, withoutNews } from './table.ts';

const group = TargetGroup.parse({ name: 'default', services: ['web'] });

function health(
  id: string,
  fields: Partial<ServiceHealth['service']> = {},
  checks: Partial<ServiceHealth['checks'][number]>[] = [],
): ServiceHealth {
  return {
    service: { id, name: 'web', address: '10.0.0.1', port: 80, tags: [], meta: {}, weights: { passing: 1, warning: 1 }, ...fields },
    node: { name: 'n1', address: '10.9.9.9' },
    checks: checks.map((check) => ({ checkId: 'c', status: 'passing', serviceId: id, output: '', ...check })),
  };
}

const one = (...given: Parameters<typeof health>): Instance => readInstances([health(...given)]).instances[0]!;
const instance = (id: string, fields: Partial<Instance> = {}): Instance => ({
  ...one(id),
  port: 1000 + Number(id.replace(/\D/g, '') || 0),
  ...fields,
});

describe('readInstances', () => {
  it.each([
    ['passing', [{}], {}, 'up'],
    ['no check at all', [], {}, 'up'],
    ['critical', [{ status: 'critical' }], {}, 'down'],
    ['warning', [{ status: 'warning' }], {}, 'up'],
    ['maintenance of the service', [{ checkId: '_service_maintenance:web', status: 'critical' }], {}, 'draining'],
    ['maintenance of the host', [{ checkId: '_node_maintenance', status: 'critical' }], {}, 'draining'],
    ['maintenance and critical', [{ checkId: '_node_maintenance', status: 'critical' }, { status: 'critical' }], {}, 'down'],
    ['marked as draining', [{}], { meta: { state: 'draining' } }, 'draining'],
    ['marked and critical', [{ status: 'critical' }], { meta: { state: 'draining' } }, 'down'],
    ['a warning with the weight 0', [{ status: 'warning' }], { weights: { passing: 5, warning: 0 } }, 'draining'],
  ] as const)('%s', (_, checks, fields, state) => {
    expect(one('a', fields as never, checks as never).state).toBe(state);
  });

  it('tells bad news from no news', () => {
    expect(one('a', {}, [{ status: 'critical', output: 'TTL expired' }]).silent).toBe(true);
    expect(one('a', {}, [{ status: 'critical', checkId: 'serfHealth', output: 'Agent not live or unreachable' }]).silent).toBe(true);
    expect(one('a', {}, [{ status: 'critical', output: 'on fire' }]).silent).toBe(false);
    expect(
      one('a', {}, [
        { status: 'critical', output: 'on fire' },
        { status: 'critical', output: 'TTL expired (was: ok)' },
      ]).silent,
    ).toBe(false);
  });

  it('takes weights from the meta, else from Consul, else gives everybody the same', () => {
    expect(one('a', { meta: { weight: '7' } }).weight).toBe(7);
    expect(one('a', { weights: { passing: 9, warning: 2 } }).weight).toBe(9);
    expect(one('a', { weights: { passing: 9, warning: 2 } }, [{ status: 'warning' }]).weight).toBe(2);
    expect(one('a').weight).toBe(100);
    expect(one('a', { weights: { passing: 60_000, warning: 1 } }).weight).toBe(1000);
    const { instances } = readInstances([health('a'), health('b', { weights: { passing: 10, warning: 1 } })]);
    expect(instances.map((entry) => entry.weight)).toEqual([1, 10]);
  });

  it('takes the address of the host for a service without one, and leaves out what cannot be connected to', () => {
    expect(one('a', { address: '' }).address).toBe('10.9.9.9');
    for (const address of [
      'example.com',
      '0.0.0.0',
      '224.0.0.1',
      '::',
      'fe80::1%eth0',
      '::ffff:10.0.0.1',
      'ff02::1',
      '10.0.0.1; drop',
      '1.2.3',
    ]) {
      const reading = readInstances([health('a', { address }), health('b')]);
      expect(reading.instances.map((entry) => entry.id)).toEqual(['b']);
      expect(reading.unusable).toHaveLength(1);
    }
    expect(readInstances([health('a', { port: 0 })]).instances).toEqual([]);
    expect(one('a', { address: '2001:DB8:0:0:0:0:0:1' }).address).toBe('2001:db8::1');
  });

  it('keeps ids that two hosts share apart', () => {
    const other = { ...health('a', { address: '10.0.0.2' }), node: { name: 'n2', address: '10.9.9.8' } };
    expect(readInstances([health('a'), other]).instances.map((entry) => entry.id)).toEqual(['n1/a', 'n2/a']);
  });

  it('gives only what both engines take, whatever Consul says', () => {
    const text = fc.oneof(fc.string({ unit: 'binary', maxLength: 300 }), fc.constantFrom('', 'a b', '"', '\n', '\u0000', 'é', '__proto__'));
    const entry = fc.record({
      id: text,
      address: fc.oneof(text, fc.ipV4(), fc.ipV6()),
      port: fc.integer({ min: -1, max: 70_000 }),
      weight: text,
      node: text,
      container: text,
    });
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 8 }), (entries) => {
        const raw = entries.map(({ id, address, port, weight, node, container }) => ({
          ...health(id, { address, port, meta: { weight, container_name: container } }),
          node: { name: node, address: '10.0.0.9' },
        }));
        const { content } = buildTable(group, [readInstances(raw).instances]);
        expect(GroupTable.safeParse({ ...content, version: 1 }).success).toBe(true);
        expect(new Set(content.peers.map((peer) => peer.id)).size).toBe(content.peers.length);
        for (const peer of content.peers) {
          expect(peer.id).toMatch(/^[\x21-\x7e]{1,128}$/);
          expect(`${peer.container}${peer.node}`).toMatch(/^[\x20-\x7e]{0,512}$/);
        }
      }),
    );
  });
});

describe('withoutNews', () => {
  const prior = [instance('a1'), instance('b2')];
  it('keeps what was up and is only silent, while nothing else is up', () => {
    const next = [instance('a1', { state: 'down', silent: true }), instance('b2', { state: 'down' })];
    expect(withoutNews(prior, next).map((entry) => entry.state)).toEqual(['up', 'down']);
  });
  it('does not keep a dead host while others are up', () => {
    const next = [instance('a1', { state: 'down', silent: true }), instance('b2')];
    expect(withoutNews(prior, next).map((entry) => entry.state)).toEqual(['down', 'up']);
  });
  it('never raises what was not up before: what was never seen healthy is not', () => {
    expect(withoutNews([], [instance('a1', { state: 'down', silent: true })])[0]?.state).toBe('down');
  });
});

describe('buildTable', () => {
  it('does not depend on the order in which Consul answers', () => {
    fc.assert(
      fc.property(
        fc.shuffledSubarray(
          Array.from({ length: 12 }, (_, i) => instance(`i${i}`)),
          { minLength: 12 },
        ),
        (shuffled) => {
          expect(buildTable(group, [shuffled]).hash).toBe(buildTable(group, [shuffled.toReversed()]).hash);
        },
      ),
    );
  });

  it('has another hash for each thing that matters', () => {
    const base = [instance('a1')];
    const hashes = [
      buildTable(group, [base]).hash,
      ...[{ weight: 5 }, { state: 'draining' as const }, { address: '10.0.0.3' }, { port: 9 }, { container: 'x' }].map(
        (change) => buildTable(group, [[{ ...base[0]!, ...change }]]).hash,
      ),
      ...[{ algorithm: 'least_conn' as const }, { tries: 1 }, { stickyCookie: 'c' }, { active: { ...group.active, fall: 9 } }].map(
        (change) => buildTable({ ...group, ...change }, [base]).hash,
      ),
    ];
    expect(new Set(hashes).size).toBe(hashes.length);
  });

  it('has the same hash after a table went to disk and back', () => {
    const { content, hash } = buildTable(group, [[instance('a1'), instance('b2')]]);
    const { version: _, ...read } = GroupTable.parse(JSON.parse(JSON.stringify({ ...content, version: 4 })));
    expect(contentHash(read)).toBe(hash);
  });

  it('counts a container that two services name once; a wish to drain it wins', () => {
    const both = buildTable(group, [[instance('a1')], [instance('z1', { state: 'draining' })], [instance('b1', { state: 'down' })]]);
    expect(both.content.peers).toMatchObject([{ id: 'z1', state: 'draining' }]);
  });
});
