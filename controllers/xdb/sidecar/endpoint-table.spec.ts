import { describe, expect, it } from 'vitest';
import { tablesOf } from '#member/endpoint.ts';
import type { EndpointTable } from '#member/endpoint-table.ts';
import type { DbSpec, MemberStatus, SyncRecord } from '#xdb/schema.ts';
import { endpointOf } from './endpoint-table.ts';

const own = { member: 'adb-1', address: '10.0.0.1' };
const status = (address: string, more: Partial<MemberStatus> = {}) =>
  ({ address, state: 'running', lagSeconds: 0, ...more }) as MemberStatus;
const record = (more: Partial<SyncRecord> = {}) =>
  ({ leader: { id: 'adb-1', gen: 'g' }, sync: null, cand: null, prev: null, state: 'open', epoch: 3, ...more }) as SyncRecord;

function at(
  sync: SyncRecord | undefined,
  statuses: Record<string, MemberStatus>,
  ready: Record<string, number | null> = {},
  last?: EndpointTable,
  delaySeconds = 0,
) {
  const data = Object.fromEntries(
    Object.entries(ready).map(([id, epoch]) => [id, { index: 1, value: { v: 1 as const, gen: 'g', boot: 'b', ready: epoch } }]),
  );
  const protocol = {
    ...{
      sync: sync === undefined ? undefined : { value: sync, index: 1 },
      data,
      lockHolder: undefined,
      present: [],
      move: undefined,
      birth: undefined,
    },
    ...{ members: ['adb-1', 'adb-2', 'adb-3'], replicas: ['adb-3'], upstream: undefined, paused: false },
  };
  const members = ['adb-1', 'adb-2', 'adb-3'].map((id) => ({ id, role: 'member', delaySeconds: id === 'adb-3' ? delaySeconds : 0 }));
  const spec = { value: { members } as DbSpec, index: 1 };
  return endpointOf({ spec, protocol, statuses }, own, last);
}

describe('endpointOf', () => {
  it('leads to the leader, and to who follows it in this epoch', () => {
    const statuses = { 'adb-2': status('10.0.0.2'), 'adb-3': status('10.0.0.3') };
    expect(at(record(), statuses, { 'adb-2': 3, 'adb-3': 2 })).toEqual({
      v: 1,
      epoch: 3,
      master: { id: 'adb-1', address: '10.0.0.1' },
      slaves: [{ id: 'adb-2', address: '10.0.0.2' }],
    });
  });

  it('leads to no master while one is being made', () => {
    expect(at(record({ state: 'promoting' }), {})?.master).toBeNull();
  });

  it('a leader whose session has ended stays where it was last seen', () => {
    const sync = record({ leader: { id: 'adb-2', gen: 'g' } });
    const last = at(sync, { 'adb-2': status('10.0.0.2') });
    expect(at(sync, {}, {}, last)?.master).toEqual({ id: 'adb-2', address: '10.0.0.2' });
    expect(at(sync, {})?.master).toBeNull();
  });

  it('a record that went back changes nothing, nor does one that is missing', () => {
    const last = at(record(), {});
    expect(at(record({ epoch: 2, leader: { id: 'adb-2', gen: 'g' } }), { 'adb-2': status('10.0.0.2') }, {}, last)).toBe(last);
    expect(at(undefined, {}, {}, last)).toBe(last);
    expect(at(undefined, {})).toBeUndefined();
  });

  it('who is far behind is asked only when there is nobody better', () => {
    const far = status('10.0.0.2', { lagSeconds: 600 });
    const ready = { 'adb-2': 3, 'adb-3': 3 };
    expect(at(record(), { 'adb-2': far, 'adb-3': status('10.0.0.3') }, ready)?.slaves.map(({ id }) => id)).toEqual(['adb-3']);
    expect(at(record(), { 'adb-2': far }, ready)?.slaves.map(({ id }) => id)).toEqual(['adb-2']);
  });

  it('who is behind on purpose is not asked, not even when there is nobody else', () => {
    const statuses = { 'adb-3': status('10.0.0.3') };
    expect(at(record(), statuses, { 'adb-3': 3 }, undefined, 30)?.slaves).toEqual([]);
    expect(at(record(), statuses, { 'adb-3': 3 }, undefined, 0)?.slaves.map(({ id }) => id)).toEqual(['adb-3']);
  });

  it('who is being cloned or catches up is not asked', () => {
    expect(at(record(), { 'adb-2': status('10.0.0.2', { state: 'catching_up' }) }, { 'adb-2': 3 })?.slaves).toEqual([]);
  });
});

describe('tablesOf', () => {
  const table: EndpointTable = { v: 1, epoch: 3, master: { id: 'adb-1', address: '10.0.0.1' }, slaves: [] };

  it('the port of slaves leads to the master where there is none', () => {
    expect(tablesOf(table, 5, 3305)[1]).toEqual({
      backend: 'slave',
      version: 5,
      peers: [{ id: 'adb-1.3', address: '10.0.0.1', port: 3305 }],
    });
  });

  it('the same master in another epoch is another peer, so that what was connected is cut', () => {
    const peersIn = (epoch: number) => tablesOf({ ...table, epoch }, 5, 3305)[0]?.peers.map(({ id }) => id);
    expect(peersIn(3)).not.toEqual(peersIn(4));
  });

  it('nobody is nobody', () => {
    expect(tablesOf({ ...table, master: null }, 5, 3305).map(({ peers }) => peers)).toEqual([[], []]);
  });
});
