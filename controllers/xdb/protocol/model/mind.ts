import { decide } from '#xdb/protocol/decide.ts';
import { after } from '#xdb/protocol/memory.ts';
import { codeOf, NOTHING } from '#xdb/protocol/model/codes.ts';
import * as f from '#xdb/protocol/model/layout.ts';
import {
  BUDGETS,
  type Guards,
  type Local,
  type Memory,
  type Outcome,
  type Records,
  type RunningEngine,
  type Step,
} from '#xdb/protocol/types.ts';

/**
 * The sidecar of the model: the very functions `decide` and `after`, asked about every situation once. A situation is what a member of the model can see, spelled
 * out with made-up numbers: this epoch is 5, the record's index 100 (101 after a write of one's own), the other's data record has index 50.
 */

const EPOCH = 5;
const INDEX = 100;
const WRITTEN = 101;
const DATA_INDEX = 50;
const ME = 'me';
const OTHER = 'other';
const INSTANCE = 'instance';

export interface Mind {
  /** All steps that this member may decide now, over everything that the model leaves open: clocks, orders, what probes say. */
  steps(s: f.State, member: number): readonly number[];
  /** The memory after a step, written into the state. */
  remember(s: f.State, member: number, code: number, outcome: Outcome['is'], result?: number): void;
  /** The memory of a sidecar that has just started (or of an engine that has). */
  forget(s: f.State, member: number): void;
  /** How many different situations were decided. */
  situations(): number;
  /** Calls of `decide`. */
  calls(): number;
}

export interface MindOptions {
  guards: Guards;
  /** A1 is modelled: commands outlive the sidecar that sent them, until the next one has ended them. */
  strays: boolean;
}

export function createMind({ guards, strays }: MindOptions): Mind {
  const decided = new Map<number, readonly number[]>();
  const remembered = new Int16Array(1 << 21).fill(-1);
  const stepOf = new Map<number, Step>();
  let calls = 0;

  function ask(records: Records | undefined, local: Local, codes: Set<number>): void {
    calls++;
    const step = decide(records, local, BUDGETS, guards);
    const code = codeOf(step);
    if (code === NOTHING) return;
    if (!stepOf.has(code)) stepOf.set(code, step);
    codes.add(code);
  }

  function decideAll(s: f.State, member: number): readonly number[] {
    const m = f.at(member);
    const o = f.at(1 - member);
    const codes = new Set<number>();
    const records = recordsOf(s, member);
    const local = localOf(s, member);
    ask(records, local, codes);
    if (!guards.recordBeforeStart) ask(undefined, local, codes);
    const { engine } = local;
    if (engine.state !== 'running') return [...codes];
    ask(records, { ...local, stopping: RESTART }, codes);
    if (viewOf(s, member, m) & f.VIEW_LEADS) {
      const full = { ...local, diskFull: true };
      ask(records, full, codes);
      if (s[o + f.CONNECTED] === 1) {
        const near = { ...engine, near: [OTHER] };
        ask(records, { ...local, engine: near }, codes);
        ask(records, { ...full, engine: near }, codes);
      }
      if (s[m + f.PENDING] !== 0) ask(records, { ...local, engine: { ...engine, waitAgeMs: BUDGETS.waitMs } }, codes);
      const order = { v: 1, id: 'order', kind: 'switchover', target: OTHER, state: 'asked' } as const;
      ask({ ...records, move: { value: order, index: 1 } }, local, codes);
    } else {
      ask(records, { ...local, leader: { dead: true, heard: false } }, codes);
      ask(records, { ...local, reinit: true }, codes);
    }
    return [...codes];
  }

  return {
    steps(s, member) {
      const key = situation(s, member);
      let codes = decided.get(key);
      if (codes === undefined) {
        codes = decideAll(s, member);
        decided.set(key, codes);
      }
      return codes;
    },
    remember(s, member, code, outcome, result = 0) {
      const m = f.at(member);
      const key = (memoryBits(s, m) << 10) | (code << 4) | (OUTCOMES.indexOf(outcome) << 2) | result;
      let bits = remembered[key]!;
      if (bits < 0) {
        const step = stepOf.get(code)!;
        bits = bitsOf(
          after(memoryOf(s, m), step, outcomeOf(step, outcome, result), INSTANCE, guards),
          outcome === 'done' && step.do === 'write' ? WRITTEN : INDEX,
        );
        remembered[key] = bits;
      }
      setMemory(s, m, bits);
    },
    forget(s, member) {
      const m = f.at(member);
      setMemory(s, m, strays ? 0 : ADOPTED_BIT);
      if (!strays) s[m + f.STRAY] = 0;
    },
    situations: () => decided.size,
    calls: () => calls,
  };
}

// biome-ignore lint/suspicious/noThenProperty: what comes after the end; nobody awaits it
const RESTART = { then: 'restart', ageMs: 0 } as const;

const OUTCOMES: readonly Outcome['is'][] = ['done', 'failed', 'unknown'];
const ADOPTED_BIT = 1 << 9;

