import { describe, expect, it } from 'vitest';
import { figuresOf, stale } from '#backup/figures.ts';
import { accountOf, placeOf } from '#backup/place.ts';
import type { BackupRecord } from '../schema.ts';

const record = (n: number, change: Partial<BackupRecord> = {}): BackupRecord => ({
  ...{ v: 1, id: `2026010${n}-020000-abcd`, db: 'adb', kind: 'full', by: 'user', state: 'done', created: 't', bytes: 7, store: 'volume' },
  finished: `2026-01-0${n}T02:00:00Z`,
  ...change,
});

describe('figures of backups', () => {
  it('count what can be restored, and tell of the last and of damage', () => {
    expect(figuresOf([])).toEqual({ count: 0, newest: undefined, lastFailed: false, damaged: 0 });
    const damaged = record(1, { verify: { state: 'done', ok: false, time: 't', sentence: 's' } });
    const known = [damaged, record(2), record(3, { state: 'failed' }), record(4, { deleting: 't' })];
    expect(figuresOf(known)).toEqual({
      count: 2,
      newest: { finished: Date.parse('2026-01-02T02:00:00Z'), bytes: 7 },
      lastFailed: true,
      damaged: 1,
    });
    expect(figuresOf([record(1, { state: 'failed' }), record(2)]).lastFailed).toBe(false);
  });
});

describe('backups that failed', () => {
  it('are told of while they are among the last five', () => {
    const failed = [1, 2, 3, 4, 5, 6, 7].map((n) => record(n, { state: 'failed' }));
    expect(stale([...failed, record(8)])).toEqual([failed[0]!.id, failed[1]!.id]);
    expect(stale(failed.slice(2))).toEqual([]);
  });
});

describe('the place of backups', () => {
  const backup = { store: 's3://new.example/b', keep: 7 };
  const spec = { name: 'adb', created: '2026-01-01T00:00:00.000Z', backup };
  const secret = 'very-secret';
  const credentials = {
    backupKeys: [{ id: 'k', secret }],
    store: { user: 'A', secret },
    formerStores: { 's3://old.example/b': { user: 'B', secret } },
  };

  it('is opened with its own account, the present one and those before it', () => {
    const now = placeOf(spec, credentials, { volume: '' });
    expect(now).toMatchObject({ perMember: false, shown: 's3://new.example/b', history: '20260101T000000000Z' });
    expect(now.store.name).toBe('s3://new.example/b/adb/20260101T000000000Z');
    expect(placeOf(spec, credentials, { volume: '', address: 's3://old.example/b' }).shown).toBe('s3://old.example/b');
    expect(placeOf(spec, credentials, { volume: '/v', address: 'volume' }).perMember).toBe(true);
    expect(() => placeOf(spec, credentials, { volume: '', address: 's3://other.example/b' })).toThrow(/needs a key and its secret/);
    // The account of the place that is to come is there before the specification names it.
    const between = { ...spec, backup: { ...backup, store: 's3://old.example/b' } };
    expect(accountOf(between, credentials, 's3://old.example/b')).toEqual({ user: 'B', secret });
    expect(now.keyOf('k')).toBeDefined();
    expect(now.keyOf('other')).toBeUndefined();
  });
});
