import { expect, test } from 'vitest';
import { DB_FAULTS, faultNamed } from './faults/db.ts';

test('each fault has a name of its own, says what must come of it, and is bounded', () => {
  expect(new Set(DB_FAULTS.map(({ name }) => name)).size).toBe(DB_FAULTS.length);
  for (const { name, expect: expected, lasts, writable, whole, weight } of DB_FAULTS) {
    expect(expected.length, name).toBeGreaterThan(20);
    expect(lasts[0], name).toBeLessThanOrEqual(lasts[1]);
    expect(lasts[1], name).toBeLessThanOrEqual(30);
    expect(writable.seconds, name).toBeLessThanOrEqual(210);
    expect(whole, name).toBeLessThanOrEqual(300);
    expect(weight, name).toBeGreaterThan(0);
  }
});

test('a switchover is tried in the middle of every kind of fault', () => {
  const during = DB_FAULTS.filter(({ name }) => name.startsWith('switchover, and in the middle of it: '));
  expect(during.length).toBe(15);
  for (const { name } of during) expect(faultNamed(name.replace(/^.*in the middle of it: /, ''))).toBeDefined();
  expect(() => faultNamed('rain')).toThrow('rain');
});
