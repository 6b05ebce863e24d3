import type { Readable } from 'node:stream';
import type { SlotRange } from '#xcache/cluster/slots.ts';

/** What a backup is to hold: the data of one engine, or those of one engine a shard. */
export interface Contents {
  parts: readonly Part[];
  /** Of a cluster: how many there are, those without slots as well. */
  shards?: number;
  /** After all of them were stored. @throws AppError when they do not belong together */
  check(): Promise<void>;
}

export interface Part {
  /** Of a cluster: which of its shards, and the slots that it owns. */
  shard?: { shard: number; slots: readonly SlotRange[] };
  /** @throws AppError of the engine */
  open(): Promise<{ content: Readable; member: string; usedBytes: number }>;
}
