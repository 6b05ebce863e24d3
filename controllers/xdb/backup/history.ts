import { endOf, holds, type Piece } from './binlog/piece.ts';
import { type Position, samePosition } from './position.ts';

/**
 * Which transactions happened, from what is in the archive: **pure**.
 *
 * Members archive one after another, and what a master archived in its last moments may never have happened (nobody acknowledged it, and its successor went on
 * without it). Going forward, two pieces may both continue one position and nothing there tells which is true. Going backward there is never a choice: a
 * position names one transaction, and that has one past. So a history is read from its end, which is the last transaction of the highest epoch.
 */

/** A piece, of which only what is up to and with `to` belongs to the history. */
export interface Link {
  piece: Piece;
  to: Position;
}

/** History without a gap. */
export interface Stretch {
  /** Oldest first. */
  links: Link[];
  from: Position;
  to: Position;
  /**
   * The last transactions of it may not have happened: the history went on in a later epoch, and what lies between was not archived.
   */
  uncertain: boolean;
}

/** @returns newest first; more than one: there are gaps */
export function stretches(pieces: readonly Piece[]): Stretch[] {
  const found: Stretch[] = [];
  let candidates = [...pieces];
  let above: { epoch: number; seq: number; uncertain: boolean } | undefined;
  while (candidates.length > 0) {
    const newest = candidates.reduce((best, each) => (isNewer(each, best) ? each : best));
    // What lies under a stretch of the same epoch that may not have happened may not have happened either.
    const stretch = walkBack(pieces, newest, above !== undefined && (newest.epoch < above.epoch || above.uncertain));
    found.push(stretch);
    above = { epoch: Math.max(...stretch.links.map(({ piece }) => piece.epoch)), seq: stretch.from.seq, uncertain: stretch.uncertain };
    // What is left ends before the gap. What reaches over it and does not join is of a history that did not happen.
    candidates = candidates.filter((piece) => piece.last <= above!.seq && !stretch.links.some((link) => link.piece === piece));
  }
  return found;
}

/** The stretch, from this position on, by which a copy of the data at this position can be brought forward; undefined when there is none. */
export function onwardFrom(found: readonly Stretch[], position: Position): Stretch | undefined {
  for (const stretch of found) {
    if (samePosition(stretch.from, position)) return stretch;
    const index = stretch.links.findIndex(({ piece, to }) => holds(piece, position) && position.seq <= to.seq);
    if (index < 0) continue;
    return { ...stretch, links: stretch.links.slice(index), from: position };
  }
  return undefined;
}

/**
 * The last transaction of the piece that is true: its own end when the history ends in it or goes on from it.
 */
function walkBack(pieces: readonly Piece[], newest: Piece, uncertain: boolean): Stretch {
  const links: Link[] = [];
  const to = endOf(newest);
  let at = to;
  for (;;) {
    const piece = widest(pieces.filter((each) => holds(each, at)));
    if (piece === undefined) break;
    links.unshift({ piece, to: at });
    at = piece.from;
    if (at.seq === 0) break;
  }
  return { links, from: at, to, uncertain };
}

function isNewer(a: Piece, b: Piece): boolean {
  if (a.epoch !== b.epoch) return a.epoch > b.epoch;
  return a.last > b.last;
}

function widest(pieces: readonly Piece[]): Piece | undefined {
  return pieces.reduce<Piece | undefined>((best, each) => (best === undefined || each.from.seq < best.from.seq ? each : best), undefined);
}
