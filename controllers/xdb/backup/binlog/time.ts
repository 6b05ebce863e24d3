import { createReadStream } from 'node:fs';
import { parsePosition } from '../position.ts';
import { listBinlogs, readHead } from './files.ts';
import { createGroupReader } from './groups.ts';

/**
 * Seconds since 1970 of a transaction of this member's binlog.
 *
 * @returns undefined when its binlog does not have it: it is older, or came with a copy of the data
 */
export async function timeOfTransaction(index: string, gtid: string, domain: number): Promise<number | undefined> {
  const wanted = parsePosition(gtid);
  if (wanted.seq === 0) return undefined;
  for (const path of (await listBinlogs(index)).reverse()) {
    const head = await readHead(path, domain);
    if (head === undefined || head.from.seq >= wanted.seq) continue;
    const reader = createGroupReader({ offset: 0, keep: false });
    for await (const chunk of createReadStream(path, { highWaterMark: 2 ** 20 })) {
      for (const found of reader.push(chunk as Buffer)) {
        if (found.kind !== 'group' || found.group.seq < wanted.seq) continue;
        return found.group.seq === wanted.seq && found.group.server === wanted.server ? found.group.timestamp : undefined;
      }
    }
    return undefined;
  }
  return undefined;
}
