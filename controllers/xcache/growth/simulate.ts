import { afterChange, decideGrowth, GROWTH, type GrowthLimits, type GrowthPolicy, type GrowthRecord } from './decide.ts';

/** Replays a curve of load: what a cluster would have done. */
export interface Replay {
  /** Bytes that clients want to keep, by milliseconds since the beginning. */
  load(at: number): number;
  durationMs: number;
  everyMs?: number;
  shards: number;
  shardBytes: number;
  limits: GrowthLimits;
  policy?: GrowthPolicy;
  /** How uneven slots are: the fullest shard has this many times its share. */
  skew?: number;
  /** From a decision to the new number of shards. */
  changeMs?: number;
}

export interface ReplayResult {
  changes: { at: number; from: number; to: number; reason: string }[];
  /** Time in which there was more to keep than room for it. */
  overfullMs: number;
  blocked: number;
  shards: number;
  most: number;
}

export function replay(options: Replay): ReplayResult {
  const { load, durationMs, everyMs = 30_000, shardBytes, limits, policy = GROWTH, skew = 1, changeMs = 60_000 } = options;
  let { shards } = options;
  let record: GrowthRecord = { history: [] };
  let pending: { at: number; to: number } | undefined;
  const result: ReplayResult = { changes: [], overfullMs: 0, blocked: 0, shards, most: shards };
  for (let at = 0; at < durationMs; at += everyMs) {
    if (pending !== undefined && at >= pending.at) {
      shards = pending.to;
      pending = undefined;
      record = afterChange(record, at);
      result.most = Math.max(result.most, shards);
    }
    const wanted = load(at);
    if (wanted > shards * shardBytes) result.overfullMs += everyMs;
    const used = Math.min(wanted, shards * shardBytes);
    const even = used / shards;
    const fullest = Math.min(shardBytes, even * skew);
    const others = shards === 1 ? 0 : (used - fullest) / (shards - 1);
    const sample = {
      at,
      shards: Array.from({ length: shards }, (_, index) => ({ usedBytes: index === 0 ? fullest : others, maxBytes: shardBytes })),
    };
    const { decision, record: next } = decideGrowth(sample, record, limits, policy);
    record = next;
    if (decision.do === 'blocked') result.blocked += 1;
    if ((decision.do === 'grow' || decision.do === 'shrink') && pending === undefined) {
      result.changes.push({ at, from: shards, to: decision.shards, reason: decision.reason });
      pending = { at: at + changeMs, to: decision.shards };
    }
  }
  return { ...result, shards };
}
