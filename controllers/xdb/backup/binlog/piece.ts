import { AppError } from '#core/errors.ts';
import { name as memberName } from '#core/names.ts';
import { type Position, samePosition } from '../position.ts';

/**
 * One object of the binlog archive: the transactions after `from` up to and with `to`, in one go. Everything that planning a restore needs stands in its
 * name, so that a list of names is the archive's whole catalogue.
 */
export interface Piece {
  /** Epoch of the database in which it was archived: of two histories that disagree, the one of the higher epoch is what happened. */
  epoch: number;
  from: Position;
  /** Who wrote what is in it, in order: `server` from `first` on. At least one. */
  runs: { server: number; first: number }[];
  /** Sequence number of the last transaction. */
  last: number;
  /** Seconds since 1970 of its first and last transaction, by heartbeats where there are any. */
  begins: number;
  ends: number;
  member: string;
  /** `tail`: short, replaced by the next `whole` one that covers it. */
  kind: 'tail' | 'whole';
}

/** A piece of more runs is cut: names must fit 255 bytes, the least that a store allows. */
export const MAX_RUNS = 4;

export const BINLOG_PREFIX = 'binlog/';

const NAME =
  /^binlog\/(?<epoch>\d{8})_(?<last>\d{15})_(?<from>\d+-\d+)_(?<runs>\d+@\d+(?:,\d+@\d+)*)_(?<begins>\d+)-(?<ends>\d+)_(?<member>[a-z0-9-]+)\.(?<kind>tail|whole)$/;

export function pieceKey(piece: Piece): string {
  const runs = piece.runs.map(({ server, first }) => `${server}@${first}`).join(',');
  const [epoch, last] = [String(piece.epoch).padStart(8, '0'), String(piece.last).padStart(15, '0')];
  const from = `${piece.from.server}-${piece.from.seq}`;
  return `${BINLOG_PREFIX}${epoch}_${last}_${from}_${runs}_${piece.begins}-${piece.ends}_${piece.member}.${piece.kind}`;
}

/** @returns undefined for what is no piece: somebody else's file, a newer version's */
export function parsePieceKey(key: string): Piece | undefined {
  const groups = NAME.exec(key)?.groups;
  if (groups === undefined) return undefined;
  const [server, seq] = groups.from!.split('-').map(Number);
  const member = memberName.safeParse(groups.member);
  if (!member.success) return undefined;
  return {
    epoch: Number(groups.epoch),
    from: { server: server!, seq: seq! },
    runs: groups.runs!.split(',').map((run) => {
      const [by, first] = run.split('@').map(Number);
      return { server: by!, first: first! };
    }),
    last: Number(groups.last),
    begins: Number(groups.begins),
    ends: Number(groups.ends),
    member: member.data,
    kind: groups.kind as Piece['kind'],
  };
}

/** Its last transaction. */
export function endOf(piece: Piece): Position {
  return { server: piece.runs.at(-1)!.server, seq: piece.last };
}

/** Server that wrote the transaction of this number, undefined when it is not in the piece. */
export function serverAt(piece: Piece, seq: number): number | undefined {
  if (seq > piece.last) return undefined;
  return piece.runs.findLast((run) => run.first <= seq)?.server;
}

/** Whether exactly this transaction is in it. */
export function holds(piece: Piece, position: Position): boolean {
  return position.seq > 0 && serverAt(piece, position.seq) === position.server;
}

/** Whether the history after this position goes on in it: it is in it, or is what it begins after. */
export function continues(piece: Piece, position: Position): boolean {
  return samePosition(piece.from, position) || (holds(piece, position) && position.seq < piece.last);
}

export function checkPiece(piece: Piece): Piece {
  const { runs, last, from } = piece;
  if (runs.length === 0 || runs[0]!.first <= from.seq || last < runs.at(-1)!.first) {
    throw new AppError('internal', `a piece of the binlog archive makes no sense: ${pieceKey(piece)}`);
  }
  return piece;
}
