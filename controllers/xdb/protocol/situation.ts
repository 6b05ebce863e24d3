import { memoryOf } from '#xdb/protocol/memory.ts';
import type {
  Budgets,
  Guards,
  Local,
  MemberRef,
  Memory,
  Records,
  RecordWrite,
  RunningEngine,
  Step,
  WaitRule,
} from '#xdb/protocol/types.ts';
import type { SyncRecord } from '#xdb/schema.ts';

/** What the rules look at: records and local facts, with what follows from them at once. */
export interface Situation {
  records: Records;
  sync: SyncRecord;
  /** ModifyIndex of `sync`. */
  index: number;
  local: Local;
  me: string;
  /** The memory, as far as it is of this instance of the engine. */
  memory: Memory;
  budgets: Budgets;
  guards: Guards;
  /** The record names this member as leader, and means the data that are here (G1). */
  leads: boolean;
}

/** The same while the engine answers. */
export interface Running extends Situation {
  engine: RunningEngine;
}

/** @returns undefined while there is no record to go by */
export function situationOf(records: Records, local: Local, budgets: Budgets, guards: Guards): Situation | undefined {
  if (records.sync === undefined) return undefined;
  const { value: sync, index } = records.sync;
  const named = sync.leader.id === local.me;
  return {
    records,
    sync,
    index,
    local,
    me: local.me,
    memory: memoryOf(local.memory, local.engine.state === 'running' ? local.engine.instance : undefined),
    budgets,
    guards,
    leads: named && (!guards.generationAgain || isMine(sync.leader, local)),
  };
}

/** G1: the record means this member with the very data that it has. */
export const isMine = (ref: MemberRef | null, local: Local): boolean =>
  ref !== null && ref.id === local.me && local.disk.gen !== undefined && ref.gen === local.disk.gen;

export const isReplica = (s: Situation): boolean => s.records.replicas.includes(s.me);

/** This member's data, as records name them. Only where there are data, or where the guard that asks for them is off. */
export const mine = (s: Situation): MemberRef => ({ id: s.me, gen: s.local.disk.gen ?? 'none' });

export const wait = (rule: WaitRule, reason: string, alarm?: string): Step => ({
  rule,
  do: 'wait',
  reason,
  ...(alarm === undefined ? {} : { alarm }),
});

/** The record as it is, but for what is said. */
export const changed = (s: Situation, change: Partial<RecordWrite['next']>): RecordWrite => {
  const { leader, sync, cand, prev, state, epoch } = s.sync;
  return { next: { leader, sync, cand, prev, state, epoch, ...change }, at: s.index };
};

export const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;
