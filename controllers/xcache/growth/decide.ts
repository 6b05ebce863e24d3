/** Pure: whether a cluster grows or shrinks by itself. What needs memory (rates, cool-down, hold) is a dated field of the record, and comes in. */

/** One look at a cluster, all masters together. */
export interface Sample {
  /** Milliseconds since the epoch. */
  at: number;
  /** Per shard: bytes of data and bytes given. */
  shards: readonly { usedBytes: number; maxBytes: number }[];
}

export interface GrowthRecord {
  /** Bytes used in all, lately, oldest first. */
  history: readonly { at: number; usedBytes: number }[];
  /** Last change of the number of shards. */
  changedAt?: number;
  /** Since when each condition holds without a break. */
  fullSince?: number;
  emptySince?: number;
}

export interface GrowthLimits {
  minShards: number;
  maxShards: number;
  /** Groups that a master and its replicas could still be placed in, safely: shards that there is room for. */
  roomFor: number;
  /** Whether so many masters can be spread so that no group has a majority of them; any number when left out. */
  safe?: (shards: number) => boolean;
}

/** Fractions of what is given, and milliseconds. */
export interface GrowthPolicy {
  /** Above it there is too little room. */
  growAt: number;
  /** Growth that would pass `growAt` within this time is acted upon before. */
  aheadMs: number;
  /** Any one shard above it: a step more of slots helps nobody if one key is that big, but more often it does. */
  hotShardAt: number;
  /** How long a condition must hold. */
  holdMs: number;
  /** Below it there is too much room; well below `growAt`, so that one is not undone by the other. */
  shrinkAt: number;
  shrinkHoldMs: number;
  /** Free space that must be left after shrinking, as a multiple of what is moved. */
  shrinkSpare: number;
  coolDownMs: number;
  /** Growth at once: at most this many shards, and at most doubling. */
  maxStep: number;
  /** What rates are made from. */
  windowMs: number;
}

export const GROWTH: GrowthPolicy = {
  growAt: 0.8,
  aheadMs: 15 * 60_000,
  hotShardAt: 0.92,
  holdMs: 60_000,
  shrinkAt: 0.4,
  shrinkHoldMs: 3_600_000,
  shrinkSpare: 1.5,
  coolDownMs: 10 * 60_000,
  maxStep: 4,
  windowMs: 10 * 60_000,
};

export type GrowthDecision = { do: 'nothing' | 'blocked'; reason: string } | { do: 'grow' | 'shrink'; shards: number; reason: string };

