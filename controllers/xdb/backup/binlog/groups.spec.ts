import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { binlog, event, formatEvent, gtidEvent, gtidList, queryEvent, type Trx, trxEvents } from '../spec-lib/binlog.ts';
import { EventType, MAGIC } from './events.ts';
import { createGroupReader, type Found } from './groups.ts';

const trx = (seq: number, more: Partial<Trx> = {}): Trx => ({ server: 1, seq, timestamp: 1000 + seq, ...more });

function readAll(bytes: Buffer, cuts: readonly number[] = [], keep = true): Found[] {
  const reader = createGroupReader({ offset: 0, keep });
  const edges = [...new Set([0, ...cuts.map((cut) => cut % bytes.length), bytes.length])].sort((a, b) => a - b);
  return edges.slice(1).flatMap((edge, index) => reader.push(bytes.subarray(edges[index], edge)));
}

const groups = (found: Found[]) => found.flatMap((each) => (each.kind === 'group' ? [each.group] : []));

describe('transactions of a binlog', () => {
  it('are told apart, with what was before the file', () => {
    const found = readAll(binlog([trx(8), trx(9, { ddl: 'CREATE TABLE t (a INT)' }), trx(10, { heartbeat: true })], { server: 2, seq: 7 }));
    expect(found.map(({ kind }) => kind)).toEqual(['format', 'list', 'group', 'group', 'group']);
    expect(found[1]).toEqual({ kind: 'list', last: [{ domain: 0, server: 2, seq: 7 }] });
    expect(groups(found)).toMatchObject([
      { server: 1, seq: 8, timestamp: 1008, heartbeat: false },
      { seq: 9, heartbeat: false },
      { seq: 10, heartbeat: true },
    ]);
  });

  it('are the same however the bytes come, and their bytes are those of the file', () => {
    const trxs = [trx(1), trx(2, { bytes: 500 }), trx(3, { heartbeat: true }), trx(4, { ddl: 'DROP TABLE t' })];
    const bytes = binlog(trxs);
    const whole = readAll(bytes);
    fc.assert(
      fc.property(fc.array(fc.nat(), { maxLength: 30 }), (cuts) => {
        expect(readAll(bytes, cuts)).toEqual(whole);
      }),
      { numRuns: 200 },
    );
    const kept = whole.flatMap((each) => (each.kind === 'group' ? [Buffer.concat(each.bytes)] : []));
    expect(kept).toEqual(trxs.map(trxEvents));
    for (const { start, end } of groups(whole)) expect(kept).toContainEqual(bytes.subarray(start, end));
  });

  it('are given only when they are complete', () => {
    const bytes = binlog([trx(1), trx(2)]);
    const reader = createGroupReader({ offset: 0, keep: false });
    const last = trxEvents(trx(2)).length;
    expect(groups(reader.push(bytes.subarray(0, bytes.length - 1))).map(({ seq }) => seq)).toEqual([1]);
    expect(reader.whole).toBe(bytes.length - last);
    expect(groups(reader.push(bytes.subarray(-1))).map(({ seq }) => seq)).toEqual([2]);
    expect(reader.whole).toBe(bytes.length);
  });

  it('end with COMMIT where there is no XID, and at the next one where nothing else tells', () => {
    const rows = event(23, Buffer.alloc(20));
    const odd = Buffer.concat([gtidEvent(trx(3), false), queryEvent("XA COMMIT 'x'", 1, 1003)]);
    const unknown = Buffer.concat([gtidEvent(trx(4), false), event(99, Buffer.alloc(5))]);
    const commit = Buffer.concat([gtidEvent(trx(2), false), rows, queryEvent('COMMIT', 1, 1002)]);
    const bytes = Buffer.concat([MAGIC, formatEvent(), gtidList([]), commit, odd, unknown, event(EventType.rotate, Buffer.alloc(12))]);
    expect(groups(readAll(bytes)).map(({ seq }) => seq)).toEqual([2, 3, 4]);
  });

  it('are not believed where a bit is wrong', () => {
    const bytes = binlog([trx(1), trx(2), trx(3)]);
    fc.assert(
      fc.property(fc.integer({ min: MAGIC.length, max: bytes.length - 1 }), fc.integer({ min: 0, max: 7 }), (at, bit) => {
        const damaged = Buffer.from(bytes);
        damaged[at] = damaged[at]! ^ (1 << bit);
        let seen: number[] = [];
        try {
          seen = groups(readAll(damaged)).map(({ seq }) => seq);
        } catch {
          return;
        }
        // Not noticed is only what made the file look shorter, or the flag of the file that the engine itself changes in place.
        expect(seen).toEqual([1, 2, 3].slice(0, seen.length));
        if (at !== MAGIC.length + 17) expect(seen.length).toBeLessThan(3);
      }),
      { numRuns: 400 },
    );
    expect(() => readAll(Buffer.from('no binlog at all'))).toThrow(/not a binlog/);
  });
});
