import { expect, test } from 'vitest';
import { type DbJson, isWhole } from './db-world.ts';
import { describeRun, type FaultResult } from './results.ts';

const row = (number: number, name: string, stallMs: number, failures: string[] = []): FaultResult => ({
  ...{ number, name, expect: 'x', what: 'adb-1 on n1', lastedMs: 1, stallMs, stallAfterHealMs: stallMs - 400 },
  from: name === 'kill' ? 'fault' : 'heal',
  ...{
    wholeMs: 2000,
    epochs: [1, 2],
    failures,
    found: [],
    counts: { acked: 10, refused: 1, unknown: 3, excused: 0 },
  },
});

test('a run is a row a kind, and what went wrong in full', () => {
  const faults = [row(1, 'kill', 1000), row(2, 'cut off', 5000, ['2 lost']), row(3, 'kill', 3000)];
  const text = describeRun({ seed: 7, started: '', seconds: 600, faults });
  expect(text).toContain('seed 7: 3 faults in 10 min');
  expect(text).toContain('30 writes acknowledged, 3 refused, 9 unknown');
  expect(text).toMatch(/^kill +2 +fault +1\.0 +3\.0 +2\.0 +0 +0$/m);
  expect(text).toMatch(/^cut off +1 +heal +4\.6 +4\.6 +2\.0 +0 +1$/m);
  expect(text).toContain('#2 cut off (adb-1 on n1)\n  2 lost');
});

test('a database is whole with a master and a slave in sync, both running', () => {
  const member = (id: string, role: string, state = 'running') => ({ id, role, state, node: 'n1' });
  const status: DbJson = {
    ...{ name: 'adb', status: 'READY', sentence: '', epoch: 1, master: 'a', sync: 'b' },
    ...{ endpoint: { host: 'adb', port: 3306, published: [] }, members: [member('a', 'master'), member('b', 'slave')] },
  };
  expect(isWhole(status)).toBe(true);
  for (const wrong of [
    { status: 'DEGRADED' },
    { sync: null },
    { master: null },
    { sync: 'a' },
    { members: [member('a', 'master'), member('b', 'slave', 'catching_up')] },
    { members: [member('a', 'slave'), member('b', 'slave')] },
    { members: [member('a', 'master')] },
  ])
    expect(isWhole({ ...status, ...wrong })).toBe(false);
});
