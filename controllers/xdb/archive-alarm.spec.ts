import { describe, expect, it } from 'vitest';
import { backupAlarm, backupEvents, backupsSeen } from '#backup/events.ts';
import type { BackupRecord } from '#xdb/backup/schema.ts';
import type { DbStatus } from '#xdb/schema.ts';
import { archiveAlarm } from './archive-alarm.ts';

const record = (change: Partial<BackupRecord> = {}): BackupRecord => ({
  ...{ v: 1, id: '20260101-020000-abcd', db: 'adb', kind: 'full', by: 'user', state: 'done', created: 't', bytes: 7, store: 'volume' },
  ...change,
});
const status = (...backups: BackupRecord[]): DbStatus => ({
  ...{ v: 1, status: 'READY', sentence: '', next: [], specIndex: 1, time: 't' },
  backups: backupsSeen(backups),
});
const verified = (ok: boolean, time = 't1') => record({ verify: { state: 'done', ok, time, sentence: 'adb.t has 3 rows instead of 4' } });
const told = (before: DbStatus | undefined, ...now: BackupRecord[]) =>
  backupEvents('db/adb', before, now).map(({ kind, reason }) => `${kind} ${reason}`);

describe('events of backups', () => {
  it('tell of each that was made, failed or was verified, once', () => {
    expect(told(status(), record({ state: 'asked' }))).toEqual([]);
    expect(told(status(record({ state: 'running' })), record())).toEqual(['info backup_made']);
    expect(told(status(), record())).toEqual(['info backup_made']);
    expect(told(status(record()), record())).toEqual([]);
    expect(told(status(record({ state: 'running' })), record({ state: 'failed' }))).toEqual(['warning backup_failed']);
    expect(told(status(record()), verified(true))).toEqual(['info backup_verified']);
    expect(told(status(record()), verified(false))).toEqual(['warning backup_damaged']);
    expect(told(status(verified(true)), verified(true, 't2'))).toEqual(['info backup_verified']);
    expect(told(status(record()), record({ verify: { state: 'failed', time: 't', sentence: 'no room' } }))).toEqual([
      'warning backup_unverified',
    ]);
  });

  it('say nothing while a verification is under way, of what goes, and of what was before there were such events', () => {
    expect(told(status(verified(true)), record({ verify: { state: 'running', time: 't' } }))).toEqual([]);
    expect(told(status(record()), record({ deleting: 't' }))).toEqual([]);
    expect(told(status(record()))).toEqual([]);
    expect(told(undefined, record())).toEqual([]);
  });
});

describe('what somebody has to see to', () => {
  it('is a last backup that failed, or that is damaged', () => {
    const failed = record({ id: '20260102-020000-abcd', state: 'failed', error: 'the disk is full' });
    expect(backupAlarm([])).toBeUndefined();
    expect(backupAlarm([record()])).toBeUndefined();
    expect(backupAlarm([record(), failed])).toMatch(/last backup failed: the disk is full/);
    expect(backupAlarm([failed, record({ id: '20260103-020000-abcd' })])).toBeUndefined();
    expect(backupAlarm([record(), { ...failed, deleting: 't' }])).toBeUndefined();
    expect(backupAlarm([verified(false)])).toMatch(/abcd is damaged: adb.t has 3 rows/);
    expect(backupAlarm([verified(false), record({ id: '20260103-020000-abcd' })])).toBeUndefined();
  });

  it('is an archive that fails for minutes while nobody else archives', () => {
    const now = new Date('2026-01-01T12:00:00Z');
    const archive = { active: false, sentence: 'the store answered 403', behindBytes: 0, failingSince: '2026-01-01T11:57:00Z' };
    const one = { member: 'adb-1', archive };
    const idle = { member: 'adb-2', archive: { active: false, sentence: 'the leader archives', behindBytes: 0 } };
    expect(archiveAlarm([one, idle], now)).toMatch(/adb-1 does not archive since 2026-01-01T11:57:00Z: the store answered 403/);
    expect(archiveAlarm([{ ...one, archive: { ...archive, failingSince: '2026-01-01T11:59:00Z' } }, idle], now)).toBeUndefined();
    expect(archiveAlarm([one, { ...idle, archive: { ...idle.archive, active: true } }], now)).toBeUndefined();
    expect(archiveAlarm([idle, { member: 'adb-3' }], now)).toBeUndefined();
  });
});
