import fc from 'fast-check';
import { expect, it } from 'vitest';
import { continues, holds, type Piece, parsePieceKey, pieceKey, serverAt } from './piece.ts';

const piece: Piece = {
  epoch: 3,
  from: { server: 1, seq: 99 },
  runs: [
    { server: 1, first: 100 },
    { server: 2, first: 120 },
  ],
  last: 150,
  begins: 1_700_000_000,
  ends: 1_700_000_060,
  member: 'adb-2',
  kind: 'whole',
};

it('says all in its name, and nothing else is taken for one', () => {
  expect(pieceKey(piece)).toBe('binlog/00000003_000000000000150_1-99_1@100,2@120_1700000000-1700000060_adb-2.whole');
  fc.assert(
    fc.property(
      fc.record({
        epoch: fc.nat({ max: 99_999_999 }),
        from: fc.record({ server: fc.nat({ max: 2 ** 32 - 1 }), seq: fc.nat({ max: 2 ** 40 }) }),
        runs: fc.array(fc.record({ server: fc.nat({ max: 2 ** 32 - 1 }), first: fc.nat({ max: 2 ** 40 }) }), {
          minLength: 1,
          maxLength: 4,
        }),
        last: fc.nat({ max: 2 ** 40 }),
        begins: fc.nat({ max: 2 ** 32 - 1 }),
        ends: fc.nat({ max: 2 ** 32 - 1 }),
        member: fc.constantFrom('adb-1', 'a'.repeat(48)),
        kind: fc.constantFrom('whole' as const, 'tail' as const),
      }),
      (any) => {
        expect(parsePieceKey(pieceKey(any))).toEqual(any);
        expect(pieceKey(any).slice('binlog/'.length).length).toBeLessThan(250);
      },
    ),
  );
  for (const key of ['binlog/x', `${pieceKey(piece)}.part`, pieceKey(piece).replace('whole', 'half'), `full/${pieceKey(piece)}`]) {
    expect(parsePieceKey(key)).toBeUndefined();
  }
});

it('holds exactly the transactions of its runs', () => {
  expect([99, 100, 119, 120, 150, 151].map((seq) => serverAt(piece, seq))).toEqual([undefined, 1, 1, 2, 2, undefined]);
  expect(holds(piece, { server: 1, seq: 120 })).toBe(false);
  expect(holds(piece, { server: 1, seq: 99 })).toBe(false);
  expect(continues(piece, { server: 1, seq: 99 })).toBe(true);
  expect(continues(piece, { server: 2, seq: 150 })).toBe(false);
});
