import { AppError } from '#core/errors.ts';
import type { Gtid } from '#xdb/engine/engine.ts';

/**
 * MariaDB's global transaction ids: `domain-server-sequence`, lists of them separated by commas. In strict mode sequence numbers of a domain only grow,
 * whichever server writes, so that within one history "has this transaction" means "has all before it".
 */
export interface GtidParts {
  domain: number;
  server: number;
  seq: bigint;
}

/** Position by domain: the last transaction of each. */
export type GtidPosition = ReadonlyMap<number, GtidParts>;

const ONE = /^(\d{1,10})-(\d{1,10})-(\d{1,20})$/;

/**
 * @param text `0-1-42`, `0-1-42,7-3-1` or nothing; of several of one domain (`gtid_binlog_state`) the last counts, i.e. the one of the highest number
 * @throws AppError `invalid`
 */
export function parseGtid(text: Gtid): GtidPosition {
  const position = new Map<number, GtidParts>();
  for (const part of text.split(',').map((one) => one.trim())) {
    if (part === '') continue;
    const match = ONE.exec(part);
    if (match === null)
      throw new AppError('invalid', `${JSON.stringify(part.slice(0, 60))} is not a GTID`, { hint: 'it looks like 0-1-42' });
    const gtid = { domain: Number(match[1]), server: Number(match[2]), seq: BigInt(match[3]!) };
    const known = position.get(gtid.domain);
    if (known === undefined || known.seq < gtid.seq) position.set(gtid.domain, gtid);
  }
  return position;
}

export function formatGtid(position: GtidPosition): Gtid {
  const parts = [...position.values()].sort((a, b) => a.domain - b.domain);
  return parts.map(({ domain, server, seq }) => `${domain}-${server}-${seq}`).join(',');
}

/**
 * Whether `a` is as far as `b`, or further, in every domain. The same number by another server is not the same transaction. A number that is higher, by whichever
 * server, is taken for a continuation: two histories that parted below it cannot be told from one here, only by the binlog itself (`compare.ts`).
 */
export function containsGtid(a: Gtid, b: Gtid): boolean {
  const mine = parseGtid(a);
  return [...parseGtid(b).values()].every((theirs) => {
    const own = mine.get(theirs.domain);
    return own !== undefined && (own.seq > theirs.seq || (own.seq === theirs.seq && own.server === theirs.server));
  });
}

export function compareGtid(a: Gtid, b: Gtid): -1 | 0 | 1 | undefined {
  const [forth, back] = [containsGtid(a, b), containsGtid(b, a)];
  if (forth && back) return 0;
  if (forth) return 1;
  return back ? -1 : undefined;
}

/** The furthest of both in every domain: what an engine holds is in its binlog or was applied, or both. */
export function newestGtid(a: Gtid, b: Gtid): Gtid {
  const newest = new Map(parseGtid(a));
  for (const gtid of parseGtid(b).values()) {
    const known = newest.get(gtid.domain);
    if (known === undefined || known.seq < gtid.seq) newest.set(gtid.domain, gtid);
  }
  return formatGtid(newest);
}
