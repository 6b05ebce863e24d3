import { describe, expect, it } from 'vitest';
import type { NamedInRecord, SyncRecord } from '#xdb/schema.ts';
import { type Memories, type Remembered, recover } from './recover.ts';

const data = (id: string, gen = `${id}-data`) => ({ id, gen });
const [A, B] = [data('a'), data('b')];
const open: NamedInRecord = { leader: A, sync: B, prev: null, state: 'open' };
const promoting: NamedInRecord = { leader: B, sync: null, prev: A, state: 'promoting' };
const seen = (id: string, change: Partial<Remembered> = {}): Remembered => ({
  ...{ gen: `${id}-data`, wasMaster: id === 'a', rev: 9, epoch: 4, named: open },
  ...change,
});
const record = (change: Partial<SyncRecord> = {}): SyncRecord => ({ v: 1, cand: null, epoch: 3, rev: 5, nonce: 'n', ...open, ...change });
const made = (memories: Memories, present?: SyncRecord, lost: string[] = []) => recover('adb', present, memories, new Set(lost));

describe('K1: the record that takes the place of a lost one', () => {
  it('names who led by the newest that was seen, in a new epoch, without a slave', () => {
    const next = { leader: A, sync: null, cand: null, prev: null, state: 'open', epoch: 5, rev: 10 };
    expect(made({ a: seen('a'), b: seen('b') })).toEqual(next);
    expect(made({ a: seen('a'), b: seen('b') }, record())).toEqual(next);
  });

  it('goes by the newest epoch, then the newest revision, whoever has seen it', () => {
    const taken = { leader: B, sync: null, prev: null, state: 'open' } as const;
    expect(made({ a: seen('a', { rev: 12 }), b: seen('b', { epoch: 5, rev: 11, named: taken }) })).toMatchObject({
      ...{ leader: B, epoch: 6, rev: 13 },
    });
    // The slave had withdrawn; who led has not heard of it.
    const alone = { ...open, sync: null };
    expect(made({ a: seen('a'), b: seen('b', { rev: 10, named: alone }) })).toMatchObject({ leader: A, epoch: 5, rev: 11 });
  });

  it('is newer than the one that Consul has, also where that is newer in one of the two', () => {
    expect(made({ a: seen('a'), b: seen('b') }, record({ epoch: 2, rev: 40 }))).toMatchObject({ epoch: 5, rev: 41 });
  });

  it('has the slave promoted that it named when the data that led are gone, and only that one: it has yet to apply what it received', () => {
    const promoted = { leader: B, sync: null, cand: null, prev: A, state: 'promoting', epoch: 5, rev: 10 };
    expect(made({ a: undefined, b: seen('b') }, undefined, ['a'])).toEqual(promoted);
    expect(made({ a: seen('a', { gen: 'new' }), b: seen('b') })).toEqual(promoted);
    const alone = seen('b', { named: { ...open, sync: null } });
    expect(() => made({ a: undefined, b: alone }, undefined, ['a'])).toThrow(/nobody else is known to hold everything/);
    expect(() => made({ a: undefined, b: seen('b', { gen: 'copied since' }) }, undefined, ['a'])).toThrow(/nobody else/);
    expect(() => made({ a: undefined, b: seen('b', { gen: null }) }, undefined, ['a'])).toThrow(/nobody else/);
  });

  it('lets a promotion go on, and who led before lead again when the promoter is gone', () => {
    const both = { a: seen('a', { named: promoting }), b: seen('b', { named: promoting }) };
    expect(made(both)).toMatchObject({ leader: B, prev: A, state: 'promoting', epoch: 5 });
    expect(made({ ...both, b: undefined }, undefined, ['b'])).toMatchObject({ leader: A, prev: null, state: 'open' });
  });

  it('is made by nobody who could not know: a member that is silent may have seen a newer one', () => {
    expect(() => made({ a: seen('a'), b: undefined })).toThrow(/b did not answer/);
    expect(() => made({ a: seen('a'), b: seen('b'), r: undefined })).toThrow(/r did not answer/);
    expect(() => made({ a: undefined, b: undefined }, undefined, ['a', 'b'])).toThrow();
    expect(() => made({ a: seen('a'), b: seen('b') }, undefined, ['b'])).toThrow(/b answers/);
  });

  it('is not made where none is lost', () => {
    expect(() => made({ a: seen('a'), b: seen('b') }, record({ epoch: 4, rev: 9 }))).toThrow(/is not lost/);
    const never = { rev: 0, epoch: 0, gen: null, named: null };
    expect(() => made({ a: seen('a', never), b: seen('b', never) })).toThrow(/is being made/);
  });

  it('K2: is made of one that is there, when its slave refuses and its leader is said to be lost, and only then', () => {
    const present = record({ epoch: 4, rev: 9 });
    const refusing = { a: undefined, b: seen('b', { refuses: true }) };
    expect(made(refusing, present, ['a'])).toMatchObject({ leader: B, prev: A, state: 'promoting', epoch: 5, rev: 10 });
    expect(() => made(refusing, present)).toThrow(/is not lost/);
    expect(() => made({ a: undefined, b: seen('b') }, present, ['a'])).toThrow(/is not lost/);
    expect(() => made({ a: seen('a'), b: seen('b', { refuses: true }) }, present, ['a'])).toThrow(/a answers/);
  });

  it('is not guessed from a memory that does not say whom it named', () => {
    expect(() => made({ a: seen('a', { named: null }), b: seen('b', { named: null }) })).toThrow(/remembers/);
  });
});
