import { describe, expect, it } from 'vitest';
import type { KvEntry } from '#core/consul/client.ts';
import type { EndpointTable } from '#member/endpoint-table.ts';
import { BUDGETS, GUARDS } from '#xcache/protocol/types.ts';
import type { CacheMemberStatus, LeadRecord } from '#xcache/schema.ts';
import { newSpec } from '#xcache/spec.ts';
import { cacheKeys } from '#xcache/store.ts';
import { createAddresses } from './addresses.ts';
import { createEndpointAim } from './endpoint-aim.ts';
import { endpointOf, takesWrites } from './endpoint-table.ts';
import { readGuards } from './guards.ts';
import { createObserver } from './observe.ts';
import type { Peers } from './peers.ts';
import { decisive, type RecordsView, viewOf } from './records.ts';
import { sentinelView } from './sentinel-view.ts';

const KEYS = cacheKeys('acache');
const SPEC = newSpec({ name: 'acache', network: 'xcaas' });
const LEAD: LeadRecord = {
  ...{ v: 1, master: { id: 'acache-1', run: 'r1' }, insync: [{ id: 'acache-2', run: 'r2' }], prev: null, target: null },
  ...{ state: 'open', clear: false, epoch: 3, rev: 7, nonce: 'n' },
};
const status = (number: number, more: Partial<CacheMemberStatus> = {}): CacheMemberStatus => ({
  ...{
    v: 1,
    member: `acache-${number}`,
    node: 'h',
    address: `10.0.0.${number}`,
    enginePort: 6378,
    role: 'replica',
    state: 'running',
    sentence: '',
  },
  ...{
    rule: 'idle',
    specIndex: 1,
    restartSerial: 0,
    epoch: 3,
    rev: 7,
    beat: 1,
    time: '2026-01-01T00:00:00Z',
    offset: 10,
    run: `r${number}`,
  },
  ...more,
});
const entry = (key: string, value: unknown, more: Partial<KvEntry> = {}): KvEntry => ({
  key,
  value: JSON.stringify(value),
  modifyIndex: 5,
  lockIndex: 0,
  session: undefined,
  ...more,
});
const entries = (lead: Partial<LeadRecord> = {}, ...more: KvEntry[]) => [
  entry(KEYS.spec, SPEC),
  entry(KEYS.lead, { ...LEAD, ...lead }),
  entry(KEYS.member('acache-1'), status(1, { role: 'master' }), { session: 's1' }),
  entry(KEYS.member('acache-2'), status(2), { session: 's2' }),
  ...more,
];
const view = (lead: Partial<LeadRecord> = {}, ...more: KvEntry[]): RecordsView => viewOf(entries(lead, ...more), 'acache', 0);
const OWN = { member: 'acache-2', address: '10.0.0.2', takes: true };

describe('records', () => {
  it('are seen as the protocol needs them: who is present, an order that is not over', () => {
    const order = (state: string) => entry(KEYS.move, { v: 1, id: 'x', state });
    expect(view({}, order('asked')).protocol).toMatchObject({
      members: ['acache-1', 'acache-2'],
      present: ['acache-1', 'acache-2'],
      minReplicas: 1,
      move: { value: { id: 'x' } },
    });
    expect(view({}, order('done')).protocol.move).toBeUndefined();
    // A record whose session has ended is nobody's word, and one of another version is left out.
    expect(viewOf([...entries(), entry(KEYS.member('acache-3'), status(3))], 'acache', 0).protocol.present).not.toContain('acache-3');
    expect(view({}, entry(KEYS.member('acache-3'), { v: 2 }, { session: 's3' })).protocol.present).toHaveLength(2);
  });

  it('count on no member that its endpoint has followed, before it says so: one without a session may only just be starting', () => {
    const heard = view({ rev: 7 }, entry(KEYS.member('acache-2'), status(2, { rev: 7 }), { session: 's2' }));
    expect(heard.protocol.unheard).not.toContain('acache-2');
    expect(view({ rev: 8 }).protocol.unheard).toEqual(['acache-1', 'acache-2']);
    const starting = entries().filter(({ key }) => key !== KEYS.member('acache-2'));
    expect(viewOf(starting, 'acache', 0).protocol.unheard).toContain('acache-2');
  });

  it('say which backup is being made', () => {
    const id = '20260101-000000-abcd';
    const record = (state: string) =>
      entry(KEYS.backup(id), { v: 1, id, cache: 'acache', kind: 'full', by: 'user', state, created: '2026', store: 'volume' });
    expect([view().backup, view({}, record('asked')).backup, view({}, record('running')).backup]).toEqual([undefined, undefined, id]);
  });

  it('that decisions rest on are never guessed', () => {
    expect(() => view({ state: 'unheard-of' as 'open' })).toThrow('does not fit its schema');
    const of = (memoryBytes: number) => viewOf(entries(), 'acache', 0, memoryBytes).spec.value.memoryBytes;
    expect([of(2 ** 20), of(2 ** 60)]).toEqual([2 ** 20, viewOf(entries(), 'acache', 0).spec.value.memoryBytes]);
    expect(() => viewOf([], 'acache', 0)).toThrow('there is no specification');
    expect(decisive(entries(), 'acache').split('\n')).toHaveLength(2);
  });
});

