import { describe, expect, it } from 'vitest';
import { type CopyWorld, createElectable } from './electable.ts';

const world = (engine: Partial<CopyWorld['engine']> = {}, more: Partial<CopyWorld> = {}): CopyWorld => ({
  engine: { run: 'r1', linkUp: false, empty: true, loading: false, ...engine },
  ...{ master: 'm', masterFailedMs: undefined },
  ...more,
});

describe('a replica may be elected', () => {
  it('once it had a whole copy, also of nothing, and not before', () => {
    const may = createElectable();
    expect(may(world())).toBe(false);
    expect(may(world({ empty: false, loading: true }))).toBe(false);
    expect(may(world({ linkUp: true }))).toBe(true);
    expect(may(world())).toBe(true);
    // It was started anew, or follows another one now.
    expect(may(world({ run: 'r2' }))).toBe(false);
    expect(may(world({}, { master: 'other' }))).toBe(false);
  });

  it('not by a copy of a master that is held for dead all the while: they have not met yet', () => {
    const may = createElectable();
    expect(may(world({}, { masterFailedMs: 0 }))).toBe(false);
    expect(may(world({ linkUp: true, empty: false }, { masterFailedMs: 500 }))).toBe(false);
    expect(may(world({ linkUp: true, empty: false }))).toBe(true);
    // From now on it may take over when its master is lost.
    expect(may(world({ empty: false }, { masterFailedMs: 0 }))).toBe(true);
  });

  it('with what it began with, from its disk', () => {
    const may = createElectable();
    expect(may(world({ loading: true, empty: false }))).toBe(false);
    expect(may(world({ empty: false }, { masterFailedMs: 500 }))).toBe(true);
    expect(createElectable()(world({}, { master: undefined }))).toBe(false);
  });

  it('with nothing, when its master has not come back for long', () => {
    const may = createElectable();
    expect(may(world({}, { masterFailedMs: 10_000 }))).toBe(false);
    expect(may(world({}, { masterFailedMs: 21_000 }))).toBe(true);
  });
});