function outcomeOf(step: Step, outcome: Outcome['is'], result: number): Outcome {
  if (outcome !== 'done') return { is: outcome };
  if (step.do === 'write') return { is: 'done', index: WRITTEN };
  if (step.do === 'sample') return { is: 'done', g: String(result) };
  if (step.do === 'compare') return { is: 'done', compared: result === 1 ? 'contained' : 'diverged' };
  return { is: 'done' };
}

/** Everything that `recordsOf` and `localOf` look at, and nothing else: one number. */
function situation(s: f.State, member: number): number {
  const m = f.at(member);
  const o = f.at(1 - member);
  const low =
    ((viewOf(s, member, m) & VIEW_OF_RECORD) >> 1) |
    (s[m + f.ENGINE]! << 6) |
    (s[m + f.READ_ONLY]! << 7) |
    (s[m + f.SEMI_SYNC]! << 8) |
    (s[m + f.SQL]! << 9) |
    (s[m + f.DRAINED]! << 10) |
    (s[m + f.WAS_MASTER]! << 11) |
    (s[m + f.HAS_DATA]! << 12) |
    ((s[m + f.PENDING] === 0 ? 0 : 1) << 13) |
    (s[m + f.IO]! << 14) |
    (s[m + f.CONNECTED]! << 15) |
    ((viewOf(s, member, m) >> f.VIEW_READY_SHIFT) << 17) |
    ((viewOf(s, member, m) & f.VIEW_BOOT) << 8) |
    (s[o + f.READY]! << 19) |
    (s[o + f.CONNECTED]! << 21) |
    ((candidateReached(s, m, o) ? 1 : 0) << 22);
  // The position itself is only passed on.
  const memory = memoryBits(s, m);
  return (low | (((memory & 7) | ((memory >> 5) << 3)) << 23)) >>> 0;
}

const candidateReached = (s: f.State, m: number, o: number): boolean =>
  s[m + f.BACK] === 2 && s[o + f.CONNECTED] === 1 && s[o + f.BOOT] === 1 && s[o + f.LEN]! >= s[m + f.POSITION]!;

const VIEW_OF_RECORD = f.VIEW_BOOT - 1;

/** The record as this member knows it: bits of layout.ts, without the one that says whether it is stale. */
function viewOf(s: f.State, member: number, m: number): number {
  const view = s[m + f.VIEW]!;
  if (view !== 0) return view & ~(f.VIEW_STALE | f.VIEW_EPOCH_OVER);
  return snapshot(s, member) & ~f.VIEW_STALE;
}

/** The record as it is now, as a view that will be stale. */
export function snapshot(s: f.State, member: number): number {
  return (
    f.VIEW_STALE |
    (s[f.LEADER] === member ? f.VIEW_LEADS : 0) |
    (s[f.SYNC]! * f.VIEW_SYNC) |
    (s[f.CAND]! * f.VIEW_CAND) |
    (s[f.PREV]! * f.VIEW_PREV) |
    (s[f.PROMOTING]! * f.VIEW_PROMOTING) |
    (s[f.at(member) + f.GEN_OK]! * f.VIEW_GEN_OK) |
    (s[f.at(member) + f.BOOT]! * f.VIEW_BOOT) |
    (s[f.at(member) + f.READY]! << f.VIEW_READY_SHIFT)
  );
}

function recordsOf(s: f.State, member: number): Records {
  const m = f.at(member);
  const o = f.at(1 - member);
  const view = viewOf(s, member, m);
  const me = { id: ME, gen: (view & f.VIEW_GEN_OK) !== 0 ? 'mine' : 'gone' };
  const other = { id: OTHER, gen: 'theirs' };
  const [leader, second] = (view & f.VIEW_LEADS) !== 0 ? [me, other] : [other, me];
  const ready = (code: number) => (code === 0 ? null : code === 1 ? EPOCH : EPOCH - 1);
  return {
    sync: {
      index: INDEX,
      value: {
        v: 1,
        leader,
        sync: (view & f.VIEW_SYNC) !== 0 ? second : null,
        cand: (view & f.VIEW_CAND) !== 0 ? second : null,
        prev: (view & f.VIEW_PREV) !== 0 ? second : null,
        state: (view & f.VIEW_PROMOTING) !== 0 ? 'promoting' : 'open',
        epoch: EPOCH,
        rev: 1,
        nonce: 'nonce',
      },
    },
    data: {
      [ME]: {
        index: DATA_INDEX + 1,
        value: { v: 1, gen: 'mine', boot: (view & f.VIEW_BOOT) !== 0 ? INSTANCE : 'before', ready: ready(view >> f.VIEW_READY_SHIFT) },
      },
      [OTHER]: { index: DATA_INDEX, value: { v: 1, gen: 'theirs', boot: 'theirs', ready: ready(s[o + f.READY]!) } },
    },
    lockHolder: leader.id,
    present: [],
    move: undefined,
    birth: undefined,
    members: [ME, OTHER],
    replicas: [],
    upstream: undefined,
    paused: false,
  };
}

