import { Readable } from 'node:stream';
import { crc32 } from 'node:zlib';
import type { BackupStore } from '#backup/stores/store.ts';
import { AppError } from '#core/errors.ts';
import { EventType, HEADER_BYTES, MAGIC } from '../binlog/events.ts';

/** Writes binlogs as MariaDB does, as far as specs need it. */

export interface Trx {
  server: number;
  seq: number;
  timestamp: number;
  heartbeat?: boolean;
  ddl?: string;
  bytes?: number;
}

export function event(type: number, body: Buffer, { server = 1, timestamp = 0, flags = 0 } = {}): Buffer {
  const length = HEADER_BYTES + body.length + 4;
  const bytes = Buffer.alloc(length);
  bytes.writeUInt32LE(timestamp, 0);
  bytes.writeUInt8(type, 4);
  bytes.writeUInt32LE(server, 5);
  bytes.writeUInt32LE(length, 9);
  bytes.writeUInt16LE(flags, 17);
  body.copy(bytes, HEADER_BYTES);
  bytes.writeUInt32LE(crc32(bytes.subarray(0, length - 4)), length - 4);
  return bytes;
}

/** In use: the checksum is of the event without that flag. */
export function formatEvent(inUse = false): Buffer {
  const body = Buffer.alloc(57);
  body.writeUInt16LE(4, 0);
  body.writeUInt8(1, 56);
  const bytes = event(EventType.format, body);
  if (inUse) bytes.writeUInt16LE(1, 17);
  return bytes;
}

export function gtidList(entries: { domain?: number; server: number; seq: number }[]): Buffer {
  const body = Buffer.alloc(4 + entries.length * 16);
  body.writeUInt32LE(entries.length, 0);
  entries.forEach(({ domain = 0, server, seq }, index) => {
    body.writeUInt32LE(domain, 4 + index * 16);
    body.writeUInt32LE(server, 8 + index * 16);
    body.writeBigUInt64LE(BigInt(seq), 12 + index * 16);
  });
  return event(EventType.gtidList, body);
}

export function gtidEvent({ server, seq, timestamp }: Trx, standalone: boolean): Buffer {
  const body = Buffer.alloc(19);
  body.writeBigUInt64LE(BigInt(seq), 0);
  body.writeUInt8(standalone ? 1 : 4, 12);
  return event(EventType.gtid, body, { server, timestamp });
}

export function queryEvent(text: string, server: number, timestamp: number): Buffer {
  const head = Buffer.alloc(13);
  return event(EventType.query, Buffer.concat([head, Buffer.from([0]), Buffer.from(text)]), { server, timestamp });
}

function tableMap(database: string, table: string): Buffer {
  const name = (text: string) => Buffer.concat([Buffer.from([text.length]), Buffer.from(text), Buffer.from([0])]);
  return event(EventType.tableMap, Buffer.concat([Buffer.alloc(8), name(database), name(table), Buffer.alloc(4)]));
}

export function trxEvents(trx: Trx): Buffer {
  if (trx.ddl !== undefined) return Buffer.concat([gtidEvent(trx, true), queryEvent(trx.ddl, trx.server, trx.timestamp)]);
  return Buffer.concat([
    gtidEvent(trx, false),
    trx.heartbeat ? tableMap('xcaas', 'heartbeat') : tableMap('app', 'rows'),
    event(23, Buffer.alloc(trx.bytes ?? 20, trx.seq)),
    event(EventType.xid, Buffer.alloc(8), trx),
  ]);
}

export function binlog(trxs: readonly Trx[], from?: { server: number; seq: number }): Buffer {
  return Buffer.concat([
    MAGIC,
    formatEvent(true),
    gtidList(from && from.seq > 0 ? [from] : []),
    event(EventType.checkpoint, Buffer.alloc(10)),
    ...trxs.map(trxEvents),
  ]);
}

/** A store in memory. */
export function memoryStore() {
  const objects = new Map<string, Buffer>();
  const store: BackupStore = {
    name: 'memory',
    async put(key, content) {
      const parts: Buffer[] = [];
      for await (const chunk of content) parts.push(chunk as Buffer);
      objects.set(key, Buffer.concat(parts));
      return { bytes: objects.get(key)!.length };
    },
    async get(key) {
      const found = objects.get(key);
      if (found === undefined) throw new AppError('not_found', key);
      return Readable.from([found]);
    },
    list: async (prefix) => [...objects].filter(([key]) => key.startsWith(prefix)).map(([key, { length }]) => ({ key, bytes: length })),
    async delete(key) {
      objects.delete(key);
    },
    tidy: async () => undefined,
  };
  return { store, objects };
}
