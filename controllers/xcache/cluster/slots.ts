/** Pure: which slots a cluster's masters have, and which move when masters come and go. */

export const SLOTS = 16_384;

/** From `first` to `last`, both included. */
export interface SlotRange {
  first: number;
  last: number;
}

export interface SlotMove extends SlotRange {
  from: string;
  to: string;
}

export function countOf(ranges: readonly SlotRange[]): number {
  return ranges.reduce((total, { first, last }) => total + last - first + 1, 0);
}

export function contains({ first, last }: SlotRange, slot: number): boolean {
  return first <= slot && slot <= last;
}

/** What of these ranges lies in `share`. */
export function common(share: SlotRange, ranges: readonly SlotRange[]): SlotRange[] {
  return ranges.flatMap(({ first, last }) => {
    const both = { first: Math.max(first, share.first), last: Math.min(last, share.last) };
    return both.first <= both.last ? [both] : [];
  });
}

/** Even shares, in the order of the masters: the first of them get one slot more where it does not come out even. */
export function evenShares(masters: readonly string[]): Map<string, SlotRange[]> {
  const shares = new Map<string, SlotRange[]>();
  let first = 0;
  masters.forEach((master, index) => {
    const count = Math.floor(SLOTS / masters.length) + (index < SLOTS % masters.length ? 1 : 0);
    shares.set(master, [{ first, last: first + count - 1 }]);
    first += count;
  });
  return shares;
}

/**
 * The fewest slots that have to move so that each of `masters` has an even share and nobody else has any. A move is a whole range: one call of the engine's.
 *
 * @param owners what masters have now; slots that nobody has are no move, see {@link unowned}
 */
export function planMoves(owners: ReadonlyMap<string, readonly SlotRange[]>, masters: readonly string[]): SlotMove[] {
  const has = (master: string) => countOf(owners.get(master) ?? []);
  const total = [...owners.values()].reduce((sum, ranges) => sum + countOf(ranges), 0);
  // Who has most keeps most: the slots that do not come out even stay where they are.
  const byHeld = masters.toSorted((a, b) => has(b) - has(a) || (a < b ? -1 : 1));
  const share = new Map(
    byHeld.map((master, index) => [master, Math.floor(total / masters.length) + (index < total % masters.length ? 1 : 0)]),
  );
  const givers = [...owners.keys()].toSorted().flatMap((master) => {
    const spare = has(master) - (share.get(master) ?? 0);
    return spare > 0 ? [{ master, ranges: takeLast(owners.get(master) ?? [], spare) }] : [];
  });
  const moves: SlotMove[] = [];
  const queue = givers.flatMap(({ master, ranges }) => ranges.map((range) => ({ from: master, ...range })));
  for (const to of masters) {
    let wanted = (share.get(to) ?? 0) - has(to);
    while (wanted > 0) {
      const range = queue.shift();
      if (range === undefined) return moves;
      const size = range.last - range.first + 1;
      const last = range.first + Math.min(size, wanted) - 1;
      moves.push({ from: range.from, to, first: range.first, last });
      if (last < range.last) queue.unshift({ ...range, first: last + 1 });
      wanted -= last - range.first + 1;
    }
  }
  return moves;
}

/** The last `count` slots of these ranges. */
function takeLast(ranges: readonly SlotRange[], count: number): SlotRange[] {
  const taken: SlotRange[] = [];
  let left = count;
  for (const { first, last } of ranges.toSorted((a, b) => b.first - a.first)) {
    if (left <= 0) break;
    const from = Math.max(first, last - left + 1);
    taken.unshift({ first: from, last });
    left -= last - from + 1;
  }
  return taken;
}

/** Slots that nobody has: a cluster with one of them refuses everything until it is given to somebody. */
export function unowned(owners: ReadonlyMap<string, readonly SlotRange[]>): SlotRange[] {
  const all = [...owners.values()].flat().toSorted((a, b) => a.first - b.first);
  const gaps: SlotRange[] = [];
  let next = 0;
  for (const { first, last } of all) {
    if (first > next) gaps.push({ first: next, last: first - 1 });
    next = Math.max(next, last + 1);
  }
  if (next < SLOTS) gaps.push({ first: next, last: SLOTS - 1 });
  return gaps;
}

/** Applies moves; for tests, and to say what is left after some of them. */
export function applyMoves(owners: ReadonlyMap<string, readonly SlotRange[]>, moves: readonly SlotMove[]): Map<string, SlotRange[]> {
  const holder = new Array<string | undefined>(SLOTS).fill(undefined);
  for (const [master, ranges] of owners) for (const { first, last } of ranges) holder.fill(master, first, last + 1);
  for (const { to, first, last } of moves) holder.fill(to, first, last + 1);
  const result = new Map<string, SlotRange[]>([...owners.keys()].map((master) => [master, []]));
  for (let slot = 0; slot < SLOTS; slot += 1) {
    const master = holder[slot];
    if (master === undefined) continue;
    const ranges = result.get(master) ?? [];
    const previous = ranges.at(-1);
    if (previous?.last === slot - 1) previous.last = slot;
    else ranges.push({ first: slot, last: slot });
    result.set(master, ranges);
  }
  return result;
}
