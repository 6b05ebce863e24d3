import { expect, it } from 'vitest';
import { fallBackIfDue } from '#xdb/protocol/rules/fallback.ts';
import type { Running } from '#xdb/protocol/situation.ts';
import { BUDGETS, GUARDS } from '#xdb/protocol/types.ts';

const step = (named: boolean, engine: { waiters: number; waitAgeMs: number }) =>
  fallBackIfDue(
    {
      ...{ me: 'adb-1', index: 20, memory: { noneIndex: 20 }, budgets: BUDGETS, guards: GUARDS },
      sync: { leader: { id: 'adb-1', gen: 'g1' }, sync: named ? { id: 'adb-2', gen: 'g2' } : null, cand: null, epoch: 4 },
      engine: { semiSyncMaster: true, semiSyncLapsed: false, readOnly: false, ...engine },
      records: { members: ['adb-1', 'adb-2'], replicas: [], data: {}, present: [] },
      local: {},
    } as unknown as Running,
    false,
  );

it('F: the record first; then semi-sync goes off, and who did not acknowledge has to connect anew', () => {
  const stuck = { waiters: 3, waitAgeMs: BUDGETS.waitMs };
  expect(step(true, { ...stuck, waitAgeMs: BUDGETS.waitMs - 1 })).toBeUndefined();
  expect(step(true, stuck)).toMatchObject({ rule: 'F1', do: 'write', write: { next: { sync: null, cand: null } } });
  expect(step(false, stuck)).toMatchObject({ rule: 'F2', do: 'semi_sync_master', on: false, cut: true });
  // Nobody waited: whoever receives does so well.
  expect(step(false, { waiters: 0, waitAgeMs: 0 })).toMatchObject({ rule: 'F2', do: 'semi_sync_master', on: false, cut: false });
});
