import { expect, test } from 'vitest';
import { CACHE_FAULTS, cacheFaultNamed } from './faults/cache.ts';
import { CLUSTER_FAULTS } from './faults/cluster.ts';

test.each([CACHE_FAULTS, CLUSTER_FAULTS])('each fault has a name of its own, says what must come of it, and is bounded', (...faults) => {
  expect(new Set(faults.map(({ name }) => name)).size).toBe(faults.length);
  for (const { name, expect: expected, lasts, writable, whole, weight, loses } of faults) {
    expect(expected.length, name).toBeGreaterThan(20);
    expect(lasts[0], name).toBeLessThanOrEqual(lasts[1]);
    expect(lasts[1], name).toBeLessThanOrEqual(30);
    expect(writable.seconds, name).toBeLessThanOrEqual(210);
    expect(whole, name).toBeLessThanOrEqual(300);
    expect(weight, name).toBeGreaterThan(0);
    if (loses !== 'nothing') expect(loses.beforeMs + loses.afterMs, name).toBeLessThanOrEqual(8000);
  }
});

test('only a master that was frozen whole may answer beside its successor when it wakes', () => {
  const excused = CACHE_FAULTS.filter(({ loses }) => loses !== 'nothing' && loses.frozenWhole).map(({ name }) => name);
  expect(excused).toEqual([
    "the master's container is paused",
    "the master's host is frozen",
    "the master's host is cut off from everything, and its container is paused and woken meanwhile",
  ]);
});

test('what is planned, and what only a replica or Consul meets, loses nothing', () => {
  for (const name of [
    'switchover',
    "the master's container is asked to stop",
    'kill -9 engine of the replica',
    'Consul is stopped on all hosts',
  ])
    expect(cacheFaultNamed(name).loses, name).toBe('nothing');
  // The replica may lead by the time it is hurt.
  expect(cacheFaultNamed('switchover, and in the middle of it: kill -9 engine of the replica').loses).not.toBe('nothing');
  expect(() => cacheFaultNamed('rain')).toThrow('rain');
});
