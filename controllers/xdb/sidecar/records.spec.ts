import { describe, expect, it } from 'vitest';
import type { KvEntry } from '#core/consul/client.ts';
import { DbSpec } from '#xdb/schema.ts';
import { decisive, rememberParsed, viewOf } from './records.ts';

const NOW = Date.parse('2026-01-01T00:00:00Z');
const spec = (more: Record<string, unknown> = {}) =>
  DbSpec.parse({
    ...{ v: 1, name: 'adb', role: 'pair', flavor: 'mariadb', cpus: 0, memoryBytes: 2 ** 29, diskBytes: 2 ** 30, network: 'n' },
    ...{ database: 'adb', user: 'adb' },
    members: [
      { id: 'adb-1', role: 'member' },
      { id: 'adb-2', role: 'member' },
      { id: 'adb-3', role: 'replica' },
    ],
    ...more,
  });

let index = 0;
const entry = (key: string, value: unknown, session?: string): KvEntry => ({
  key: `xcaas/db/adb/${key}`,
  value: typeof value === 'string' ? value : JSON.stringify(value),
  modifyIndex: ++index,
  lockIndex: 0,
  session,
});
const sync = { v: 1, leader: { id: 'adb-1', gen: 'g1' }, sync: null, cand: null, prev: null, state: 'open', epoch: 1, rev: 2, nonce: 'n' };
const view = (...entries: KvEntry[]) => viewOf([entry('spec', spec()), ...entries], 'adb', 'adb-1', NOW);

describe('viewOf', () => {
  it('gives the records with their indexes', () => {
    const record = entry('sync', sync);
    const data = entry('data/adb-2', { v: 1, gen: 'g2', boot: 'b', ready: 1 });
    const { protocol } = view(record, data, entry('birth', { v: 1, member: 'adb-1', done: true }));
    expect(protocol.sync).toEqual({ value: sync, index: record.modifyIndex });
    expect(protocol.data['adb-2']).toEqual({ value: { v: 1, gen: 'g2', boot: 'b', ready: 1 }, index: data.modifyIndex });
    expect(protocol.birth?.value).toMatchObject({ member: 'adb-1', done: true });
    expect(protocol).toMatchObject({ members: ['adb-1', 'adb-2', 'adb-3'], replicas: ['adb-3'], paused: false, upstream: undefined });
  });

  it('a lock counts while a session holds it', () => {
    expect(view(entry('leader', 'adb-1', 's')).protocol.lockHolder).toBe('adb-1');
    expect(view(entry('leader', 'adb-1')).protocol.lockHolder).toBeUndefined();
    expect(view().protocol.lockHolder).toBeUndefined();
  });

  it('a member is there while its session is; one whose record is not understood is left out, and nothing fails', () => {
    const status = {
      ...{
        v: 1,
        member: 'adb-2',
        node: 'h',
        address: '10.0.0.2',
        enginePort: 3305,
        role: 'slave',
        state: 'running',
        sentence: '',
        rule: 'idle',
      },
      ...{ specIndex: 1, restartSerial: 0, epoch: 1, rev: 1, time: '' },
    };
    expect(view(entry('members/adb-2', status, 's')).protocol.present).toEqual(['adb-2']);
    expect(view(entry('members/adb-2', status)).protocol.present).toEqual([]);
    expect(view(entry('members/adb-2', { v: 9 }, 's')).protocol.present).toEqual([]);
  });

  it.each([
    ['an order whose time has come', { at: '2025-12-31T23:59:59Z', state: 'asked' }, true],
    ['an order without a time', { state: 'blocked' }, true],
    ['an order for later', { at: '2026-01-01T00:00:01Z', state: 'asked' }, false],
    ['an order that is done', { state: 'done' }, false],
    ['an order that failed', { state: 'failed' }, false],
  ])('%s: %o', (_what, fields, isOne) => {
    const { move } = view(entry('move', { v: 1, id: 'm', kind: 'switchover', ...fields })).protocol;
    expect(move !== undefined).toBe(isOne);
  });

  it.each([
    ['2026-01-01T00:01:00Z', true],
    ['2025-12-31T00:00:00Z', false],
  ])('paused until %s', (pausedUntil, paused) => {
    expect(viewOf([entry('spec', spec({ pausedUntil }))], 'adb', 'adb-1', NOW).protocol.paused).toBe(paused);
  });

  it('without a specification, or with a record that decisions rest on and that does not fit, there is no view', () => {
    expect(() => viewOf([entry('sync', sync)], 'adb', 'adb-1', NOW)).toThrow('no specification');
    expect(() => view(entry('sync', { ...sync, epoch: 'one' }))).toThrow('xcaas/db/adb/sync');
    expect(() => view(entry('data/adb-2', { v: 1 }))).toThrow('xcaas/db/adb/data/adb-2');
  });

  it('a key that was emptied is not there', () => {
    expect(view(entry('sync', ''), entry('move', '')).protocol).toMatchObject({ sync: undefined, move: undefined });
  });
});

describe('decisive', () => {
  it('changes with the record, the lock and data, not with what members say of themselves', () => {
    const base = [entry('spec', spec()), entry('sync', sync), entry('leader', 'adb-1', 's')];
    const text = decisive(base, 'adb');
    expect(decisive([...base, entry('members/adb-1', '{}', 's'), entry('acked/1', 'x'), entry('status', '{}')], 'adb')).toBe(text);
    expect(decisive([...base, entry('data/adb-2', '{}')], 'adb')).not.toBe(text);
    expect(decisive([...base.slice(0, 2), { ...entry('leader', 'adb-1'), modifyIndex: base[2]?.modifyIndex ?? 0 }], 'adb')).not.toBe(text);
  });
});

describe('rememberParsed', () => {
  it('gives the same value for the same text, and another one for another text', () => {
    const parse = rememberParsed();
    const [first, same, other] = [spec(), spec(), spec({ cpus: 3 })].map((text) => parse(DbSpec, entry('spec', text)));
    expect(same).toBe(first);
    expect(other).not.toBe(first);
    expect(other).toMatchObject({ cpus: 3 });
  });

  it('says of a record that does not fit that it does not, each time', () => {
    const parse = rememberParsed();
    for (let turn = 0; turn < 2; turn += 1) expect(() => parse(DbSpec, entry('spec', '{"v":2}'))).toThrow();
  });
});
