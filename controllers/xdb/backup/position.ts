import { AppError } from '#core/errors.ts';
import type { Gtid } from '#xdb/engine/engine.ts';

/**
 * A point in the history of one database: what the last transaction before it is called. Within a history the pair of server and sequence number names
 * one transaction for ever (rule E1 of the protocol), and who has it has all that came before it.
 */
export interface Position {
  server: number;
  seq: number;
}

/** Before the first transaction. */
export const BEGINNING: Position = { server: 0, seq: 0 };

export function samePosition(a: Position, b: Position): boolean {
  return a.seq === b.seq && (a.seq === 0 || a.server === b.server);
}

/**
 * @param text `0-1-42`, or nothing for the beginning
 * @throws AppError `invalid` when it is not one position of one domain: several domains have no one order, and no "to any second" therefore
 */
export function parsePosition(text: Gtid): Position {
  const trimmed = text.trim();
  if (trimmed === '') return BEGINNING;
  const parts = /^(\d+)-(\d+)-(\d+)$/.exec(trimmed);
  if (parts === null) {
    throw new AppError('invalid', `${trimmed} is not one position of one GTID domain`, {
      hint: 'a database that follows several domains can be backed up, and not be restored to a second',
    });
  }
  return { server: Number(parts[2]), seq: Number(parts[3]) };
}

export function formatPosition(position: Position, domain = 0): Gtid {
  return position.seq === 0 ? '' : `${domain}-${position.server}-${position.seq}`;
}
