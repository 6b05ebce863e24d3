import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Piece } from './binlog/piece.ts';
import { onwardFrom, type Stretch, stretches } from './history.ts';
import type { Position } from './position.ts';

/** Server of each transaction by its number: what a history is. */
type Servers = readonly number[];

/** The piece that a member with this binlog would archive of the numbers `first`…`last`. */
function pieceOf(log: Servers, first: number, last: number, epoch: number, kind: Piece['kind'] = 'whole'): Piece {
  const runs: Piece['runs'] = [];
  for (let seq = first; seq <= last; seq++) {
    if (runs.at(-1)?.server !== log[seq]) runs.push({ server: log[seq]!, first: seq });
  }
  const from = first === 1 ? { server: 0, seq: 0 } : { server: log[first - 1]!, seq: first - 1 };
  return { epoch, from, runs, last, begins: first, ends: last, member: `m-${epoch}`, kind };
}

/** What a stretch says happened: number → server. */
function told({ links, from }: Pick<Stretch, 'links' | 'from'>): Map<number, number> {
  const seen = new Map<number, number>();
  let at = from.seq;
  for (const { piece, to } of links) {
    for (let seq = at + 1; seq <= to.seq; seq++) seen.set(seq, piece.runs.findLast((run) => run.first <= seq)!.server);
    at = to.seq;
  }
  return seen;
}

const log = (...runs: [server: number, count: number][]): Servers => [
  0,
  ...runs.flatMap(([server, count]) => Array<number>(count).fill(server)),
];

describe('history from an archive', () => {
  it('goes on over a failover, without what the old master wrote and nobody acknowledged', () => {
    // Member 1 archived up to 12 and died; member 2 had it up to 10 and went on.
    const old = log([1, 12]);
    const now = log([1, 10], [2, 10]);
    const found = stretches([pieceOf(old, 1, 6, 1), pieceOf(old, 7, 12, 1), pieceOf(now, 9, 15, 2), pieceOf(now, 16, 20, 2)]);
    expect(found).toHaveLength(1);
    expect([...told(found[0]!).values()]).toEqual(now.slice(1));
  });

  it('does not join where something is missing, and says so', () => {
    const now = log([1, 10], [2, 10]);
    const found = stretches([pieceOf(now, 1, 6, 1), pieceOf(now, 9, 20, 2)]);
    expect(found.map(({ from, to, uncertain }) => [from.seq, to.seq, uncertain])).toEqual([
      [8, 20, false],
      [0, 6, true],
    ]);
  });

  it('never joins an unacknowledged end to a later epoch, even where the numbers fit', () => {
    const old = log([1, 12]);
    const now = log([1, 10], [2, 10]);
    // The piece with the place where the two part was lost.
    const found = stretches([pieceOf(old, 1, 12, 1), pieceOf(now, 13, 20, 2)]);
    expect(found[0]).toMatchObject({ from: { server: 2, seq: 12 }, to: { seq: 20 } });
    expect(onwardFrom(found, { server: 1, seq: 5 })?.to).toEqual({ server: 1, seq: 12 });
    expect(onwardFrom(found, { server: 1, seq: 5 })?.uncertain).toBe(true);
  });

  it('is not certain of what lies under an end that may not have happened, over a gap in it', () => {
    // Member 1 wrote 4 to 6 and nobody acknowledged them; of what went on at 4 only the end was kept.
    const old = log([1, 6]);
    const now = log([1, 3], [2, 4]);
    const found = stretches([pieceOf(old, 1, 4, 1), pieceOf(old, 6, 6, 1), pieceOf(now, 7, 7, 2)]);
    expect(found.map(({ from, to, uncertain }) => [from.seq, to.seq, uncertain])).toEqual([
      [6, 7, false],
      [5, 6, true],
      [0, 4, true],
    ]);
  });

  it('gives what is needed from a backup on', () => {
    const now = log([1, 30]);
    const found = stretches([pieceOf(now, 1, 10, 1), pieceOf(now, 11, 20, 1), pieceOf(now, 21, 30, 1)]);
    expect(onwardFrom(found, { server: 1, seq: 15 })?.links.map(({ piece }) => piece.last)).toEqual([20, 30]);
    expect(onwardFrom(found, { server: 2, seq: 15 })).toBeUndefined();
    expect(onwardFrom(found, { server: 1, seq: 31 })).toBeUndefined();
    expect(onwardFrom(found, { server: 1, seq: 30 })?.to).toEqual({ server: 1, seq: 30 });
  });

  it('is true whatever was archived, lost, doubled or forked', () => {
    const epoch = fc.record({ writes: fc.integer({ min: 1, max: 12 }), unacknowledged: fc.integer({ min: 0, max: 4 }) });
    const cut = fc.record({
      lag: fc.integer({ min: 0, max: 5 }),
      sizes: fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 3, maxLength: 12 }),
    });
    fc.assert(
      fc.property(fc.array(fc.tuple(epoch, cut), { minLength: 1, maxLength: 6 }), fc.infiniteStream(fc.nat({ max: 9 })), (epochs, dice) => {
        let truth: number[] = [0];
        const pieces: Piece[] = [];
        const logs: { log: number[] }[] = [];
        epochs.forEach(([{ writes, unacknowledged }, { lag, sizes }], index) => {
          const number = index + 1;
          const server = (index % 2) + 1 + 10 * number;
          const first = truth.length;
          truth = [...truth, ...Array<number>(writes).fill(server)];
          const own = [...truth, ...(index === epochs.length - 1 ? [] : Array<number>(unacknowledged).fill(server))];
          logs.push({ log: own });
          let at = Math.max(1, first - lag);
          for (const size of sizes) {
            const last = Math.min(own.length - 1, at + size - 1);
            if (last < at) break;
            // One in ten is lost.
            if (dice.next().value !== 0) pieces.push(pieceOf(own, at, last, number));
            at = last + 1;
          }
        });
        if (pieces.length === 0) return;
        const found = stretches(pieces);
        // What happened after the newest epoch of which anything is left cannot be known.
        const happened = logs[Math.max(...pieces.map(({ epoch: number }) => number)) - 1]!.log;
        for (const stretch of found) {
          const said = told(stretch);
          // Without a gap, and only where it says that it does not know it may be wrong.
          const numbers = Array.from({ length: stretch.to.seq - stretch.from.seq }, (_, each) => stretch.from.seq + each + 1);
          expect([...said.keys()]).toEqual(numbers);
          if (!stretch.uncertain) expect([...said.values()]).toEqual(numbers.map((seq) => happened[seq]));
        }
        // Newest first, none over another.
        for (let index = 1; index < found.length; index++) expect(found[index]!.to.seq).toBeLessThanOrEqual(found[index - 1]!.from.seq);
        const position: Position = { server: truth[1]!, seq: 1 };
        const onward = onwardFrom(found, position);
        if (onward !== undefined) expect(told({ links: onward.links, from: onward.from }).get(1)).toBeUndefined();
      }),
      { numRuns: 300 },
    );
  });
});
