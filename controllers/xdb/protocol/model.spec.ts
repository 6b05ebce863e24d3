import { describe, expect, it } from 'vitest';
import { MUTATIONS, mutated, tryMutation } from '#xdb/protocol/model/mutations.ts';
import { recovery } from '#xdb/protocol/model/recover.ts';
import { search } from '#xdb/protocol/model/search.ts';
import { trace } from '#xdb/protocol/model/show.ts';
import { createWorld } from '#xdb/protocol/model/world.ts';

const LIMITS = { maxStates: 3_000_000, maxMs: 300_000 };

describe('the protocol, with one transaction live and everything else unbounded', () => {
  const world = createWorld({ live: 1, promptPublications: true });
  const found = search(world, { ...LIMITS, keepEdges: true });

  it('keeps what it promises in every state that can be reached', () => {
    const { violation } = found;
    expect(violation === undefined ? '' : [violation.what, ...trace(world, found, violation.from), violation.label].join('\n')).toBe('');
    expect(found.complete).toBe(true);
    // Fewer would mean that the world has lost something that can happen.
    expect(found.states).toBeGreaterThan(400_000);
  });

  it('has a way back to a whole pair from each of them, without a further fault', () => {
    const { stuck, lost, whole } = recovery(found);
    expect({ stuck, lost }).toEqual({ stuck: 0, lost: 0 });
    expect(whole).toBeGreaterThan(0);
  });

  it('was asked about every situation of a member that the search met', () => {
    expect(world.mind.situations()).toBeGreaterThan(300);
  });
});

describe('a guard left out', () => {
  for (const mutation of MUTATIONS.filter(({ slow }) => slow !== true)) {
    it(`is missed: ${mutation.rule}`, () => {
      const { violation } = tryMutation(mutation, LIMITS.maxMs);
      expect(violation?.what).toMatch(/^I\d: /);
    });
  }

  it('shows the way to what it breaks', () => {
    const mutation = { off: ['recordBeforeAsync'], rule: 'F1' } as const;
    const found = tryMutation(mutation, LIMITS.maxMs);
    const lines = trace(mutated(mutation), found, found.violation!.from);
    expect(lines[1]).toContain('A a client writes');
    expect(found.violation).toMatchObject({ what: expect.stringContaining('I2'), label: 'semi-sync off', steps: 3 });
  });
});
