import { expect, it } from 'vitest';
import { checkSchedule, lastDue, scheduledId } from './schedule.ts';

const at = (text: string) => new Date(`2026-08-01T${text}Z`);

it('finds the last time that is due, in UTC, and none twice', () => {
  expect(lastDue('15 2 * * *', at('02:14:30'), at('02:15:03'))).toEqual(at('02:15:00'));
  expect(lastDue('15 2 * * *', at('02:15:00'), at('02:15:33'))).toBeUndefined();
  expect(lastDue('*/10 * * * *', at('02:00:00'), at('02:35:00'))).toEqual(at('02:30:00'));
  expect(lastDue('15 2 * * *', at('00:00:00'), at('02:14:59'))).toBeUndefined();
});

it('makes up for what was missed in the last hour, and for nothing older', () => {
  expect(lastDue('15 2 * * *', at('00:00:00'), at('03:00:00'))).toEqual(at('02:15:00'));
  expect(lastDue('15 2 * * *', at('00:00:00'), at('03:30:00'))).toBeUndefined();
});

it('gives all members the same name for the same time, and each database its own', () => {
  expect(scheduledId('adb', at('02:15:00'))).toMatch(/^20260801-021500-[0-9a-f]{4}$/);
  expect(scheduledId('adb', at('02:15:00'))).toBe(scheduledId('adb', at('02:15:00')));
  expect(scheduledId('adb', at('02:15:00'))).not.toBe(scheduledId('bdb', at('02:15:00')));
});

it('refuses what is no schedule', () => {
  checkSchedule('15 2 * * 1-5');
  for (const wrong of ['', 'daily', '* * * *', '*/5 * * * * *', '61 2 * * *', '15 25 * * *']) {
    expect(() => checkSchedule(wrong)).toThrow(/no schedule/);
  }
});
