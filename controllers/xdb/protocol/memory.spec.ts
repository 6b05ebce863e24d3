import { describe, expect, it } from 'vitest';
import { forgetful, memoryOf, after as remembered } from '#xdb/protocol/memory.ts';
import type { Memory, Outcome, RecordWrite, Step } from '#xdb/protocol/types.ts';

const INSTANCE = 'i';
const full: Memory = {
  ...{ instance: INSTANCE, adopted: true, adoptRefused: false, noneIndex: 7, stoppedReceiving: 3, forgotten: 3, withdrawn: 7 },
  ...{ compared: { gen: 'g', epoch: 3, result: 'contained' }, usersKilled: 'o', blockRefused: undefined, lockRefused: false },
  back: { candidate: { id: 'b', gen: 'g' }, candidateIndex: 5, casIndex: 7, g: undefined },
};
const next: RecordWrite['next'] = {
  leader: { id: 'a', gen: 'g' },
  sync: null,
  cand: { id: 'b', gen: 'g' },
  prev: null,
  state: 'open',
  epoch: 3,
};
const write = (rule: 'F1' | 'B1' | 'B3' | 'P5' | 'R1' | 'T' | 'birth'): Step => ({
  ...{ rule, do: 'write', reason: '' },
  write: { next, at: 7, checkData: { member: 'b', index: 5 } },
});
const done: Outcome = { is: 'done', index: 8 };

describe('A2: of which engine', () => {
  it('what is remembered of one start of the engine is worth nothing for another', () => {
    expect(memoryOf(full, INSTANCE)).toBe(full);
    expect(memoryOf(full, 'j')).toEqual(forgetful('j'));
    expect(memoryOf(full, undefined)).toEqual(forgetful());
    expect(remembered(full, { rule: 'B', do: 'sample', reason: '' }, { is: 'done', g: 'x' }, 'j')).toEqual(forgetful('j'));
  });

  it('a command with an unknown end: nothing is known of this engine any more, and A1 comes first', () => {
    const commands: Step[] = [
      { rule: 'F2', do: 'semi_sync_master', on: false, reason: '' },
      { rule: 'O4', do: 'read_only', on: false, reason: '' },
      { rule: 'P2', do: 'stop_receiving', epoch: 3, reason: '' },
      { rule: 'J2', do: 'follow', leader: 'a', semiSync: true, reason: '' },
    ];
    for (const command of commands) expect(remembered(full, command, { is: 'unknown' }, INSTANCE)).toEqual(forgetful(INSTANCE));
  });
});

describe('A3: unknown is not done', () => {
  it('a write that was confirmed is remembered by its index', () => {
    for (const rule of ['F1', 'P5', 'birth'] as const)
      expect(remembered(full, write(rule), done, INSTANCE)).toMatchObject({ noneIndex: 8, back: undefined });
    expect(remembered(full, write('R1'), done, INSTANCE)).toMatchObject({ withdrawn: 8, noneIndex: undefined });
    expect(remembered(full, write('B1'), done, INSTANCE).back).toEqual({
      candidate: next.cand,
      candidateIndex: 5,
      casIndex: 8,
      g: undefined,
    });
  });

  it('one that failed, or of which nothing is known, counts for nothing, and ends what was built on the record before it', () => {
    for (const rule of ['F1', 'B1', 'B3', 'P5', 'R1', 'T', 'birth'] as const) {
      for (const is of ['failed', 'unknown'] as const) {
        expect(remembered(full, write(rule), { is }, INSTANCE)).toMatchObject({
          noneIndex: undefined,
          back: undefined,
          withdrawn: undefined,
        });
      }
    }
  });
});

describe('what steps leave behind', () => {
  it('A1 done: a clean start; refused: the engine is to be killed', () => {
    expect(remembered(full, { rule: 'A1', do: 'adopt', reason: '' }, { is: 'done' }, INSTANCE)).toEqual({
      ...forgetful(INSTANCE),
      adopted: true,
    });
    expect(remembered(full, { rule: 'A1', do: 'adopt', reason: '' }, { is: 'failed' }, INSTANCE).adoptRefused).toBe(true);
  });

  it('P2, P4 and J2 count for their epoch, B for its sample', () => {
    expect(remembered(full, { rule: 'P2', do: 'stop_receiving', epoch: 4, reason: '' }, { is: 'done' }, INSTANCE).stoppedReceiving).toBe(4);
    expect(remembered(full, { rule: 'J', do: 'stop_receiving', epoch: 4, reason: '' }, { is: 'done' }, INSTANCE).stoppedReceiving).toBe(3);
    expect(remembered(full, { rule: 'P4', do: 'forget_master', epoch: 4, reason: '' }, { is: 'done' }, INSTANCE).forgotten).toBe(4);
    expect(remembered(full, { rule: 'B', do: 'sample', reason: '' }, { is: 'done', g: 'x' }, INSTANCE).back?.g).toBe('x');
    const compare: Step = { rule: 'J2', do: 'compare', leader: 'a', gen: 'h', epoch: 4, reason: '' };
    expect(remembered(full, compare, { is: 'done', compared: 'diverged' }, INSTANCE).compared).toEqual({
      gen: 'h',
      epoch: 4,
      result: 'diverged',
    });
    expect(remembered(full, compare, { is: 'failed' }, INSTANCE).compared).toEqual(full.compared);
  });

  it('R1 counts until something is published again', () => {
    expect(
      remembered(full, { rule: 'J3', do: 'publish', ready: 3, at: 5, reason: '' }, { is: 'unknown' }, INSTANCE).withdrawn,
    ).toBeUndefined();
  });

  it('a start, a kill, a wipe or a copy: nothing is left', () => {
    const start: Step = { rule: 'S3', do: 'start', role: 'MASTER', semiSyncMaster: false, reason: '' };
    for (const step of [start, { rule: 'D1', do: 'kill', reason: '' }, { rule: 'R2', do: 'wipe', reason: '' }] as Step[]) {
      expect(remembered(full, step, { is: 'done' }, INSTANCE)).toEqual(forgetful());
    }
  });
});
