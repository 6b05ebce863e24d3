import { describe, expect, it } from 'vitest';
import type { Attempt } from '../history/journal.ts';
import { type CacheEvidence, check, describeVerdict, type Lead } from './check.ts';
import { countKey, listKey, placeOf } from './keys.ts';
import { type CacheState, type Kept, readState } from './state.ts';

const [A, B, C] = ['aaaa', 'bbbb', 'cccc'];
const leads: Lead[] = [
  { epoch: 1, member: 'acache-1', run: A },
  { epoch: 2, member: 'acache-2', run: B },
];

/** A write of worker 1 in round 1, numbered by the second in which it was begun, acknowledged half a second later. */
function attempt(seq: number, run: string | undefined, change: Partial<Attempt> = {}): Attempt {
  return {
    ...{
      client: 'w',
      worker: 1,
      seq,
      rows: 1,
      round: 1,
      chain: true,
      beganAt: seq * 1000,
      endedAt: seq * 1000 + 500,
      outcome: 'acked',
      run,
    },
    ...{ server: undefined, epoch: undefined, previous: undefined, gtid: undefined, why: undefined },
    ...change,
  };
}

const kept = (numbers: number[], count = numbers.length): Kept => ({ round: 1, client: 'w', worker: 1, numbers, count });
const state = (change: Partial<CacheState> = {}): CacheState => ({
  member: 'acache-2',
  digest: 'd',
  kept: [kept([1, 2, 3])],
  rounds: [],
  ...change,
});
const fine: CacheEvidence = {
  attempts: [attempt(1, A), attempt(2, B), attempt(3, B)],
  states: [state(), state({ member: 'acache-1' })],
  leads,
};
const found = (change: Partial<CacheEvidence>) => check({ ...fine, ...change }).violations.map(({ kind }) => kind);

