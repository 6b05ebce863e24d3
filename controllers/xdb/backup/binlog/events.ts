import { crc32 } from 'node:zlib';
import { AppError } from '#core/errors.ts';

/**
 * What of MariaDB's binlog format is needed to copy it by whole transactions. Sources: MariaDB's documentation of the replication protocol
 * ("Binlog event header", "GTID_EVENT", "GTID_LIST_EVENT", "TABLE_MAP_EVENT").
 */

export const MAGIC = Buffer.from([0xfe, 0x62, 0x69, 0x6e]);
export const HEADER_BYTES = 19;
const CRC_BYTES = 4;
/** Largest event that is believed: `max_allowed_packet` cannot be more than 1 GiB, and a header that says more was never one. */
const MAX_EVENT_BYTES = 2 ** 30 + 2 ** 20;

export const EventType = {
  query: 2,
  stop: 3,
  rotate: 4,
  intvar: 5,
  rand: 13,
  userVar: 14,
  format: 15,
  xid: 16,
  tableMap: 19,
  xaPrepare: 38,
  annotate: 160,
  checkpoint: 161,
  gtid: 162,
  gtidList: 163,
  startEncryption: 164,
  queryCompressed: 165,
} as const;

export interface EventHeader {
  /** Seconds since 1970, of the server that first wrote it. */
  timestamp: number;
  type: number;
  server: number;
  /** Bytes of the event, header and checksum included. */
  length: number;
  flags: number;
}

/** @throws AppError `engine` when it cannot be a header */
export function readHeader(buffer: Buffer, at: number): EventHeader {
  const length = buffer.readUInt32LE(at + 9);
  if (length < HEADER_BYTES || length > MAX_EVENT_BYTES) {
    throw new AppError('engine', `the binlog is damaged: an event says it is ${length} bytes long`);
  }
  return {
    timestamp: buffer.readUInt32LE(at),
    type: buffer.readUInt8(at + 4),
    server: buffer.readUInt32LE(at + 5),
    length,
    flags: buffer.readUInt16LE(at + 17),
  };
}

const IN_USE_FLAG = 0x1;

/** Whether an event is what was written. @param checksums whether its file carries CRC32s (see {@link hasChecksums}) */
export function isIntact(event: Buffer, checksums: boolean): boolean {
  if (!checksums) return true;
  const body = event.subarray(0, event.length - CRC_BYTES);
  const expected = event.readUInt32LE(event.length - CRC_BYTES);
  if (crc32(body) === expected) return true;
  if (event.readUInt8(4) !== EventType.format) return false;
  // The flag "in use" of a file is set and cleared in place; its checksum is of the event without it.
  const cleared = Buffer.from(body);
  cleared.writeUInt16LE(cleared.readUInt16LE(17) & ~IN_USE_FLAG, 17);
  return crc32(cleared) === expected;
}

/** Whether the events after this format description carry a CRC32. Its last five bytes are the algorithm and its own checksum. */
export function hasChecksums(format: Buffer): boolean {
  return format.readUInt8(format.length - CRC_BYTES - 1) === 1;
}

/** The same format description as the file's last writer would have left it: not in use. */
export function closedFormat(format: Buffer): Buffer {
  const closed = Buffer.from(format);
  closed.writeUInt16LE(closed.readUInt16LE(17) & ~IN_USE_FLAG, 17);
  return closed;
}

const GTID_STANDALONE = 0x1;

export interface GtidEvent {
  domain: number;
  server: number;
  seq: number;
  /** A single statement that no COMMIT follows (DDL). */
  standalone: boolean;
}

export function readGtid(event: Buffer, header: EventHeader): GtidEvent {
  return {
    seq: Number(event.readBigUInt64LE(HEADER_BYTES)),
    domain: event.readUInt32LE(HEADER_BYTES + 8),
    server: header.server,
    standalone: (event.readUInt8(HEADER_BYTES + 12) & GTID_STANDALONE) !== 0,
  };
}

/** What was in the binlog before this file: the last transaction of each server in each domain. */
export function readGtidList(event: Buffer): { domain: number; server: number; seq: number }[] {
  const count = event.readUInt32LE(HEADER_BYTES) & 0x0fffffff;
  return Array.from({ length: count }, (_, index) => {
    const at = HEADER_BYTES + 4 + index * 16;
    return { domain: event.readUInt32LE(at), server: event.readUInt32LE(at + 4), seq: Number(event.readBigUInt64LE(at + 8)) };
  });
}

/** Database and table of a table map. */
export function readTableMap(event: Buffer): { database: string; table: string } {
  const database = HEADER_BYTES + 8 + 1;
  const databaseLength = event.readUInt8(database - 1);
  const table = database + databaseLength + 1 + 1;
  const tableLength = event.readUInt8(table - 1);
  return {
    database: event.toString('utf8', database, database + databaseLength),
    table: event.toString('utf8', table, table + tableLength),
  };
}

/** Text of a statement (not of a compressed one, which is never a COMMIT). */
export function readQuery(event: Buffer, checksums: boolean): string {
  const databaseLength = event.readUInt8(HEADER_BYTES + 8);
  const statusLength = event.readUInt16LE(HEADER_BYTES + 11);
  const at = HEADER_BYTES + 13 + statusLength + databaseLength + 1;
  return event.toString('utf8', at, event.length - (checksums ? CRC_BYTES : 0));
}
