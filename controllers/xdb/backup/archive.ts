import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import { type PackOptions, pack } from '#backup/envelope.ts';
import type { BackupStore } from '#backup/stores/store.ts';
import { systemCode } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import { closedFormat, MAGIC } from './binlog/events.ts';
import { type BinlogHead, durableSize, listBinlogs, readHead } from './binlog/files.ts';
import { createGroupReader, type Group, type GroupReader } from './binlog/groups.ts';
import { BINLOG_PREFIX, checkPiece, endOf, holds, MAX_RUNS, type Piece, parsePieceKey, pieceKey } from './binlog/piece.ts';
import { type Position, samePosition } from './position.ts';

/**
 * Copies this member's binlog into the store as it grows: every turn what is new becomes a `tail` piece, and from time to time all of them together one
 * `whole` piece, which replaces them. The engine is not asked for anything: binlogs are files, and only grow.
 *
 * Which member archives when, and what of it is true, does not depend on who archived before: a turn that begins anew reads from the store what is there.
 */
export interface ArchiverOptions {
  store: BackupStore;
  pack: PackOptions;
  /** Index file of the engine's binlogs. */
  index: string;
  domain: number;
  member: string;
  log: Logger;
  /** A whole piece is made of this many bytes of binlog, or after this time, whichever is first. */
  wholeBytes?: number;
  wholeMs?: number;
  /** Monotonic, in milliseconds. */
  now?: () => number;
}

/** When this member may archive: who it is in the record, and which start of the engine it is. */
export interface ArchiveRole {
  epoch: number;
  instance: string;
  /** Sequence number of the oldest full backup's last transaction: what was before is of no use to anybody. */
  since?: number;
}

export interface ArchiveState {
  /** Last transaction that is in the store. */
  position: Position | undefined;
  /** Seconds since 1970 of that transaction. */
  timestamp: number | undefined;
  /** Binlog bytes that were there and not archived at the end of the turn: 0, unless it was interrupted. */
  behindBytes: number;
  /** The archive has nothing that joins the oldest binlog here: what was between the two is not restorable. */
  gapBefore: Position | undefined;
}

export interface Archiver {
  /** @param role undefined: not this member's job now. Nothing but this call runs; never twice at the same time. */
  turn(role: ArchiveRole | undefined, signal: AbortSignal): Promise<ArchiveState>;
}

/** Transactions that follow each other in one file. */
interface Span {
  start: number;
  end: number;
  from: Position;
  runs: Piece['runs'];
  last: number;
  groups: { first: number; last: number };
  heartbeats: { first: number; last: number } | undefined;
}

interface Cursor {
  role: ArchiveRole;
  head: BinlogHead;
  reader: GroupReader;
  /** Offset up to which the reader was fed. */
  read: number;
  position: Position;
  /** What is archived already is passed over. */
  skip: readonly Piece[] | undefined;
  /** Since the last whole piece, and since the last piece of any kind. */
  whole: Span | undefined;
  wholeSince: number;
  tail: Span | undefined;
  tails: string[];
}

const WHOLE_BYTES = 64 * 2 ** 20;
const WHOLE_MS = 10 * 60_000;