describe('the endpoint', () => {
  it('leads to the master while the record is open, and to nobody while it changes', () => {
    expect(endpointOf(view(), OWN, undefined)).toEqual({
      v: 1,
      epoch: 3,
      master: { id: 'acache-1', address: '10.0.0.1' },
      slaves: [{ id: 'acache-2', address: '10.0.0.2' }],
    });
    for (const state of ['vacant', 'handing', 'promoting'] as const) expect(endpointOf(view({ state }), OWN, undefined)?.master).toBeNull();
  });

  it('leads to a new master only once that was seen to take writes, and to one that did so for as long as it leads', () => {
    expect(endpointOf(view(), { ...OWN, takes: false }, undefined)?.master).toBeNull();
    const last = { v: 1 as const, epoch: 3, master: { id: 'acache-1', address: '10.0.0.1' }, slaves: [] };
    expect(endpointOf(view(), { ...OWN, takes: false }, last)?.master).toEqual(last.master);
    expect(endpointOf(view(), { ...OWN, takes: false }, { ...last, epoch: 2 })?.master).toBeNull();
    const lead = view().protocol.lead!.value;
    const seen = { run: lead.master.run, role: 'master' as const, offset: 1, linkUp: false, fenced: false, minReplicas: 1, empty: false };
    const takes = (change: Partial<typeof seen>, stateAgeMs = 0) =>
      takesWrites(lead, {
        ...{ me: 'acache-2', engine: { state: 'down' }, stateAgeMs },
        peers: { 'acache-1': { silentMs: 0, seen: { ...seen, ...change } } },
      });
    expect([takes({}), takes({ fenced: true }), takes({ run: 'another' })]).toEqual([true, false, false]);
    expect(takes({ fenced: true }, 1500)).toBe(true);
    expect(sentinelView(view(), () => '10.0.0.1', false)?.master).toBeUndefined();
  });

  it('is said to lead by a revision once HAProxy holds it, not when it was told to', () => {
    let live = false;
    const led: EndpointTable[] = [];
    const aim = createEndpointAim({ lead: (table) => void led.push(table), live: () => live });
    const table: EndpointTable = { v: 1, epoch: 3, master: null, slaves: [] };
    aim.lead(table, 7);
    expect(aim.rev()).toBe(0);
    live = true;
    expect([aim.rev(), led]).toEqual([7, [table]]);
    live = false;
    aim.lead({ ...table, epoch: 4 }, 8);
    expect(aim.rev()).toBe(7);
  });

  it('never goes back to an older epoch, and knows where a member was whose session has ended', () => {
    const last = { v: 1 as const, epoch: 4, master: { id: 'acache-2', address: '10.0.0.2' }, slaves: [] };
    expect(endpointOf(view(), OWN, last)).toBe(last);
    const gone = viewOf(
      entries().filter(({ key }) => key !== KEYS.member('acache-1')),
      'acache',
      0,
    );
    expect(endpointOf(gone, OWN, { ...last, epoch: 3, slaves: [{ id: 'acache-1', address: '10.0.0.1' }] })?.master?.address).toBe(
      '10.0.0.1',
    );
  });
});

describe('what Sentinels say', () => {
  it('is the engine that takes writes, by the record', () => {
    const at = (id: string) => `10.0.0.${id.at(-1)}`;
    expect(sentinelView(view(), at, true)).toMatchObject({
      name: 'acache',
      epoch: 3,
      master: { address: '10.0.0.1', port: 6378, run: 'r1' },
      replicas: [{ address: '10.0.0.2', linkUp: true }],
    });
    expect(sentinelView(view({ state: 'handing' }), at, true)?.master).toBeUndefined();
    expect(sentinelView(view({ insync: [] }), at, true)?.replicas).toMatchObject([{ linkUp: false }]);
    expect(sentinelView(view(), at, true)?.sentinels).toHaveLength(2);
  });
});

describe('what a sidecar notices', () => {
  const peers: Peers = {
    aim: () => undefined,
    of: () => ({ silentMs: 3000, facts: undefined }),
    hurry: () => undefined,
    stop: async () => undefined,
  };
  const watch = () => {
    let time = 0;
    const observer = createObserver({
      me: 'acache-2',
      peers,
      memberAt: () => undefined,
      budgets: BUDGETS,
      guards: GUARDS,
      now: () => time,
    });
    return {
      observer,
      at(next: number, beat: number) {
        time = next;
        const seen = viewOf(
          entries().map((one) => (one.key === KEYS.member('acache-1') ? entry(one.key, status(1, { beat }), { session: 's1' }) : one)),
          'acache',
          0,
        );
        observer.heard(seen, next);
        return observer.recordsOf(seen).beatAgeMs['acache-1'];
      },
    };
  };

  it('is since when a master has written nothing', () => {
    const { at } = watch();
    expect([at(0, 1), at(400, 1), at(800, 2), at(1200, 2), at(1600, 2)]).toEqual([0, 400, 0, 400, 800]);
  });

  it('is not what nobody could see while Consul was away', () => {
    const { at } = watch();
    expect([at(0, 1), at(400, 1), at(9000, 1), at(9400, 1)]).toEqual([0, 400, 0, 400]);
  });

  it('forgets an address that another member has now', () => {
    const addresses = createAddresses({ v: 1, epoch: 1, master: { id: 'acache-1', address: '10.0.0.1' }, slaves: [] });
    addresses.learn('acache-2', '10.0.0.1');
    expect([addresses.of('acache-1'), addresses.memberAt('10.0.0.1')]).toEqual([undefined, 'acache-2']);
  });

  it('is told which guards a test wants off, and no others', () => {
    expect(readGuards('lease, runs')).toEqual({ ...GUARDS, lease: false, runs: false });
    expect(() => readGuards('leese')).toThrow('is no guard');
  });
});
