import { expect, test } from 'vitest';
import { createRandom } from '#test/random.ts';
import type { Fault } from './fault.ts';
import { faultSequence } from './sequence.ts';

const fault = (name: string, weight: number): Fault => ({
  ...{ name, weight, expect: '', lasts: [1, 2], writable: { from: 'fault', seconds: 1 }, whole: 1 },
  inject: async () => ({ what: '', heal: async () => undefined }),
});
const faults = [fault('often', 8), fault('seldom', 1), fault('sometimes', 3)];
const names = (count: number, seed: number) => faultSequence(faults, count, createRandom(seed)).map(({ name }) => name);

test('the same seed gives the same faults, another one others', () => {
  expect(names(50, 4)).toEqual(names(50, 4));
  expect(names(50, 4)).not.toEqual(names(50, 5));
});

test('every fault comes once before any comes again, then as often as its weight says', () => {
  expect(new Set(names(3, 9))).toEqual(new Set(['often', 'seldom', 'sometimes']));
  expect(names(2, 9).length).toBe(2);
  const many = names(3003, 1).slice(3);
  const count = (name: string) => many.filter((one) => one === name).length;
  expect(count('often')).toBeGreaterThan(1800);
  expect(count('seldom')).toBeGreaterThan(150);
  expect(count('seldom')).toBeLessThan(400);
});
