import type { Readable } from 'node:stream';
import { AppError } from '#core/errors.ts';
import type { Link } from '../history.ts';
import { formatPosition, type Position, samePosition } from '../position.ts';
import { MAGIC } from './events.ts';
import { createGroupReader, type Found, type Group } from './groups.ts';
import { pieceKey } from './piece.ts';

/** Opens an object of the store and gives its content. */
export type OpenObject = (key: string) => Promise<Readable>;

type Item = Extract<Found, { kind: 'format' | 'group' }>;

/**
 * The transactions of a stretch of history after `from`, in order, each once, and the format descriptions that they need.
 *
 * @throws AppError `invalid` when a piece does not hold what its name says
 */
async function* items(links: readonly Link[], from: Position, open: OpenObject, keep: boolean): AsyncGenerator<Item> {
  let at = from;
  for (const { piece, to } of links) {
    const reader = createGroupReader({ offset: 0, keep });
    const content = await open(pieceKey(piece));
    try {
      for await (const chunk of content) {
        for (const found of reader.push(chunk as Buffer)) {
          if (found.kind === 'format') yield found;
          if (found.kind !== 'group' || found.group.seq <= at.seq || found.group.seq > to.seq) continue;
          at = positionOf(found.group);
          yield found;
        }
      }
    } finally {
      content.destroy();
    }
    if (!samePosition(at, to)) {
      const [found, told] = [formatPosition(at), formatPosition(to)];
      throw new AppError('invalid', `a piece of the binlog archive ends at ${found} and says that it ends at ${told}: ${pieceKey(piece)}`);
    }
  }
}

/** A binlog of these transactions, up to and with `upTo`. */
export async function* binlogOf(links: readonly Link[], from: Position, upTo: Position, open: OpenObject): AsyncGenerator<Buffer> {
  yield MAGIC;
  let format: Buffer | undefined;
  const cut = upToPosition(links, upTo);
  for await (const item of items(cut, from, open, true)) {
    if (item.kind === 'group') yield Buffer.concat(item.bytes);
    else if (format === undefined || !format.equals(item.event)) {
      format = item.event;
      yield item.event;
    }
  }
}

/** The same links as far as they are needed to come to `upTo`. */
export function upToPosition(links: readonly Link[], upTo: Position): Link[] {
  const last = links.findIndex(({ to }) => to.seq >= upTo.seq);
  if (last < 0) return [...links];
  return [...links.slice(0, last), { ...links[last]!, to: upTo }];
}

/**
 * The last transaction before the moment `seconds` (since 1970): everything that was committed earlier, nothing that was committed in that second or later.
 *
 * A transaction's time is when its last statement began, as its session has it. A session can claim any time (`SET TIMESTAMP`), so between two heartbeats
 * nothing is believed that contradicts them.
 *
 * @returns undefined when nothing in these links is as late as `seconds`: what was committed just before may be missing
 */
export async function lastBefore(links: readonly Link[], from: Position, seconds: number, open: OpenObject): Promise<Position | undefined> {
  // Times of names are by heartbeats where there are any; one piece earlier may hold the last heartbeat before.
  const late = links.findIndex(({ piece }) => piece.ends >= seconds);
  if (late < 0) return undefined;
  const begin = Math.max(0, late - 1);
  let at = begin === 0 ? from : links[begin - 1]!.to;
  let stop: Position | undefined;
  for await (const item of items(links.slice(begin), at, open, false)) {
    if (item.kind !== 'group') continue;
    const { group } = item;
    if (group.timestamp >= seconds) stop ??= at;
    else if (group.heartbeat) stop = undefined;
    if (group.heartbeat && group.timestamp >= seconds) return stop;
    at = positionOf(group);
  }
  return stop;
}

function positionOf({ server, seq }: Group): Position {
  return { server, seq };
}
