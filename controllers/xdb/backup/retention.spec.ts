import fc from 'fast-check';
import { expect, it } from 'vitest';
import { type Piece, pieceKey } from './binlog/piece.ts';
import type { Catalog } from './catalog.ts';
import { restoreWindows } from './restore-plan.ts';
import { expired } from './retention.ts';
import type { BackupMarker } from './schema.ts';

const NOW = new Date('2026-08-01T00:00:00Z');

const full = (seq: number): BackupMarker => ({
  v: 1,
  id: `20260701-0000${String(seq % 60).padStart(2, '0')}-${String(seq).padStart(4, '0')}`,
  db: 'adb',
  member: 'adb-2',
  flavor: 'mariadb',
  engineVersion: '11.8.6',
  started: '',
  finished: String(seq).padStart(9, '0'),
  gtid: `0-1-${seq}`,
  at: seq,
  bytes: 1,
  sha256: '',
  contentBytes: 1,
  encrypted: false,
});

const piece = (first: number, last: number, kind: Piece['kind'] = 'whole', epoch = 1): Piece => ({
  epoch,
  from: { server: first === 1 ? 0 : 1, seq: first - 1 },
  runs: [{ server: 1, first }],
  last,
  begins: first,
  ends: last,
  member: 'adb-1',
  kind,
});

const catalog = (fulls: number[], pieces: Piece[]): Catalog => ({ fulls: fulls.map(full), pieces, unfinished: [] });

it('keeps the newest backups, and the binlog that leads on from the oldest of them', () => {
  const pieces = [piece(1, 10), piece(11, 20), piece(21, 30), piece(31, 40)];
  const gone = expired(catalog([5, 15, 25], pieces), { keep: 2, running: [], now: NOW });
  expect(gone).toEqual({ fulls: [full(5).id], objects: [pieceKey(pieces[0]!)] });
});

it('deletes nothing where there is no full backup', () => {
  expect(expired(catalog([], [piece(1, 10)]), { keep: 1, running: [], now: NOW })).toEqual({ fulls: [], objects: [] });
});

it('deletes short pieces that a longer one covers, and no other', () => {
  const [covered, after, older] = [piece(12, 14, 'tail'), piece(19, 22, 'tail'), piece(13, 15, 'tail', 2)];
  const gone = expired(catalog([5], [piece(6, 20), covered, after, older]), { keep: 1, running: [], now: NOW });
  expect(gone.objects).toEqual([pieceKey(covered)]);
});

it('deletes what a backup left that never ended, a day later', () => {
  const left = { id: '20260730-000000-abcd', key: 'full/20260730-000000-abcd/data' };
  const young = { id: '20260731-230000-abcd', key: 'full/20260731-230000-abcd/data' };
  const all = { ...catalog([5], []), unfinished: [left, young] };
  expect(expired(all, { keep: 1, running: [], now: NOW }).objects).toEqual([left.key]);
  expect(expired(all, { keep: 1, running: [left.id], now: NOW }).objects).toEqual([]);
});

it('never takes a second away that the kept backups reach', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 6 }),
      fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 12 }),
      fc.integer({ min: 1, max: 6 }),
      (positions, sizes, keep) => {
        let at = 1;
        const pieces = sizes.map((size) => {
          const made = piece(at, at + size - 1);
          at += size;
          return made;
        });
        const sorted = [...positions].sort((a, b) => a - b);
        const before = catalog(sorted, pieces);
        const gone = expired(before, { keep, running: [], now: NOW });
        const after: Catalog = {
          fulls: before.fulls.filter(({ id }) => !gone.fulls.includes(id)),
          pieces: pieces.filter((each) => !gone.objects.includes(pieceKey(each))),
          unfinished: [],
        };
        expect(after.fulls.length).toBe(Math.min(keep, sorted.length));
        expect(restoreWindows(after)).toEqual(restoreWindows({ ...before, fulls: after.fulls }));
      },
    ),
  );
});