describe('the checker', () => {
  it('finds nothing in a history of a planned change', () => {
    const verdict = check(fine);
    expect(verdict).toMatchObject({ violations: [], acked: 3, excused: 0, besideMs: 0 });
    expect(describeVerdict(verdict)).toBe('3 acknowledged, 0 refused, 0 unknown (0 there); nothing is wrong');
  });

  it('finds what is lost, but for the time in which it may be', () => {
    const states = [state({ kept: [kept([1, 3])] })];
    expect(found({ states })).toEqual(['lost']);
    expect(check({ ...fine, states, mayLose: [{ from: 2400, to: 2600 }] })).toMatchObject({ violations: [], excused: 1 });
    const late = check({ ...fine, states, mayLose: [{ from: 1000, to: 2200 }] });
    expect(describeVerdict(late)).toContain(
      'acknowledged by acache-2 (epoch 2) 300 ms after the time in which it may be lost and not there',
    );
  });

  it('finds a write that is there twice, out of order, never tried, or refused', () => {
    expect(found({ states: [state({ kept: [kept([1, 2, 2, 3])] })] })).toEqual(['twice']);
    expect(found({ states: [state({ kept: [kept([1, 3, 2])] })] })).toEqual(['order']);
    expect(found({ states: [state({ kept: [kept([1, 2, 3, 4])] })] })).toEqual(['invented']);
    expect(found({ attempts: [...fine.attempts, attempt(4, undefined, { outcome: 'refused', why: 'READONLY' })] })).toEqual([]);
    const attempts = [attempt(1, A), attempt(2, B), attempt(3, undefined, { outcome: 'refused', why: 'READONLY' })];
    expect(found({ attempts })).toEqual(['refused_present']);
  });

  it('takes what is unknown as it is', () => {
    const lost = attempt(4, undefined, { outcome: 'unknown', why: 'no answer' });
    expect(check({ ...fine, attempts: [...fine.attempts, lost] })).toMatchObject({ violations: [], unknown: { there: 0, missing: 1 } });
    // Done when the network was healed, long after its client gave up; then acknowledged ones are in order all the same.
    const late = [attempt(1, A), attempt(2, undefined, { outcome: 'unknown', why: 'no answer' }), attempt(3, B), attempt(4, B)];
    const numbers = (...list: number[]) => [state({ kept: [kept(list)] })];
    expect(found({ attempts: late, states: numbers(1, 3, 2, 4) })).toEqual([]);
    expect(found({ attempts: late, states: numbers(1, 4, 2, 3) })).toEqual(['order']);
  });

  it('finds half of a write', () => {
    expect(found({ states: [state({ kept: [kept([1, 2, 3], 2)] })] })).toEqual(['torn']);
  });

  it('finds a master that takes writes after its successor took one', () => {
    const attempts = [attempt(1, A), attempt(2, B), attempt(3, A), attempt(4, B), attempt(5, A)];
    const verdict = check({ ...fine, attempts, states: [state({ kept: [kept([1, 2, 3, 4, 5])] })] });
    expect(verdict.violations.map(({ kind }) => kind)).toEqual(['two_masters']);
    expect(verdict.violations[0]?.sentence).toContain('acache-1 (epoch 1) acknowledged 2 writes that were begun after acache-2');
    expect(verdict.besideMs).toBe(3000);
  });

  it('excuses a master that was frozen whole in the moment in which it wakes, and in no other', () => {
    const attempts = [attempt(1, A), attempt(2, B), attempt(3, A), attempt(4, B)];
    const at = attempts[2]!.endedAt!;
    const states = [state({ kept: [kept([1, 2, 3, 4])] })];
    expect(found({ attempts, states, waking: [{ from: at - 100, to: at + 100 }] })).toEqual([]);
    expect(found({ attempts, states, waking: [{ from: at + 1, to: at + 1000 }] })).toEqual(['two_masters']);
  });

  it('lets one lead again in an epoch of its own, and answer late what was asked early', () => {
    const attempts = [attempt(1, A), attempt(2, B), attempt(3, A)];
    expect(found({ attempts })).toEqual(['two_masters']);
    expect(found({ attempts, leads: [...leads, { epoch: 3, member: 'acache-1', run: A }] })).toEqual([]);
    expect(found({ attempts: [attempt(1, A), attempt(2, B), attempt(3, A, { beganAt: 2400 })] })).toEqual([]);
  });

  it('finds a master that no record ever named', () => {
    expect(found({ attempts: [attempt(1, A), attempt(2, B), attempt(3, C)] })).toEqual(['no_master']);
  });

  it('finds what changed after it was right, and members that are not the same', () => {
    const verified = [{ round: 0, numbers: 4, digest: 'x' }];
    expect(found({ verified, states: [state({ rounds: verified })] })).toEqual([]);
    expect(found({ verified })).toEqual(['changed_later']);
    expect(found({ states: [state(), state({ member: 'acache-1', digest: 'e' })] })).toEqual(['members_differ']);
  });
});

describe('what a member holds', () => {
  it('is read in one answer, older rounds as a digest', async () => {
    const own = { round: 2, client: 'w0-on n1-1', worker: 3 };
    expect([placeOf(listKey(own)), placeOf(countKey(own)), placeOf('else')]).toEqual([own, own, undefined]);
    const answer = 'list:{2/w0-n1-1/3} 2 7,9\nlist:{1/w0-n1-1/3} 1 5\nlist:{2/w0-n2-2/1} 1 \n';
    const from = (text: string) => [{ id: 'acache-1', command: async () => text }];
    const read = await readState(from(answer), 2);
    expect(read.kept).toEqual([
      { round: 2, client: 'w0-n1-1', worker: 3, numbers: [7, 9], count: 2 },
      { round: 2, client: 'w0-n2-2', worker: 1, numbers: [], count: 1 },
    ]);
    expect(read.rounds).toMatchObject([{ round: 1, numbers: 1 }]);
    expect((await readState(from(answer.replace('5', '6')), 2)).digest).not.toBe(read.digest);
    const parts = answer.split('\n').map((line, at) => ({ id: `big-${at}`, command: async () => line }));
    expect(await readState(parts, 2)).toEqual({ ...read, member: 'big-0, big-1, big-2, big-3' });
    await expect(readState(from('ERR no\n'), 2)).rejects.toThrow('not understood: ERR no');
  });
});
