import { describe, expect, it } from 'vitest';
import { ABSENT_MS, assignments, nextJob } from '#backup/assign.ts';
import { newSpec } from '#xdb/spec.ts';
import type { BackupRecord } from '../schema.ts';

const spec = newSpec({ name: 'adb', network: 'xcaas' });
const situation = { spec, sync: 'adb-2' as string | undefined, present: ['adb-1', 'adb-2'] };
const record = (more: Partial<BackupRecord> = {}): BackupRecord => ({
  v: 1,
  id: '20260801-021500-abcd',
  db: 'adb',
  kind: 'full',
  by: 'user',
  state: 'asked',
  created: '2026-08-01T02:15:00Z',
  bytes: 0,
  store: 'volume',
  ...more,
});
const here = { me: 'adb-1', absentMs: () => 0 };
const gone = (...members: string[]) => ({ ...here, absentMs: (member: string) => (members.includes(member) ? ABSENT_MS + 1 : 0) });

describe('who makes a backup', () => {
  it('is the slave, or the leader where there is none', () => {
    expect(assignments([record()], situation, here)).toMatchObject([{ do: 'give', member: 'adb-2' }]);
    expect(assignments([record()], { ...situation, sync: undefined }, here)).toMatchObject([{ do: 'give', member: 'adb-1' }]);
    expect(assignments([record()], { ...situation, present: ['adb-1'] }, here)).toMatchObject([{ do: 'give', member: 'adb-1' }]);
    expect(assignments([record({ member: 'adb-2' })], situation, here)).toEqual([]);
  });

  it('is another one when that one is gone, and what it had begun has failed', () => {
    const alone = { ...situation, present: ['adb-1'] };
    expect(assignments([record({ member: 'adb-2' })], alone, gone('adb-2'))).toMatchObject([{ do: 'give', member: 'adb-1' }]);
    expect(assignments([record({ member: 'adb-2', state: 'running' })], alone, gone('adb-2'))).toMatchObject([{ do: 'fail' }]);
    expect(assignments([record({ member: 'adb-2', state: 'running' })], alone, here)).toEqual([]);
  });

  it('what was on the volume of a member that is no more is forgotten; on a store that all reach it is somebody else’s', () => {
    const done = record({ member: 'adb-0', state: 'done', verify: { state: 'asked', time: '' } });
    expect(assignments([done], situation, gone('adb-0'))).toMatchObject([{ do: 'forget' }]);
    const elsewhere = { ...done, store: 's3://store.example/b' };
    expect(assignments([elsewhere], situation, gone('adb-0'))).toMatchObject([{ do: 'give', member: 'adb-2' }]);
    expect(assignments([{ ...elsewhere, verify: undefined }], situation, gone('adb-0'))).toEqual([]);
  });
});

describe('what a member does next', () => {
  it('is what it was given: deletions first, then what was asked for first', () => {
    const [first, second] = [record({ member: 'adb-1' }), record({ id: '20260802-021500-abcd', member: 'adb-1' })];
    const doubted = record({ id: '20260731-021500-abcd', member: 'adb-1', state: 'done', verify: { state: 'asked', time: '' } });
    const doomed = record({ id: '20260803-021500-abcd', member: 'adb-1', state: 'done', deleting: 'x' });
    expect(nextJob([doubted, first, second, doomed], 'adb-1')).toEqual({ job: 'delete', record: doomed });
    expect(nextJob([doubted, first, second], 'adb-1')).toEqual({ job: 'full', record: first });
    expect(nextJob([doubted], 'adb-1')).toEqual({ job: 'verify', record: doubted });
    expect(nextJob([first, doubted], 'adb-2')).toBeUndefined();
    expect(nextJob([record({ member: 'adb-1', state: 'running', deleting: 'x' })], 'adb-1')).toBeUndefined();
  });
});
