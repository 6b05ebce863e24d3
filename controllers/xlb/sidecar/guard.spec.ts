import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Evidence, HOLD_MS, judgeEmpty } from './guard.ts';
import type { Instance } from './table.ts';

const instance = (id: string, state: Instance['state'] = 'up'): Instance => ({
  ...{ id, address: '10.0.0.1', port: 80, weight: 100, state, container: '', node: 'n' },
  ...{ silent: false, unweighted: false },
});
const prior = [instance('a'), instance('b')];
const sure: Evidence = { second: 'empty', witness: true, removed: false, alive: undefined, emptySince: 0, now: 1000 };

describe('judgeEmpty', () => {
  it('asks for a probe before it believes that live instances are gone', () => {
    expect(judgeEmpty('web', prior, sure)).toEqual({ do: 'probe' });
  });

  it('believes it when none of them answers', () => {
    expect(judgeEmpty('web', prior, { ...sure, alive: new Set() }).do).toBe('believe');
  });

  it('keeps those that answer, for a bounded time', () => {
    const held = judgeEmpty('web', prior, { ...sure, alive: new Set(['b']) });
    expect(held).toMatchObject({
      do: 'keep',
      instances: [{ id: 'b' }],
      reason: 'Consul says that web is empty, but 1 of its instances answer',
    });
    expect(judgeEmpty('web', prior, { ...sure, alive: new Set(['b']), now: HOLD_MS }).do).toBe('believe');
  });

  it('believes at once what was removed on purpose, was draining, or was never there', () => {
    expect(judgeEmpty('web', prior, { ...sure, removed: true }).do).toBe('believe');
    expect(judgeEmpty('web', [instance('a', 'draining'), instance('b', 'down')], sure).do).toBe('believe');
    expect(judgeEmpty('web', [], { ...sure, second: 'failed', witness: false }).do).toBe('believe');
  });

  it('never believes what is not confirmed by a second read of a token that sees anything', () => {
    const evidence = fc.record({
      second: fc.constantFrom('empty' as const, 'some' as const, 'failed' as const),
      witness: fc.boolean(),
      removed: fc.boolean(),
      alive: fc.option(
        fc.subarray(['a', 'b']).map((ids): ReadonlySet<string> => new Set(ids)),
        { nil: undefined },
      ),
      emptySince: fc.integer({ min: 0, max: 1e6 }),
      now: fc.integer({ min: 0, max: 2e6 }),
    });
    fc.assert(
      fc.property(evidence, (drawn) => {
        const verdict = judgeEmpty('web', prior, drawn);
        if (drawn.second !== 'empty' || !drawn.witness) expect(verdict).toMatchObject({ do: 'keep', instances: prior });
        if (verdict.do === 'keep') expect(verdict.instances.length).toBeGreaterThan(0);
        const answers = (drawn.alive?.size ?? 1) > 0;
        if (verdict.do === 'believe' && !drawn.removed) expect(!answers || drawn.now - drawn.emptySince >= HOLD_MS).toBe(true);
      }),
    );
  });
});
