import { AppError } from '#core/errors.ts';
import { endOf } from './binlog/piece.ts';
import { lastBefore, type OpenObject, upToPosition } from './binlog/stream.ts';
import type { Catalog } from './catalog.ts';
import { type Link, onwardFrom, type Stretch, stretches } from './history.ts';
import { BEGINNING, formatPosition, type Position, parsePosition, samePosition } from './position.ts';
import type { BackupMarker } from './schema.ts';

export type RestoreTarget =
  /** The data as of a full backup. */
  | { kind: 'backup'; id: string }
  /** The data as it was at the moment: what was committed before it, and nothing else. */
  | { kind: 'time'; at: Date }
  /** Up to and with a transaction; from that backup, when one is named. */
  | { kind: 'gtid'; gtid: string; id?: string }
  /** All there is. */
  | { kind: 'latest' };

export interface RestorePlan {
  full: BackupMarker;
  from: Position;
  /** Pieces of binlog to be applied after it, in order. */
  links: Link[];
  upTo: Position;
  /** Said to whoever restores, where there is something to say. */
  warning: string | undefined;
}

/** Times between which every second can be restored; `from` = `to` for a full backup without a binlog behind it. Seconds since 1970. */
export interface RestoreWindow {
  from: number;
  to: number;
}

const UNCERTAIN =
  'the last transactions before the gap in the archive may never have been acknowledged: the database went on without what lies between, after a failover';

/**
 * Chooses what to restore from. Nothing is guessed: a moment that the archive does not cover is refused.
 *
 * @throws AppError `not_found` for a backup that is not there, `invalid` for a moment or position outside of what can be restored, naming what can
 */
export async function planRestore(catalog: Catalog, target: RestoreTarget, open: OpenObject): Promise<RestorePlan> {
  const { fulls, pieces } = catalog;
  if (fulls.length === 0) {
    throw new AppError('not_found', 'there is no complete backup', {
      hint: 'db backup create NAME makes one; db backup list NAME shows what became of others',
    });
  }
  if (target.kind === 'backup') {
    const full = fulls.find(({ id }) => id === target.id);
    if (full === undefined) {
      throw new AppError('not_found', `there is no complete backup ${target.id}`, {
        hint: `there is ${fulls.map(({ id }) => id).join(', ')}`,
      });
    }
    // A data set of several domains has no one position, and none is needed where nothing is applied.
    const at = positionOf(full) ?? BEGINNING;
    return { full, from: at, links: [], upTo: at, warning: undefined };
  }
  const found = stretches(pieces);
  const wanted = target.kind === 'gtid' ? target.id : undefined;
  const candidates = fulls.filter(({ id, gtid }) => (wanted === undefined || id === wanted) && isOnePosition(gtid));
  for (const full of candidates.reverse()) {
    const upTo = await reach(full, found, target, open);
    if (upTo === undefined) continue;
    const from = parsePosition(full.gtid);
    const stretch = onwardFrom(found, from);
    const links = samePosition(from, upTo) || stretch === undefined ? [] : upToPosition(stretch.links, upTo);
    const warning = stretch?.uncertain && links.length > 0 && samePosition(upTo, stretch.to) ? UNCERTAIN : undefined;
    return { full, from, links, upTo, warning };
  }
  throw outside(catalog, target);
}

/** Up to where this backup is to be brought forward, undefined when the target cannot be reached from it. */
async function reach(full: BackupMarker, found: Stretch[], target: RestoreTarget, open: OpenObject): Promise<Position | undefined> {
  const from = parsePosition(full.gtid);
  const stretch = onwardFrom(found, from);
  if (target.kind === 'latest') return stretch?.to ?? from;
  if (target.kind === 'gtid') {
    const wanted = parsePosition(target.gtid);
    if (samePosition(wanted, from)) return from;
    const contained = stretch?.links.some(({ piece, to }) => wanted.seq > from.seq && wanted.seq <= to.seq && serverOf(piece, wanted));
    return contained ? wanted : undefined;
  }
  if (target.kind !== 'time') return undefined;
  const seconds = Math.floor(target.at.getTime() / 1000);
  if (full.at >= seconds || stretch === undefined) return undefined;
  return lastBefore(stretch.links, from, seconds, open);
}

/** @returns undefined for data of several GTID domains */
function positionOf({ gtid }: BackupMarker): Position | undefined {
  return isOnePosition(gtid) ? parsePosition(gtid) : undefined;
}

function isOnePosition(gtid: string): boolean {
  return !gtid.includes(',');
}

function serverOf(piece: Link['piece'], { server, seq }: Position): boolean {
  return seq > piece.from.seq && piece.runs.findLast((run) => run.first <= seq)?.server === server;
}

/** What can be restored, oldest first, windows that touch put together. */
export function restoreWindows({ fulls, pieces }: Catalog): RestoreWindow[] {
  const found = stretches(pieces);
  const windows = fulls.map((full): RestoreWindow => {
    const position = positionOf(full);
    const last = position && onwardFrom(found, position)?.links.at(-1)?.piece;
    return { from: full.at + 1, to: Math.max(full.at + 1, last?.ends ?? 0) };
  });
  const joined: RestoreWindow[] = [];
  for (const window of windows.sort((a, b) => a.from - b.from)) {
    const before = joined.at(-1);
    if (before !== undefined && window.from <= before.to) before.to = Math.max(before.to, window.to);
    else joined.push({ ...window });
  }
  return joined;
}

function outside(catalog: Catalog, target: RestoreTarget): AppError {
  const windows = restoreWindows(catalog).map(({ from, to }) => (from === to ? time(from) : `${time(from)} to ${time(to)}`));
  const what = target.kind === 'time' ? target.at.toISOString() : target.kind === 'gtid' ? target.gtid : 'that';
  const last = catalog.pieces
    .map(endOf)
    .reduce<Position | undefined>((best, each) => (best === undefined || each.seq > best.seq ? each : best), undefined);
  const until = target.kind === 'gtid' && last !== undefined ? `; the last archived transaction is ${formatPosition(last)}` : '';
  return new AppError('invalid', `${what} cannot be restored: what can be is ${windows.join(' and ')}${until}`, {
    hint: 'take a moment inside; what was committed in the last seconds is there as soon as it is archived',
  });
}

function time(seconds: number): string {
  return new Date(seconds * 1000).toISOString().replace('.000Z', 'Z');
}
