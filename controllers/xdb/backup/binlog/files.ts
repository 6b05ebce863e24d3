import { createReadStream } from 'node:fs';
import { open, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { AppError, systemCode } from '#core/errors.ts';
import { BEGINNING, type Position } from '../position.ts';
import { createGroupReader } from './groups.ts';

export interface BinlogHead {
  path: string;
  /** Format description, without which nothing in the file can be read. */
  format: Buffer;
  checksums: boolean;
  /** Last transaction before the file's first one. */
  from: Position;
}

/**
 * The engine's binlogs, oldest first, by its index file.
 *
 * @param index `<data directory>/<name>.index`; its lines are relative to the data directory
 */
export async function listBinlogs(index: string): Promise<string[]> {
  let text: string;
  try {
    text = await readFile(index, 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return [];
    throw error;
  }
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .map((line) => (line.startsWith('/') ? line : join(dirname(index), line)));
}

/**
 * @returns undefined while the engine has not written that much of it, or has removed it
 * @throws AppError `engine` when it is damaged, `not_implemented` for a history of several domains
 */
export async function readHead(path: string, domain: number): Promise<BinlogHead | undefined> {
  const reader = createGroupReader({ offset: 0, keep: false });
  let format: Buffer | undefined;
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 16 * 1024 })) {
      for (const found of reader.push(chunk as Buffer)) {
        if (found.kind === 'format') format = found.event;
        if (found.kind === 'group') throw new AppError('engine', `${path} does not say what was before it`);
        if (found.kind === 'list' && format !== undefined) {
          return { path, format, checksums: reader.checksums, from: lastOf(found.last, domain) };
        }
      }
    }
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
  return undefined;
}

function lastOf(list: { domain: number; server: number; seq: number }[], domain: number): Position {
  const other = list.find((entry) => entry.domain !== domain);
  if (other !== undefined) {
    throw new AppError('not_implemented', `the binlog holds transactions of GTID domain ${other.domain} besides those of ${domain}`, {
      hint: 'a history of several domains is not archived; full backups of it are made',
    });
  }
  // Strict mode: numbers of a domain only grow, whoever writes.
  const last = list.reduce((best, each) => (each.seq > best.seq ? each : best), { domain, server: 0, seq: 0 });
  return last.seq === 0 ? BEGINNING : { server: last.server, seq: last.seq };
}

/**
 * Bytes of the file that a power failure cannot take back any more: a transaction that vanished from the binlog could be followed by another one of the same
 * number.
 *
 * @returns undefined when the file is gone
 */
export async function durableSize(path: string): Promise<number | undefined> {
  try {
    const file = await open(path, 'r');
    try {
      const { size } = await file.stat();
      await file.datasync();
      return size;
    } finally {
      await file.close();
    }
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
