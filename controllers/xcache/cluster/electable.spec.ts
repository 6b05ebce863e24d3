import { describe, expect, it } from 'vitest';
import { type CopyWorld, createElectable } from './electable.ts';

const world = (engine: Partial<CopyWorld['engine']> = {}, more: Partial<CopyWorld> = {}): CopyWorld => ({
  engine: { run: 'r1', linkUp: false, empty: true, loading: false, ...engine },
  ...{ master: 'm', masterFailedMs: 0 },
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

  it('with what it has on its disk, or had as a master', () => {
    expect(createElectable()(world({ empty: false }))).toBe(true);
    expect(createElectable()(world({ empty: false }, { master: undefined }))).toBe(true);
    expect(createElectable()(world({}, { master: undefined }))).toBe(false);
  });

  it('with nothing, when its master has not come back for long', () => {
    const may = createElectable();
    expect(may(world({}, { masterFailedMs: 10_000 }))).toBe(false);
    expect(may(world({}, { masterFailedMs: 21_000 }))).toBe(true);
  });
});
