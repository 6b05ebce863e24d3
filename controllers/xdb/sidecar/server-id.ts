import { createHash } from 'node:crypto';

/**
 * An engine's number among all that may ever exchange transactions: different for each member of one database by its last twelve bits, which are the member's own
 * number, and for other databases most probably by the others, so that one may follow another.
 *
 * @param member `<database>-<number>`
 */
export function serverIdOf(db: string, member: string): number {
  const hash = createHash('sha256').update(db).digest().readUInt32BE(0);
  const number = Number(/-(\d+)$/.exec(member)?.[1] ?? 0) % 4096;
  // Never 0, which means "no number".
  return (((hash >>> 12) << 12) | number | (number === 0 ? 4095 : 0)) >>> 0 || 1;
}
