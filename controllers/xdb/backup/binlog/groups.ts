import { AppError } from '#core/errors.ts';
import {
  type EventHeader,
  EventType,
  type GtidEvent,
  HEADER_BYTES,
  hasChecksums,
  isIntact,
  MAGIC,
  readGtid,
  readGtidList,
  readHeader,
  readQuery,
  readTableMap,
} from './events.ts';

/** One transaction (or one DDL statement) as it stands in a binlog: a GTID event and what belongs to it, always in one piece. */
export interface Group {
  domain: number;
  server: number;
  seq: number;
  /** Seconds since 1970: when the statement that committed it began. A session may lie about it (`SET TIMESTAMP`), see `history.ts`. */
  timestamp: number;
  /** The sidecar's heartbeat: its timestamp is never lied about. */
  heartbeat: boolean;
  /** Offset of its first byte and of the byte after its last one. */
  start: number;
  end: number;
}

export type Found =
  | { kind: 'format'; event: Buffer }
  | { kind: 'list'; last: { domain: number; server: number; seq: number }[] }
  | { kind: 'group'; group: Group; bytes: Buffer[] };

/**
 * Takes a binlog as it comes, in pieces of any size, and gives its transactions. What is not a transaction (checkpoints, rotations, stops) is left out: it
 * means something only in the file it was written to.
 */
export interface GroupReader {
  /** @throws AppError `engine` when an event is damaged or makes no sense here: then nothing after it is believed */
  push(chunk: Buffer): Found[];
  /** Offset up to which everything was given out; what follows is the beginning of something incomplete. */
  readonly whole: number;
  readonly checksums: boolean;
}

export interface GroupReaderOptions {
  /** Offset of the first byte that will be pushed. 0 = the file's magic number. */
  offset: number;
  /** Needed when it does not begin with the format description. */
  checksums?: boolean;
  /** Whether the bytes of transactions are kept; without, only their extent is told. */
  keep: boolean;
}

const BETWEEN_GROUPS: readonly number[] = [EventType.gtid, EventType.gtidList, EventType.format, EventType.stop, EventType.rotate];
const BEFORE_THE_STATEMENT: readonly number[] = [EventType.intvar, EventType.rand, EventType.userVar, EventType.annotate];

export function createGroupReader({ offset, checksums = true, keep }: GroupReaderOptions): GroupReader {
  /** What came and was not enough, and how much is needed to go on: a large event is put together once, not with each chunk. */
  let pending: Buffer[] = [];
  let held = 0;
  let needed = 0;
  let at = offset;
  let whole = offset;
  let checked = checksums;
  let magicSeen = offset > 0;
  let open: { gtid: GtidEvent; group: Group; bytes: Buffer[] } | undefined;

  function finish(end: number): Found {
    const { group, bytes } = open!;
    open = undefined;
    whole = end;
    return { kind: 'group', group: { ...group, end }, bytes };
  }

  function take(event: Buffer, header: EventHeader, start: number, end: number): Found | undefined {
    if (header.type === EventType.format) {
      checked = hasChecksums(event);
      if (!isIntact(event, true)) throw damaged(start);
      whole = end;
      return { kind: 'format', event: Buffer.from(event) };
    }
    if (!isIntact(event, checked)) throw damaged(start);
    if (header.type === EventType.startEncryption) {
      throw new AppError('engine', 'the binlog is encrypted by the engine: it cannot be archived', {
        hint: 'archives are encrypted by themselves',
      });
    }
    if (header.type === EventType.gtid) {
      const gtid = readGtid(event, header);
      const group = { domain: gtid.domain, server: gtid.server, seq: gtid.seq, timestamp: header.timestamp, heartbeat: false, start, end };
      open = { gtid, group, bytes: keep ? [Buffer.from(event)] : [] };
      return undefined;
    }
    if (open === undefined) {
      // Not part of any transaction, but what is before the next one must not be read again.
      whole = end;
      return header.type === EventType.gtidList ? { kind: 'list', last: readGtidList(event) } : undefined;
    }
    if (keep) open.bytes.push(Buffer.from(event));
    if (header.type === EventType.tableMap) {
      const { database, table } = readTableMap(event);
      if (database === 'xcaas' && table === 'heartbeat') open.group.heartbeat = true;
    }
    return endsGroup(open.gtid, event, header, checked) ? finish(end) : undefined;
  }

  return {
    get whole() {
      return whole;
    },
    get checksums() {
      return checked;
    },
    push(chunk) {
      const found: Found[] = [];
      pending.push(chunk);
      held += chunk.length;
      if (held < needed) return found;
      let buffer = pending.length === 1 ? chunk : Buffer.concat(pending);
      if (!magicSeen && buffer.length >= MAGIC.length) {
        if (!buffer.subarray(0, MAGIC.length).equals(MAGIC))
          throw new AppError('engine', 'this is not a binlog: its first bytes are wrong');
        magicSeen = true;
        buffer = buffer.subarray(MAGIC.length);
        at += MAGIC.length;
        whole = at;
      }
      let used = 0;
      needed = HEADER_BYTES;
      while (magicSeen && buffer.length - used >= HEADER_BYTES) {
        const header = readHeader(buffer, used);
        needed = header.length;
        if (buffer.length - used < needed) break;
        const event = buffer.subarray(used, used + header.length);
        // A group whose end was not recognised ends where the next thing begins.
        if (open !== undefined && BETWEEN_GROUPS.includes(header.type)) found.push(finish(at));
        const result = take(event, header, at, at + header.length);
        used += header.length;
        at += header.length;
        needed = HEADER_BYTES;
        if (result !== undefined) found.push(result);
      }
      // A copy: the chunk may be a buffer that is used again.
      pending = [Buffer.from(buffer.subarray(used))];
      held = buffer.length - used;
      return found;
    },
  };
}

function endsGroup(gtid: GtidEvent, event: Buffer, header: EventHeader, checksums: boolean): boolean {
  if (gtid.standalone) return !BEFORE_THE_STATEMENT.includes(header.type);
  if (header.type === EventType.xid || header.type === EventType.xaPrepare) return true;
  return header.type === EventType.query && /^(COMMIT|ROLLBACK|XA (COMMIT|ROLLBACK)\b.*)$/is.test(readQuery(event, checksums).trim());
}

function damaged(at: number): AppError {
  return new AppError('engine', `the binlog is damaged at byte ${at}: a checksum does not fit`);
}
