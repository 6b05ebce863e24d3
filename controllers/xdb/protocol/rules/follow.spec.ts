import { describe, expect, it } from 'vitest';
import { forgetful } from '#xdb/protocol/memory.ts';
import { follow } from '#xdb/protocol/rules/follow.ts';
import type { Running } from '#xdb/protocol/situation.ts';
import { BUDGETS, GUARDS, type SlaveFacts } from '#xdb/protocol/types.ts';

const EPOCH = 4;

interface Case {
  slave?: Partial<SlaveFacts>;
  ready?: number | null;
  /** Who is the sync slave, and who never acknowledges. */
  others?: { sync: string | null; replicas: string[] };
}

function step({ slave = {}, ready = null, others }: Case) {
  const sync = {
    ...{ v: 1, leader: { id: 'adb-1', gen: 'g1' }, sync: null, cand: null, prev: null, state: 'open', epoch: EPOCH, rev: 9, nonce: 'n' },
    ...(others === undefined || others.sync === null ? {} : { sync: { id: others.sync, gen: 'g' } }),
  };
  const engine = {
    ...{ state: 'running', instance: 'i', readOnly: true, semiSyncMaster: false, waiters: 0, relayUnapplied: false },
    slave: { of: 'adb-1', outside: false, io: 'running', sql: 'running', drained: true, lagSeconds: 0, broken: undefined, ...slave },
  };
  const memory = { ...forgetful('i'), adopted: true, compared: { gen: 'g1', epoch: EPOCH, result: 'contained' as const } };
  const s = {
    ...{ sync, index: 20, me: 'adb-2', engine, memory, budgets: BUDGETS, guards: GUARDS, leads: false },
    local: { disk: { gen: 'g2', wasMaster: false, rev: 9, epoch: EPOCH } },
    records: {
      data: { 'adb-2': { value: { v: 1, gen: 'g2', boot: 'i', ready }, index: 15 } },
      replicas: others?.replicas ?? [],
      members: ['adb-1', 'adb-2'],
    },
  };
  const { do: done, ...rest } = follow(s as unknown as Running);
  return 'ready' in rest ? `${done} ${rest.ready}` : done;
}

it('J3: a slave that follows says at once that it is ready, and once', () => {
  expect(step({})).toBe(`publish ${EPOCH}`);
  expect(step({ ready: EPOCH - 1 })).toBe(`publish ${EPOCH}`);
  expect(step({ ready: EPOCH })).toBe('wait');
  expect(step({ slave: { io: 'connecting' } })).toBe('wait');
});

describe('O1: one member acknowledges', () => {
  const third = (sync: string | null, change: Partial<SlaveFacts> = {}, replicas: string[] = []) =>
    step({ slave: { of: undefined, io: 'stopped', ...change }, others: { sync, replicas } });

  it('a further one waits with its copy while another is the sync slave, and follows when none is', () => {
    expect(third('adb-3')).toBe('wait');
    expect(third(null)).toBe('follow');
    expect(third('adb-2')).toBe('follow');
    expect(third('adb-3', {}, ['adb-2'])).toBe('follow');
  });
});