export function createArchiver(options: ArchiverOptions): Archiver {
  const { store, index, domain, member, log, wholeBytes = WHOLE_BYTES, wholeMs = WHOLE_MS, now = () => performance.now() } = options;
  let cursor: Cursor | undefined;
  let state: ArchiveState = { position: undefined, timestamp: undefined, behindBytes: 0, gapBefore: undefined };

  async function archived(): Promise<Piece[]> {
    return (await store.list(BINLOG_PREFIX)).flatMap(({ key }) => parsePieceKey(key) ?? []);
  }

  /** Where to go on: in the newest binlog whose beginning is archived, else with the oldest there is. */
  async function begin(role: ArchiveRole): Promise<Cursor | undefined> {
    const pieces = await archived();
    const known = ({ from }: BinlogHead) => {
      if (pieces.length === 0) return from.seq <= (role.since ?? 0);
      return from.seq === 0 || pieces.some((piece) => holds(piece, from) || samePosition(piece.from, from));
    };
    let oldest: BinlogHead | undefined;
    for (const path of (await listBinlogs(index)).reverse()) {
      const head = await readHead(path, domain);
      if (head === undefined) continue;
      oldest = head;
      if (known(head)) return at(head, role, pieces);
    }
    if (oldest === undefined) return undefined;
    if (pieces.length > 0) {
      state.gapBefore = oldest.from;
      log.warn({ from: oldest.from }, 'the binlog archive has a gap: the engine no longer has what was not archived');
    }
    return at(oldest, role, pieces);
  }

  function at(head: BinlogHead, role: ArchiveRole, skip: readonly Piece[] | undefined): Cursor {
    const reader = createGroupReader({ offset: 0, keep: false });
    const fresh = { whole: undefined, wholeSince: now(), tail: undefined, tails: [] };
    return { role, head, reader, read: 0, position: head.from, skip, ...fresh };
  }

  /** Puts one piece. @returns its key */
  async function put(from: Cursor, span: Span, kind: Piece['kind'], signal: AbortSignal): Promise<string> {
    const { first, last } = span.heartbeats ?? span.groups;
    const { runs } = span;
    const piece = checkPiece({ epoch: from.role.epoch, from: span.from, runs, last: span.last, begins: first, ends: last, member, kind });
    const key = pieceKey(piece);
    await store.put(key, pack(Readable.from(fileWith(from.head, span), { objectMode: false }), options.pack), { signal });
    state = { ...state, position: endOf(piece), timestamp: span.groups.last };
    return key;
  }

  async function flush(from: Cursor, signal: AbortSignal, finished: boolean): Promise<void> {
    const { whole, tail } = from;
    if (whole === undefined) return;
    if (finished || whole.end - whole.start >= wholeBytes || now() - from.wholeSince >= wholeMs) {
      await put(from, whole, 'whole', signal);
      for (const key of from.tails) await store.delete(key);
      Object.assign(from, { whole: undefined, wholeSince: now(), tail: undefined, tails: [] });
    } else if (tail !== undefined) {
      from.tails.push(await put(from, tail, 'tail', signal));
      from.tail = undefined;
    }
  }

  /** Takes what the file has until `size`. */
  async function advance(from: Cursor, size: number, signal: AbortSignal): Promise<void> {
    if (size <= from.read) return;
    for await (const chunk of createReadStream(from.head.path, { start: from.read, end: size - 1, highWaterMark: 2 ** 20 })) {
      signal.throwIfAborted();
      from.read += (chunk as Buffer).length;
      for (const found of from.reader.push(chunk as Buffer)) {
        if (found.kind !== 'group') continue;
        if (found.group.domain !== domain) continue;
        await take(from, found.group, signal);
      }
    }
  }

  async function take(from: Cursor, group: Group, signal: AbortSignal): Promise<void> {
    const position = { server: group.server, seq: group.seq };
    if (from.skip?.some((piece) => holds(piece, position))) {
      from.position = position;
      return;
    }
    from.skip = undefined;
    const full = from.whole !== undefined && needsCut(from.whole, group, wholeBytes);
    if (full) await flush(from, signal, true);
    from.whole = extend(from.whole, group, from.position);
    from.tail = extend(from.tail, group, from.position);
    from.position = position;
  }

  async function run(role: ArchiveRole, signal: AbortSignal): Promise<void> {
    cursor ??= await begin(role);
    while (cursor !== undefined) {
      // The list is read before the size: a file that has a successor then does not grow any more.
      const files = await listBinlogs(index);
      const next = files[files.indexOf(cursor.head.path) + 1];
      const size = files.includes(cursor.head.path) ? await durableSize(cursor.head.path) : undefined;
      // Removed, or cut shorter by a start of the engine: look again from the beginning.
      if (size === undefined || size < cursor.read) throw new Lost();
      await advance(cursor, size, signal);
      state.behindBytes = size - cursor.reader.whole;
      await flush(cursor, signal, next !== undefined);
      if (next === undefined) return;
      const head = await readHead(next, domain);
      if (head === undefined) return;
      if (!samePosition(head.from, cursor.position)) throw new Lost();
      cursor = at(head, cursor.role, undefined);
    }
  }

  return {
    async turn(role, signal) {
      if (role === undefined) {
        cursor = undefined;
        return state;
      }
      if (cursor?.role.epoch !== role.epoch || cursor.role.instance !== role.instance) cursor = undefined;
      try {
        await run(role, signal);
      } catch (error) {
        // Whatever was half done: the store knows what is there.
        cursor = undefined;
        if (!(error instanceof Lost) && systemCode(error) !== 'ENOENT') throw error;
        state.gapBefore = undefined;
        await run(role, signal);
      }
      return { ...state };
    },
  };
}

/** The place in the files is not what it was. */
class Lost extends Error {}

function extend(span: Span | undefined, group: Group, from: Position): Span {
  const beat = group.heartbeat ? { first: span?.heartbeats?.first ?? group.timestamp, last: group.timestamp } : span?.heartbeats;
  if (span === undefined) {
    const runs = [{ server: group.server, first: group.seq }];
    const groups = { first: group.timestamp, last: group.timestamp };
    return { start: group.start, end: group.end, from, runs, last: group.seq, groups, heartbeats: beat };
  }
  if (span.runs.at(-1)!.server !== group.server) span.runs.push({ server: group.server, first: group.seq });
  return { ...span, end: group.end, last: group.seq, groups: { first: span.groups.first, last: group.timestamp }, heartbeats: beat };
}

function needsCut(span: Span, group: Group, wholeBytes: number): boolean {
  if (span.end - span.start >= wholeBytes) return true;
  return span.runs.length >= MAX_RUNS && span.runs.at(-1)!.server !== group.server;
}

/** A binlog of its own: magic number, format description, and the span as it stands in the file. */
async function* fileWith({ path, format }: BinlogHead, { start, end }: Span): AsyncGenerator<Buffer> {
  yield MAGIC;
  yield closedFormat(format);
  yield* createReadStream(path, { start, end: end - 1, highWaterMark: 256 * 1024 }) as AsyncIterable<Buffer>;
}