function localOf(s: f.State, member: number): Local {
  const m = f.at(member);
  const o = f.at(1 - member);
  const running: RunningEngine = {
    state: 'running',
    instance: INSTANCE,
    readOnly: s[m + f.READ_ONLY] === 1,
    semiSyncMaster: s[m + f.SEMI_SYNC] === 1,
    semiSyncLapsed: false,
    waiters: s[m + f.PENDING] === 0 ? 0 : 1,
    waitAgeMs: 0,
    slave: {
      of: s[m + f.IO] === 1 ? OTHER : undefined,
      outside: false,
      io: s[m + f.IO] === 0 ? 'stopped' : s[m + f.CONNECTED] === 1 ? 'running' : 'connecting',
      sql: s[m + f.SQL] === 1 ? 'running' : 'stopped',
      drained: s[m + f.DRAINED] === 1,
      lagSeconds: 0,
      broken: undefined,
    },
    relayUnapplied: s[m + f.DRAINED] === 0 && s[m + f.SQL] === 0,
    openAccounts: [OTHER],
    dumps: s[o + f.CONNECTED] === 1 ? [OTHER] : [],
    near: [],
    candidateReached: candidateReached(s, m, o),
    moveReached: false,
    busy: undefined,
  };
  return {
    me: ME,
    disk: { gen: s[m + f.HAS_DATA] === 1 ? 'mine' : undefined, wasMaster: s[m + f.WAS_MASTER] === 1, rev: 1, epoch: EPOCH },
    engine: s[m + f.ENGINE] === 1 ? running : { state: 'down', ageMs: Number.POSITIVE_INFINITY },
    memory: memoryOf(s, m),
    leader: { dead: false, heard: true },
    consulAgeMs: 0,
    session: true,
    stopping: undefined,
    reinit: false,
    diskFull: false,
    promotingAgeMs: Number.POSITIVE_INFINITY,
    moveAgeMs: 0,
    fallBackAgeMs: Number.POSITIVE_INFINITY,
  };
}

const memoryBits = (s: f.State, m: number): number =>
  s[m + f.NONE]! |
  (s[m + f.BACK]! << 1) |
  (s[m + f.POSITION]! << 3) |
  (s[m + f.STOPPED]! << 5) |
  (s[m + f.FORGOTTEN]! << 6) |
  (s[m + f.COMPARED]! << 7) |
  (s[m + f.ADOPTED]! << 9) |
  (s[m + f.WITHDRAWN]! << 10);

function setMemory(s: f.State, m: number, bits: number): void {
  s[m + f.NONE] = bits & 1;
  s[m + f.BACK] = (bits >> 1) & 3;
  s[m + f.POSITION] = (bits >> 3) & 3;
  s[m + f.STOPPED] = (bits >> 5) & 1;
  s[m + f.FORGOTTEN] = (bits >> 6) & 1;
  s[m + f.COMPARED] = (bits >> 7) & 3;
  s[m + f.ADOPTED] = (bits >> 9) & 1;
  s[m + f.WITHDRAWN] = (bits >> 10) & 1;
}

const memoryOf = (s: f.State, m: number): Memory => ({
  instance: s[m + f.ENGINE] === 1 ? INSTANCE : undefined,
  adopted: s[m + f.ADOPTED] === 1,
  adoptRefused: false,
  noneIndex: s[m + f.NONE] === 1 ? INDEX : undefined,
  back:
    s[m + f.BACK] === 0
      ? undefined
      : {
          candidate: { id: OTHER, gen: 'theirs' },
          candidateIndex: DATA_INDEX,
          casIndex: INDEX,
          g: s[m + f.BACK] === 2 ? String(s[m + f.POSITION]) : undefined,
        },
  stoppedReceiving: s[m + f.STOPPED] === 1 ? EPOCH : undefined,
  forgotten: s[m + f.FORGOTTEN] === 1 ? EPOCH : undefined,
  withdrawn: s[m + f.WITHDRAWN] === 1 ? INDEX : undefined,
  compared:
    s[m + f.COMPARED] === 0 ? undefined : { gen: 'theirs', epoch: EPOCH, result: s[m + f.COMPARED] === 1 ? 'contained' : 'diverged' },
  usersKilled: undefined,
  blockRefused: undefined,
  lockRefused: false,
});

function bitsOf(memory: Memory, index: number): number {
  const { noneIndex, back, stoppedReceiving, forgotten, compared, adopted, withdrawn } = memory;
  const valid = back !== undefined && back.casIndex === index && back.candidateIndex === DATA_INDEX;
  const stage = valid ? (back.g === undefined ? 1 : 2) : 0;
  return (
    (noneIndex === index ? 1 : 0) |
    (stage << 1) |
    (Number(valid ? (back.g ?? 0) : 0) << 3) |
    ((stoppedReceiving === EPOCH ? 1 : 0) << 5) |
    ((forgotten === EPOCH ? 1 : 0) << 6) |
    ((compared === undefined || compared.epoch !== EPOCH ? 0 : compared.result === 'contained' ? 1 : 2) << 7) |
    ((adopted ? 1 : 0) << 9) |
    ((withdrawn === index ? 1 : 0) << 10)
  );
}
