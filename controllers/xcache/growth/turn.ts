import { isPaused, sidecarOf } from '#pool/service-world.ts';
import { canBeSafe, placeShards } from '#xcache/cluster/placement.ts';
import { groupRooms } from '#xcache/plan/seats.ts';
import { type Observed, shardsOf } from '#xcache/plan/world.ts';
import type { CacheSpec, GrowthState } from '#xcache/schema.ts';
import { LEAST_SHARDS } from '#xcache/spec.ts';
import { afterChange, decideGrowth, GROWTH, type GrowthDecision, type GrowthLimits, type Sample } from './decide.ts';

/** Between two looks, in milliseconds: what is decided takes minutes to come true. */
export const GROWTH_LOOK_MS = 30_000;

export interface GrowthTurn {
  decision: GrowthDecision;
  state: GrowthState;
}

/**
 * Pure: one look at how full a cluster is. Only at one that is as it should be: while slots are moving or a master is away, what it uses says nothing.
 *
 * @returns undefined when there is nothing to look at, or it is too soon
 */
export function growthTurn(spec: CacheSpec, observed: Observed, before: GrowthState | undefined, now: Date): GrowthTurn | undefined {
  if (spec.mode !== 'cluster' || spec.autoscale?.on !== true || spec.destroyed !== undefined || isPaused(spec, now)) return undefined;
  if (observed.cluster?.state !== 'whole' || Object.keys(observed.cluster.slots).length !== spec.shards) return undefined;
  const at = now.getTime();
  if (at - (before?.history.at(-1)?.at ?? 0) < GROWTH_LOOK_MS) return undefined;
  const sample = sampleOf(spec, observed, at);
  if (sample === undefined) return undefined;
  const { decision, record } = decideGrowth(sample, before ?? { history: [] }, limitsOf(spec, observed, spec.autoscale.maxShards), GROWTH);
  const next = decision.do === 'grow' || decision.do === 'shrink' ? afterChange(record, at) : record;
  return { decision, state: { v: 1, ...next, history: [...next.history], decision: decision.do, sentence: decision.reason } };
}

/** Every master has to say what it holds. */
function sampleOf(spec: CacheSpec, observed: Observed, at: number): Sample | undefined {
  const shards = shardsOf(spec, observed).slice(0, spec.shards);
  const used = shards.flatMap(({ master }) => {
    const { usedBytes, maxBytes } = (master === undefined ? undefined : sidecarOf(master, observed)) ?? {};
    return usedBytes === undefined || maxBytes === undefined || maxBytes === 0 ? [] : [{ usedBytes, maxBytes }];
  });
  return used.length === spec.shards ? { at, shards: used } : undefined;
}

/** Where a pool has fewer than three groups, no number of masters is safe, and growing makes nothing worse. */
function limitsOf(spec: CacheSpec, observed: Observed, maxShards: number): GrowthLimits {
  const rooms = groupRooms(spec, observed);
  const safe = (shards: number) => rooms.length < 3 || canBeSafe(shards, rooms.length);
  let more = 0;
  while (more < GROWTH.maxStep && hasRoom(more + 1, spec.replicas, rooms)) more += 1;
  return { minShards: LEAST_SHARDS, maxShards, roomFor: spec.shards + more, safe };
}

function hasRoom(count: number, replicas: number, rooms: ReturnType<typeof groupRooms>): boolean {
  const { shards } = placeShards(count, replicas, rooms);
  return shards.length === count && shards.every((groups) => groups.length === replicas + 1);
}
