import { describe, expect, it } from 'vitest';
import { PACE, paceOf } from './pace.ts';
import type { Turn } from './turn.ts';

const turn = ({ engine = {}, facts = {}, sync = {}, step = {}, local = {}, move }: Record<string, object | undefined> = {}): Turn =>
  ({
    view: { protocol: { sync: { value: { state: 'open', cand: null, ...sync } }, move } },
    local: { engine: { state: 'running', waiters: 0, waitAgeMs: 0, ...engine }, stopping: undefined, ...local },
    facts: { waiters: 0, acknowledged: 100, ...facts },
    step: { do: 'wait', rule: 'idle', reason: '', ...step },
  }) as unknown as Turn;

describe('paceOf', () => {
  it('rests where nothing but heartbeats is written', () => {
    expect(paceOf(turn(), 99)).toBe(PACE.rest);
  });

  it.each([
    ['somebody writes', turn({ facts: { acknowledged: 110 } }), 99],
    ['a commit waits', turn({ facts: { waiters: 1 } }), 100],
    ['it was not known what was written before', turn(), undefined],
    ['there is something to wait for', turn({ step: { rule: 'B' } }), 100],
    ['something was done', turn({ step: { do: 'publish', rule: 'J3' } }), 100],
    ['the engine is down', turn({ engine: { state: 'down' } }), 100],
  ])('looks more often where %s', (_, seen, before) => {
    expect(paceOf(seen, before)).toBe(PACE.work);
  });

  it.each([
    ['an engine starts', turn({ engine: { state: 'starting' } })],
    ['an engine does not answer', turn({ engine: { state: 'unreachable' } })],
    ['commits have waited for a while', turn({ engine: { waiters: 2, waitAgeMs: 600 } })],
    ['a promotion is under way', turn({ sync: { state: 'promoting' } })],
    ['a slave is about to be in sync', turn({ sync: { cand: { id: 'adb-2', gen: 'g' } } })],
    ['a move is due', turn({ move: { value: {}, index: 1 } })],
    // biome-ignore lint/suspicious/noThenProperty: the protocol's word, and nobody awaits it
    ['the member is to end', turn({ local: { stopping: { then: 'leave', ageMs: 0 } } })],
  ])('hurries where %s', (_, seen) => {
    expect(paceOf(seen, 100)).toBe(PACE.underWay);
  });
});
