import { forgetful } from '#xdb/protocol/memory.ts';
import type { EngineState, Indexed, Local, Memory, Records, RunningEngine } from '#xdb/protocol/types.ts';
import type { DataRecord, MoveOrder, SyncRecord } from '#xdb/schema.ts';

/** Situations for tests, as differences from a whole pair: a-1 leads with a-2 as its sync slave, seen from the member that is asked. */

export const EPOCH = 4;
export const INDEX = 100;
export const DATA_INDEX: Readonly<Record<string, number>> = { 'a-1': 51, 'a-2': 52, 'a-3': 53 };
export const ME_INSTANCE = 'instance';
export const ref = (id: string) => ({ id, gen: `gen-${id}` });

export interface Difference {
  me?: 'a-1' | 'a-2' | 'a-3';
  sync?: Partial<SyncRecord> | 'missing';
  data?: Readonly<Record<string, Partial<DataRecord> | undefined>>;
  records?: Partial<Omit<Records, 'sync' | 'data' | 'move'>>;
  move?: Partial<MoveOrder>;
  engine?: Partial<Omit<RunningEngine, 'slave'>> | Exclude<EngineState, RunningEngine>;
  slave?: Partial<RunningEngine['slave']>;
  memory?: Partial<Memory>;
  disk?: Partial<Local['disk']>;
  local?: Partial<Omit<Local, 'engine' | 'memory' | 'disk'>>;
}

export function situation(difference: Difference = {}): { records: Records; local: Local } {
  const me = difference.me ?? 'a-1';
  const sync: SyncRecord = {
    ...{ v: 1, leader: ref('a-1'), sync: ref('a-2'), cand: null, prev: null, state: 'open', epoch: EPOCH, rev: 9, nonce: 'n' },
    ...(difference.sync === 'missing' ? {} : difference.sync),
  };
  const leads = sync.leader.id === me;
  const data: Record<string, Indexed<DataRecord>> = {};
  for (const id of ['a-1', 'a-2']) {
    const boot = id === me ? ME_INSTANCE : `boot-${id}`;
    const change = difference.data !== undefined && id in difference.data ? difference.data[id] : {};
    if (change !== undefined) {
      data[id] = {
        index: DATA_INDEX[id]!,
        value: { v: 1, gen: ref(id).gen, boot, ready: id === sync.leader.id ? null : EPOCH, ...change },
      };
    }
  }
  const order: MoveOrder | undefined =
    difference.move === undefined
      ? undefined
      : { v: 1, id: 'order', kind: 'switchover', target: 'a-2', state: 'asked', ...difference.move };
  const records: Records = {
    sync: difference.sync === 'missing' ? undefined : { value: sync, index: INDEX },
    data,
    lockHolder: sync.leader.id,
    present: ['a-1', 'a-2'],
    move: order === undefined ? undefined : { value: order, index: 70 },
    birth: { value: { member: 'a-1', done: true }, index: 5 },
    members: ['a-1', 'a-2'],
    replicas: [],
    upstream: undefined,
    paused: false,
    ...difference.records,
  };
  const local: Local = {
    me,
    disk: { gen: ref(me).gen, wasMaster: leads, rev: 9, epoch: EPOCH, ...difference.disk },
    engine: engineOf(difference, leads, sync),
    memory: { ...forgetful(ME_INSTANCE), adopted: true, ...difference.memory },
    leader: { dead: false, heard: true },
    consulAgeMs: 0,
    session: true,
    stopping: undefined,
    reinit: false,
    diskFull: false,
    promotingAgeMs: 0,
    moveAgeMs: 0,
    fallBackAgeMs: Number.POSITIVE_INFINITY,
    ...difference.local,
  };
  return { records, local };
}

function engineOf({ engine, slave }: Difference, leads: boolean, sync: SyncRecord): EngineState {
  if (engine !== undefined && 'state' in engine && engine.state !== 'running') return engine as EngineState;
  return {
    state: 'running',
    instance: ME_INSTANCE,
    readOnly: !leads,
    semiSyncMaster: leads,
    semiSyncLapsed: false,
    waiters: 0,
    waitAgeMs: 0,
    slave: {
      of: leads ? undefined : sync.leader.id,
      outside: false,
      io: leads ? 'stopped' : 'running',
      sql: leads ? 'stopped' : 'running',
      drained: true,
      lagSeconds: 0,
      broken: undefined,
      ...slave,
    },
    relayUnapplied: false,
    openAccounts: leads ? ['a-2'] : [],
    dumps: leads ? ['a-2'] : [],
    near: leads ? ['a-2'] : [],
    candidateReached: false,
    moveReached: false,
    busy: undefined,
    ...engine,
  } as RunningEngine;
}