/** @returns what to do, in one sentence, and the record to keep */
export function decideGrowth(
  sample: Sample,
  record: GrowthRecord,
  limits: GrowthLimits,
  policy: GrowthPolicy = GROWTH,
): { decision: GrowthDecision; record: GrowthRecord } {
  const { at, shards } = sample;
  const used = sum(shards.map(({ usedBytes }) => usedBytes));
  const given = sum(shards.map(({ maxBytes }) => maxBytes));
  const history = [...record.history.filter((one) => at - one.at <= policy.windowMs && one.at < at), { at, usedBytes: used }];
  const ratePerMs = rateOf(history);
  const fullest = Math.max(...shards.map((shard) => shard.usedBytes / shard.maxBytes));
  const soon = used + Math.max(0, ratePerMs) * policy.aheadMs;
  const isFull = used > policy.growAt * given || fullest > policy.hotShardAt || soon > policy.growAt * given;
  const isEmpty = !isFull && used < policy.shrinkAt * given && shards.length > limits.minShards;
  const next: GrowthRecord = {
    history,
    ...(record.changedAt === undefined ? {} : { changedAt: record.changedAt }),
    ...(isFull ? { fullSince: record.fullSince ?? at } : {}),
    ...(isEmpty ? { emptySince: record.emptySince ?? at } : {}),
  };
  const answer = (decision: GrowthDecision) => ({ decision, record: next });
  const share = `${percent(used / given)} of ${size(given)} are used`;
  const cooling = record.changedAt === undefined ? 0 : record.changedAt + policy.coolDownMs - at;

  if (isFull) {
    const why = reasonOf({ used, given, fullest, soon, policy });
    if (at - (next.fullSince ?? at) < policy.holdMs) return answer({ do: 'nothing', reason: `${why}; waiting whether it stays so` });
    // Nobody waits for a cool-down while writes are about to be refused.
    if (cooling > 0 && used < 0.95 * given)
      return answer({ do: 'nothing', reason: `${why}; it grew just now, and rests for ${minutes(cooling)}` });
    const perShard = given / shards.length;
    const wanted = Math.ceil(Math.max(soon, used) / (0.75 * policy.growAt * perShard));
    const most = Math.min(limits.maxShards, limits.roomFor, shards.length + policy.maxStep, 2 * shards.length);
    const to = safeFrom(Math.min(Math.max(wanted, shards.length + 1), most), shards.length + 1, most, limits);
    if (to === undefined) return answer({ do: 'blocked', reason: `${why}; it cannot grow: ${blockedBy(limits, shards.length)}` });
    return answer({ do: 'grow', shards: to, reason: `${why}: from ${shards.length} to ${to} shards` });
  }
  if (!isEmpty) return answer({ do: 'nothing', reason: share });
  if (at - (next.emptySince ?? at) < policy.shrinkHoldMs)
    return answer({ do: 'nothing', reason: `${share}; waiting whether it stays so low` });
  if (cooling > 0) return answer({ do: 'nothing', reason: `${share}; it changed just now, and rests for ${minutes(cooling)}` });
  // One at a time: what it moves must fit elsewhere with room to spare, and must not call for growth again.
  let to = shards.length - 1;
  while (to > limits.minShards && limits.safe?.(to) === false) to -= 1;
  if (limits.safe?.(to) === false) return answer({ do: 'nothing', reason: `${share}; fewer masters could not be kept apart` });
  const rest = [...shards].sort((a, b) => b.usedBytes - a.usedBytes).slice(0, to);
  const moved = used - sum(rest.map(({ usedBytes }) => usedBytes));
  const free = sum(rest.map((shard) => shard.maxBytes - shard.usedBytes));
  if (free < policy.shrinkSpare * moved || used > 0.75 * policy.growAt * sum(rest.map(({ maxBytes }) => maxBytes)))
    return answer({ do: 'nothing', reason: `${share}; ${to} shards would leave too little room` });
  return answer({
    do: 'shrink',
    shards: to,
    reason: `${share} for ${minutes(policy.shrinkHoldMs)}: from ${shards.length} to ${to} shards`,
  });
}

function reasonOf({
  used,
  given,
  fullest,
  soon,
  policy,
}: {
  used: number;
  given: number;
  fullest: number;
  soon: number;
  policy: GrowthPolicy;
}): string {
  if (used > policy.growAt * given) return `${percent(used / given)} of ${size(given)} are used`;
  if (fullest > policy.hotShardAt) return `one shard is ${percent(fullest)} full`;
  return `${percent(used / given)} of ${size(given)} are used, and ${percent(soon / given)} will be in ${minutes(policy.aheadMs)}`;
}

function blockedBy({ maxShards, roomFor }: GrowthLimits, present: number): string {
  if (maxShards <= present) return `its ceiling is ${maxShards} shards`;
  return `there is room for ${Math.max(present, roomFor)} shards on hosts that keep masters apart`;
}

/** The wanted number, else the next higher one that is safe, else the next lower one. */
function safeFrom(wanted: number, least: number, most: number, { safe = () => true }: GrowthLimits): number | undefined {
  for (let to = wanted; to <= most; to += 1) if (to >= least && safe(to)) return to;
  for (let to = wanted - 1; to >= least; to -= 1) if (safe(to)) return to;
  return undefined;
}

/** Bytes a millisecond, by the line of least squares: one peak says little. */
export function rateOf(history: GrowthRecord['history']): number {
  const first = history[0];
  if (first === undefined || history.length < 3) return 0;
  const points = history.map(({ at, usedBytes }) => [at - first.at, usedBytes] as const);
  const meanX = sum(points.map(([x]) => x)) / points.length;
  const meanY = sum(points.map(([, y]) => y)) / points.length;
  const spread = sum(points.map(([x]) => (x - meanX) ** 2));
  return spread === 0 ? 0 : sum(points.map(([x, y]) => (x - meanX) * (y - meanY))) / spread;
}

/** After a change: what held before holds no more. */
export function afterChange(record: GrowthRecord, at: number): GrowthRecord {
  return { history: record.history, changedAt: at };
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, one) => total + one, 0);
}

const percent = (fraction: number) => `${Math.round(fraction * 100)} %`;
const minutes = (ms: number) => `${Math.max(1, Math.round(ms / 60_000))} min`;
const size = (bytes: number) => (bytes >= 2 ** 30 ? `${(bytes / 2 ** 30).toFixed(1)} GiB` : `${Math.round(bytes / 2 ** 20)} MiB`);
