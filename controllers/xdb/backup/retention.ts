import { timeOfId, UNFINISHED_MS } from '#backup/ids.ts';
import { holds, type Piece, pieceKey } from './binlog/piece.ts';
import { type Catalog, fullKeys } from './catalog.ts';
import { parsePosition } from './position.ts';

export interface Expired {
  /** Ids of full backups that are beyond the number to be kept. */
  fulls: string[];
  /** Keys of what no restore needs. */
  objects: string[];
}

/**
 * What may be deleted: **pure**.
 *
 * The newest `keep` full backups stay, and every piece of binlog that leads on from the oldest of them. Without any full backup nothing is old.
 *
 * @param running ids of full backups that are being made
 */
export function expired(catalog: Catalog, { keep, running, now }: { keep: number; running: readonly string[]; now: Date }): Expired {
  const fulls = catalog.fulls.slice(0, Math.max(0, catalog.fulls.length - keep)).map(({ id }) => id);
  const unfinished = catalog.unfinished.filter(({ id }) => !running.includes(id) && now.getTime() - timeOfId(id) > UNFINISHED_MS);
  const oldest = catalog.fulls[fulls.length];
  const objects = unfinished.map(({ key }) => key);
  if (oldest !== undefined) {
    const from = parsePosition(oldest.gtid);
    objects.push(...catalog.pieces.filter((piece) => piece.last <= from.seq || isCovered(piece, catalog.pieces)).map(pieceKey));
  }
  return { fulls, objects: objects.filter((key) => !fulls.some((id) => key.startsWith(fullKeys(id).folder))) };
}

/** Whether another piece says all that this one says, with no less authority. */
function isCovered(piece: Piece, pieces: readonly Piece[]): boolean {
  if (piece.kind !== 'tail') return false;
  return pieces.some(
    (other) =>
      other.kind === 'whole' &&
      other.epoch >= piece.epoch &&
      other.from.seq <= piece.from.seq &&
      (piece.from.seq === other.from.seq ? piece.from.server === other.from.server : holds(other, piece.from)) &&
      holds(other, { server: piece.runs.at(-1)!.server, seq: piece.last }),
  );
}
