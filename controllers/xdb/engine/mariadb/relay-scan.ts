import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError, systemCode } from '#core/errors.ts';
import {
  type EventHeader,
  EventType,
  HEADER_BYTES,
  hasChecksums,
  isIntact,
  MAGIC,
  readGtid,
  readHeader,
  readQuery,
} from '#xdb/backup/binlog/events.ts';
import type { Gtid } from '#xdb/engine/engine.ts';
import { containsGtid, newestGtid } from './gtid.ts';

/** What stands in a relay log that no thread is reading or writing. */
export interface RelayScan {
  /** Last transaction that was received whole, of each domain; empty when there is none. */
  received: Gtid;
  /** Where the first whole transaction begins that is not applied. */
  unapplied: { file: string; offset: number } | undefined;
}

/** Files of the relay log, oldest first, as its index names them. Empty when there is none. */
export async function relayFiles(dataDir: string, name = 'relay'): Promise<string[]> {
  const index = await ifThere(() => readFile(join(dataDir, `${name}.index`), 'utf8'));
  const lines = (index ?? '').split('\n').map((line) => line.trim());
  return lines.filter((line) => line !== '').map((line) => line.replace(/^\.\//, ''));
}

/** Changes when the relay log does. */
export async function relayStamp(dataDir: string): Promise<string> {
  const stamps: string[] = [];
  for (const file of await relayFiles(dataDir)) {
    const seen = await ifThere(() => stat(join(dataDir, file)));
    stamps.push(`${file}:${seen?.size ?? '-'}:${seen?.mtimeMs ?? ''}`);
  }
  return stamps.join(' ');
}

/**
 * Reads the relay log on disk. After a restart the engine itself does not know how much it had received, so this is what was acknowledged (H3).
 *
 * A transaction counts once its last event is there: what was cut off, by a lost connection or a power failure, was acknowledged by nobody. Where one begins before the
 * one before it has ended, that one was given up by its sender. A transaction may go on in the next file.
 *
 * @throws AppError `engine` when it cannot be read (encrypted)
 */
export async function scanRelayLog(dataDir: string, applied: Gtid): Promise<RelayScan> {
  const scan: RelayScan = { received: '', unapplied: undefined };
  let open: Open | undefined;

  const finish = (group: Open) => {
    scan.received = newestGtid(scan.received, group.gtid);
    if (scan.unapplied === undefined && !containsGtid(applied, group.gtid)) scan.unapplied = { file: group.file, offset: group.offset };
  };
  for (const file of await relayFiles(dataDir)) {
    for await (const { event, header, offset, checksums } of intactEvents(join(dataDir, file))) {
      if (header.type === EventType.startEncryption) throw new AppError('engine', 'the relay log is encrypted: what it holds is not known');
      if (header.type === EventType.gtid) {
        const { domain, server, standalone } = readGtid(event, header);
        open = { gtid: `${domain}-${server}-${event.readBigUInt64LE(HEADER_BYTES)}`, standalone, file, offset };
      } else if (open !== undefined && isLast(open, event, header, checksums)) {
        finish(open);
        open = undefined;
      }
    }
  }
  return scan;
}

interface Open {
  gtid: Gtid;
  standalone: boolean;
  file: string;
  offset: number;
}

/** Of the log itself, or in front of a statement: neither ends a transaction. */
const NEVER_LAST: readonly number[] = [
  EventType.stop,
  EventType.rotate,
  EventType.format,
  EventType.gtidList,
  EventType.checkpoint,
  EventType.intvar,
  EventType.rand,
  EventType.userVar,
  EventType.annotate,
];

function isLast(open: Open, event: Buffer, header: EventHeader, checksums: boolean): boolean {
  if (NEVER_LAST.includes(header.type)) return false;
  if (open.standalone) return true;
  if (header.type === EventType.xid || header.type === EventType.xaPrepare) return true;
  return header.type === EventType.query && /^(COMMIT|ROLLBACK|XA (COMMIT|ROLLBACK)\b.*)$/is.test(readQuery(event, checksums).trim());
}

interface RelayEvent {
  event: Buffer;
  header: EventHeader;
  offset: number;
  checksums: boolean;
}

/** The file's events up to its end or the first that is damaged: nothing after that one was ever synced. */
async function* intactEvents(path: string): AsyncGenerator<RelayEvent> {
  let offset = 0;
  let pending: Buffer[] = [];
  let held = 0;
  let needed = MAGIC.length;
  let checksums = true;
  const source = createReadStream(path, { highWaterMark: 2 ** 20 });
  try {
    for await (const chunk of source) {
      pending.push(chunk as Buffer);
      held += (chunk as Buffer).length;
      if (held < needed) continue;
      let buffer = Buffer.concat(pending);
      if (offset === 0) {
        if (!buffer.subarray(0, MAGIC.length).equals(MAGIC)) return;
        offset = MAGIC.length;
        buffer = buffer.subarray(MAGIC.length);
      }
      let used = 0;
      needed = HEADER_BYTES;
      while (buffer.length - used >= HEADER_BYTES) {
        const header = headerAt(buffer, used);
        if (header === undefined) return;
        needed = header.length;
        if (buffer.length - used < needed) break;
        const event = buffer.subarray(used, used + header.length);
        if (header.type === EventType.format) checksums = hasChecksums(event);
        if (!isIntact(event, checksums || header.type === EventType.format)) return;
        yield { event, header, offset, checksums };
        used += header.length;
        offset += header.length;
        needed = HEADER_BYTES;
      }
      pending = [Buffer.from(buffer.subarray(used))];
      held = buffer.length - used;
    }
  } catch (error) {
    // Applied to its end and removed meanwhile.
    if (systemCode(error) !== 'ENOENT') throw error;
  } finally {
    source.destroy();
  }
}

function headerAt(buffer: Buffer, at: number): EventHeader | undefined {
  try {
    return readHeader(buffer, at);
  } catch {
    return undefined;
  }
}

async function ifThere<T>(read: () => Promise<T>): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
