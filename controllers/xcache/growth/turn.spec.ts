import { describe, expect, it } from 'vitest';
import { acache, gib, host, NOW, said, settled } from '#test/xcache-world.ts';
import type { Observed } from '#xcache/plan/world.ts';
import type { CacheSpec, GrowthState } from '#xcache/schema.ts';
import { GROWTH_LOOK_MS, growthTurn } from './turn.ts';

const SPEC = acache({ mode: 'cluster', shards: 3, autoscale: { on: true, maxShards: 9 } });
const HOSTS = [1, 2, 3, 4, 5].map((n) => host(n, { memoryGib: 64, diskGib: 500 }));

/** Masters with so much of a gigabyte each. */
function world(used: number, change: Partial<Observed> = {}): Observed {
  return {
    ...settled(SPEC, HOSTS),
    lead: undefined,
    cluster: {
      ...{ v: 1, born: true, nodes: {}, holder: 'acache-1', state: 'whole', sentence: '', emptied: [] },
      slots: { 'acache-1': 5462, 'acache-2': 5461, 'acache-3': 5461 },
    },
    sidecars: SPEC.members.map(({ id }, index) =>
      said(id, index < 3 ? 'master' : 'replica', { usedBytes: used * gib(1), maxBytes: gib(1) }),
    ),
    ...change,
  };
}

/** Looks again and again for so long. @returns what was decided first, and what is remembered then */
function watch(spec: CacheSpec, observed: Observed, forMs: number) {
  let state: GrowthState | undefined;
  for (let at = 0; at <= forMs; at += GROWTH_LOOK_MS) {
    const turn = growthTurn(spec, observed, state, new Date(NOW.getTime() + at));
    if (turn === undefined) return { state, decision: undefined };
    state = turn.state;
    if (turn.decision.do !== 'nothing') return { state, decision: turn.decision };
  }
  return { state, decision: undefined };
}

describe('a look at how full a cluster is', () => {
  it('makes it grow once it stays full, to a number of masters that its groups keep apart, and rests then', () => {
    const { decision, state } = watch(SPEC, world(0.9), 300_000);
    expect(decision).toMatchObject({ do: 'grow', reason: expect.stringMatching(/^90 % of 3\.0 GiB are used: from 3 to \d shards$/) });
    expect(state).toMatchObject({ decision: 'grow', changedAt: expect.any(Number) });
    expect(watch(SPEC, world(0.5), 300_000).decision).toBeUndefined();
  });

  it('says what keeps it from growing: its ceiling, or that there is no room', () => {
    const low = { ...SPEC, autoscale: { on: true, maxShards: 3 } };
    expect(watch(low, world(0.9), 300_000).decision).toMatchObject({ do: 'blocked', reason: expect.stringContaining('its ceiling is 3') });
    const hosts = HOSTS.map((one) => ({ ...one, spec: { ...one.spec, drained: true } }));
    expect(watch(SPEC, world(0.9, { hosts }), 300_000).decision).toMatchObject({
      do: 'blocked',
      reason: expect.stringContaining('there is room'),
    });
  });

  it('is none while slots move or a master is silent, while it is paused or was not asked for, nor too soon after the last', () => {
    const look = (spec: CacheSpec, observed: Observed, before?: GrowthState) => growthTurn(spec, observed, before, NOW);
    expect(look(SPEC, world(0.9))).toBeDefined();
    const { cluster } = world(0.9);
    expect(look(SPEC, world(0.9, { cluster: { ...cluster!, state: 'moving' } }))).toBeUndefined();
    expect(look(SPEC, world(0.9, { sidecars: world(0.9).sidecars.slice(1) }))).toBeUndefined();
    expect(look({ ...SPEC, autoscale: { on: false, maxShards: 9 } }, world(0.9))).toBeUndefined();
    expect(look({ ...SPEC, pausedUntil: new Date(NOW.getTime() + 60_000).toISOString() }, world(0.9))).toBeUndefined();
    expect(look(SPEC, world(0.9), look(SPEC, world(0.9))?.state)).toBeUndefined();
  });
});
