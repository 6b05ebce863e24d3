import { createRecords } from '#core/consul/records.ts';
import type { Events } from '#pool/events.ts';
import type { Observed } from '#xcache/plan/world.ts';
import { type CacheSpec, GrowthState } from '#xcache/schema.ts';
import { withShards } from '#xcache/spec.ts';
import { type CacheStore, cacheKeys } from '#xcache/store.ts';
import { growthTurn } from './turn.ts';

export interface GrowthDeps {
  store: CacheStore;
  events: Events;
  now(): Date;
  /** @throws AppError `fenced` when this replica leads no longer */
  expectLead(): void;
}

/** Looks how full a cluster is and, when it is to grow or shrink, changes its specification; the rest is done as after `cache scale`. */
export async function keepGrowth(deps: GrowthDeps, spec: CacheSpec, observed: Observed): Promise<void> {
  if (spec.autoscale?.on !== true) return;
  const { store, events } = deps;
  const records = createRecords(store.consul, GrowthState);
  const key = cacheKeys(spec.name).growth;
  const before = (await records.get(key))?.value;
  const turn = growthTurn(spec, observed, before, deps.now());
  if (turn === undefined) return;
  const { decision, state } = turn;
  deps.expectLead();
  // What was decided is remembered first: a crash in between leaves it undone, and it rests for a while before it is decided again.
  await records.update(key, () => state);
  const object = `cache/${spec.name}`;
  if (decision.do === 'grow' || decision.do === 'shrink') {
    const { shards } = decision;
    await store.change(spec.name, (present) => (present.shards === spec.shards ? withShards({ ...present, shards }) : present));
    await events.record({
      object,
      kind: 'info',
      reason: decision.do === 'grow' ? 'grows' : 'shrinks',
      sentence: `${spec.name}: ${decision.reason}`,
    });
  } else if (decision.do === 'blocked' && before?.decision !== 'blocked') {
    await events.record({ object, kind: 'warning', reason: 'growth_blocked', sentence: `${spec.name}: ${decision.reason}` });
  }
}
