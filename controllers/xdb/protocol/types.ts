import type { DataRecord, MoveOrder, SyncRecord } from '#xdb/schema.ts';

/**
 * What the decision of a sidecar is made from, and what it can be. Rules are named by their letters in the HA protocol (docs/xdb-protocol.md). The model
 * (`model/`) drives the same function, so nothing here knows of SQL, sockets or clocks: times are ages in milliseconds, positions are opaque texts that
 * the observer has already compared.
 */

export interface Indexed<T> {
  value: T;
  /** Consul's ModifyIndex. */
  index: number;
}

/** Records as one ?consistent read gave them. */
export interface Records {
  sync: Indexed<SyncRecord> | undefined;
  data: Readonly<Record<string, Indexed<DataRecord>>>;
  /** Member whose session holds `leader`. */
  lockHolder: string | undefined;
  /** Members whose sessions live (`members/<id>` is there). */
  present: readonly string[];
  /** The move order, once it is due (`at`) and while it is neither done nor failed; else undefined. */
  move: Indexed<MoveOrder> | undefined;
  birth: Indexed<{ member: string; done: boolean }> | undefined;
  /** All members that exist, replicas among them, from the specification. */
  members: readonly string[];
  /** Those of them that never acknowledge and never lead. */
  replicas: readonly string[];
  /** Outside master that the leader follows instead of being written to (role=slave before its cutover), as a word for sentences. */
  upstream: string | undefined;
  paused: boolean;
}

/** What is on this member's disk; every change of it is fsynced before the step counts as done. */
export interface Disk {
  /** Generation of the data, undefined where there is none (S4): written last when data are made, deleted first when they are wiped. */
  gen: string | undefined;
  wasMaster: boolean;
  /** Highest seen (K1). */
  rev: number;
  epoch: number;
}

export interface SlaveFacts {
  /** Member it is pointed at; undefined for nobody, or an outside master. */
  of: string | undefined;
  /** Pointed at an outside master (`Records.upstream`). */
  outside: boolean;
  io: 'running' | 'connecting' | 'stopped';
  sql: 'running' | 'stopped';
  /** Everything received is applied. */
  drained: boolean;
  /** Seconds of received work that is not applied: an eligible slave has little (H4); null when not known. */
  lagSeconds: number | null;
  /** What it said when its SQL thread stopped by an error, or the leader refused it for good (errant or missing GTIDs): only a new copy helps. */
  broken: string | undefined;
  /** What it said when it last tried to connect in vain; it goes on trying. For people, nothing is decided by it. */
  trouble?: string;
}

/** Engine that answers, observed on one connection. */
export interface RunningEngine {
  state: 'running';
  /** Differs with each start; published as `data/<me>.boot`. */
  instance: string;
  readOnly: boolean;
  /** Switched on (`rpl_semi_sync_master_enabled`). */
  semiSyncMaster: boolean;
  /** On, but it does not keep to it, or commits were let go without an acknowledgement since it was switched on (H13). */
  semiSyncLapsed: boolean;
  waiters: number;
  /** Milliseconds since a commit began to wait with no acknowledgement arriving meanwhile; 0 when nobody waits. */
  waitAgeMs: number;
  slave: SlaveFacts;
  /** Threads are stopped and the relay log holds what was not applied, or that cannot be excluded: a CHANGE or START would throw it away (J1). */
  relayUnapplied: boolean;
  /** Members whose replication accounts are open. */
  openAccounts: readonly string[];
  /** Members whose dump threads are connected as acknowledgers. */
  dumps: readonly string[];
  /** Followers that have received all but the last moments of the binlog, by a position that is not older than a second or two: to wait for them is short. */
  near: readonly string[];
  /**
   * B: the candidate of `memory.back` is connected and has received `memory.back.g`; its position was reported with the very boot that `data/<candidate>`
   * named at `candidateIndex`.
   */
  candidateReached: boolean;
  /** W: this member has received everything up to the position of the move order. */
  moveReached: boolean;
  /** Reasons not to begin a switchover now: long DDL, backup lock. */
  busy: string | undefined;
  /** K2: as the sync slave it has acknowledged more than it has: its disk lost what it had been told to keep. */
  lacks?: { acked: string; received: string };
}

export type EngineState =
  /** Of what age: since this sidecar first saw it down. */
  { state: 'down'; ageMs: number } | { state: 'starting' } | { state: 'unreachable'; ageMs: number } | RunningEngine;

/** What this member sees of the leader it is not. */
export interface LeaderView {
  /** Two vantage points found nobody there, again and again: it is to be succeeded without waiting for its session. */
  dead: boolean;
  /** This member's IO thread still hears from it (heartbeats). */
  heard: boolean;
}

export interface MemberRef {
  id: string;
  gen: string;
}

/** Volatile: forgotten when the sidecar ends, valid for one instance of the engine (A2, A4). Changed by `after()` (memory.ts) only. */
export interface Memory {
  instance: string | undefined;
  /** A1 was done on this instance, and since then no command to it had an unknown end. */
  adopted: boolean;
  /** A1 found commands of a former life that do not end. */
  adoptRefused: boolean;
  /** F1: index of a write of ours that says `sync: null`, confirmed by its own nonce or answer. It counts while the record has that very index. */
  noneIndex: number | undefined;
  /** B: how far the way back to sync has come. It counts while the record has `casIndex` and the candidate's data record `candidateIndex`. */
  back:
    | undefined
    | {
        candidate: MemberRef;
        /** `data/<candidate>` before anything else (B3). */
        candidateIndex: number;
        /** Our confirmed record with `cand` (B1). */
        casIndex: number;
        /** Position sampled after semi-sync was on. */
        g: string | undefined;
      };
  /** P2 was done in this epoch: nothing is received any more. */
  stoppedReceiving: number | undefined;
  /** P4 was done in this epoch. */
  forgotten: number | undefined;
  /** R1: index of a write of ours that withdrew this member, confirmed. It counts while the record has that very index and nothing was published since. */
  withdrawn: number | undefined;
  /** J2 was answered by this leader in this epoch. */
  compared: { gen: string; epoch: number; result: 'contained' | 'diverged' } | undefined;
  /** W1: users were sent away for this order. */
  usersKilled: string | undefined;
  /** W1: this order found commits or locks that did not make way. */
  blockRefused: string | undefined;
  /** The lock could not be taken a moment ago; what is more urgent goes first. */
  lockRefused: boolean;
}

export interface Local {
  me: string;
  disk: Disk;
  engine: EngineState;
  memory: Memory;
  leader: LeaderView;
  /** Milliseconds since Consul last answered a consistent read; the records are from then. */
  consulAgeMs: number;
  /** This member's session is alive as far as it knows. */
  session: boolean;
  /** The member is to end (SIGTERM), or its engine to be started anew (static parameters, `db restart`); since when. */
  stopping: { then: 'leave' | 'restart'; ageMs: number } | undefined;
  /** `db reinit`: this member's copy is to be made anew. */
  reinit: boolean;
  /** Disk guard: no more writes. */
  diskFull: boolean;
  /** Milliseconds since this member first saw the record in `promoting` as it is now. */
  promotingAgeMs: number;
  /** Milliseconds since this member first saw the move order in its present state. */
  moveAgeMs: number;
  /** Milliseconds since this member last fell back from sync; Infinity when it did not. */
  fallBackAgeMs: number;
}

export interface Budgets {
  /** A commit waits no longer than this before F. */
  waitMs: number;
  /** Nor longer than this at all: then the engine is killed (U4). Longer than an election of Consul's. */
  killMs: number;
  /** Records older than this are good for protection only: nothing is started, opened or written by them (S0, H10). */
  consulMs: number;
  /** An engine that does not answer for so long is killed. */
  unreachableMs: number;
  /** A leader whose engine went down leaves it down for so long while a sync slave is there to succeed it. */
  yieldMs: number;
  /** A promoter that is gone: T after this; one that is there: after six times this. */
  takeBackMs: number;
  /** Lag in seconds above which a slave is not promoted (H4). */
  lagSeconds: number;
  /** A blocked switchover that its target does not take up is given up. */
  moveMs: number;
  /** A planned end takes no longer. */
  endMs: number;
  /** Between a fall back and the next way back to sync. */
  backOffMs: number;
}

export const BUDGETS: Budgets = {
  waitMs: 2_000,
  killMs: 8_000,
  consulMs: 3_000,
  unreachableMs: 5_000,
  yieldMs: 6_000,
  takeBackMs: 10_000,
  lagSeconds: 30,
  moveMs: 5_000,
  endMs: 10_000,
  backOffMs: 3_000,
};

/** A record to be written in one transaction; `rev` and `nonce` are the executor's. */
export interface RecordWrite {
  next: Pick<SyncRecord, 'leader' | 'sync' | 'cand' | 'prev' | 'state' | 'epoch'>;
  /** Index of `sync` that the decision was made on; 0 = must not exist. */
  at: number;
  /** B1, B3: the transaction fails when `data/<member>` has another index. */
  checkData?: { member: string; index: number };
  /** P1: the transaction checks this member's session and gives it the lock, whoever had it. */
  takeLock?: boolean;
  /** R1: the transaction writes `data/<me>` with `ready: null` at this index. */
  withdrawReady?: { at: number };
  /** Birth: the transaction marks `birth` done at this index. */
  birth?: number;
}

type Why = {
  /** One sentence for operators. */
  reason: string;
};

export type WaitRule =
  | 'idle'
  | 'S0'
  | 'S1'
  | 'S2'
  | 'S4'
  | 'K1'
  | 'K2'
  | 'G1'
  | 'P'
  | 'P3'
  | 'J'
  | 'B'
  | 'D2'
  | 'W2'
  | 'T'
  | 'end'
  | 'upstream'
  | 'starting'
  | 'disk';

export type Step = Why &
  (
    | { rule: WaitRule; do: 'wait' /** Somebody should look: one of U1–U7. */; alarm?: string }
    | { rule: 'birth'; do: 'initialise' }
    | { rule: 'S1' | 'S2' | 'S3'; do: 'start'; role: 'MASTER' | 'SLAVE'; semiSyncMaster: boolean }
    /** A1: a new connection; all others of the account are ended. `failed`: some are still there (the next step is then to kill the engine). */
    | { rule: 'A1'; do: 'adopt' }
    /** SIGKILL, done when the engine is seen to be gone. */
    | { rule: 'D1' | 'U4' | 'G1' | 'A1' | 'K1' | 'end'; do: 'kill' }
    | { rule: 'birth' | 'F1' | 'B1' | 'B3' | 'P1' | 'P5' | 'T' | 'R1'; do: 'write'; write: RecordWrite }
    | { rule: 'O1' | 'B2'; do: 'allow_dumps'; members: readonly string[] }
    /** `cut`: whoever receives has to connect anew: its acknowledgements did not arrive. */
    | { rule: 'O2' | 'B' | 'P4' | 'F2' | 'D2'; do: 'semi_sync_master'; on: boolean; cut?: boolean }
    | { rule: 'O3' | 'J3'; do: 'mark_master'; was: boolean }
    /** `order`: the move order that wants it. It has `failed` when commits or locks did not make way. */
    | { rule: 'O4' | 'W1' | 'end' | 'disk' | 'upstream'; do: 'read_only'; on: boolean; order?: string }
    | { rule: 'B'; do: 'sample' }
    /** `epoch`: of P2 and P4, remembered for it. */
    | { rule: 'P2' | 'J' | 'upstream'; do: 'stop_receiving'; epoch: number }
    | { rule: 'P3' | 'J1' | 'upstream'; do: 'drain' }
    /** Ends with the note on this disk that all its data are there (see `follow`). */
    | { rule: 'P4' | 'upstream'; do: 'forget_master'; epoch: number }
    /** Against the leader's generation `gen`, in `epoch`. */
    | { rule: 'J2'; do: 'compare'; leader: string; gen: string; epoch: number }
    /** Writes `data/<me>` {gen: disk.gen, boot: instance, ready} by compare-and-set at `at` (0 = must not exist). */
    | { rule: 'J3'; do: 'publish'; ready: number | null; at: number }
    /**
     * Begins with a note on this disk: what is acknowledged from here on may be in the memory of this host only, until it is applied. A sidecar that finds the note of
     * an earlier start of the host gives its data a new generation (G1): nothing that means the former ones counts on them any more.
     */
    | { rule: 'J2'; do: 'follow'; leader: string; semiSync: boolean }
    | { rule: 'upstream'; do: 'follow_upstream' }
    /** R2: SIGKILL the engine, delete the generation, then the data, in that order. */
    | { rule: 'R2'; do: 'wipe' }
    /** R3: fill an empty data directory (what is there without a generation is thrown away) with a copy of the leader's; a new generation is written last. */
    | { rule: 'R3'; do: 'clone'; leader: string }
    | { rule: 'W1' | 'end'; do: 'kill_users'; order: string }
    /** Changes the move order at its index. `sample`: with the position of the binlog now (W2). */
    | { rule: 'W' | 'W2'; do: 'move'; at: number; state: MoveOrder['state']; target?: string; gtid?: 'sample'; error?: string }
    | { rule: 'lock'; do: 'take_lock' }
    /** The member ends: session destroyed, supervisor told. The engine is down. */
    | { rule: 'end'; do: 'leave' }
  );

export type Did = Step['do'];

/** How a step ended. */
export type Outcome =
  /** Seen to be in force. Of a write: its answer was heard, or its own nonce was read back consistently (A3). */
  | {
      is: 'done';
      /** Of a write: the record's index after it. */
      index?: number;
      /** Of `sample`. */
      g?: string;
      /** Of `compare`; one that could not be asked has `failed`. */
      compared?: 'contained' | 'diverged';
    }
  /** Seen not to be in force: refused by the engine, or the record has another index and another nonce. */
  | { is: 'failed' }
  /** Neither done nor undone (A3): time-out, broken connection. */
  | { is: 'unknown' };

/** The function: total, pure, without memory of its own. `records` is undefined when Consul has not answered in this life of the sidecar. */
export type Decide = (records: Records | undefined, local: Local, budgets: Budgets, guards?: Guards) => Step;

/**
 * Each guard of the protocol can be left out, to show that it is needed: the model finds a violation without it (docs/xdb-protocol.md), and the fault suite
 * a loss. Everything else runs with {@link GUARDS}. The word of ha-protocol's mutation list stands behind each.
 */
export interface Guards {
  /** F1: before semi-sync is switched off, the record says so (NOCASNONE). */
  recordBeforeAsync: boolean;
  /** F1: also when it says so already, a write of one's own (NOBUMP). */
  freshNone: boolean;
  /** A3: an unknown outcome is none (UNKOK). */
  unknownIsNotDone: boolean;
  /** S1: the leader starts with semi-sync on. Not needed by itself: O2 switches it on before O4. */
  semiSyncAtStart: boolean;
  /** S1, O: also a leader that starts without a slave writes the record first (STARTASYNC). */
  freshNoneAtStart: boolean;
  /** Semi-sync is on at all while a slave is named: S1, O2, B (NOSSM). */
  semiSyncAwaited: boolean;
  /** P1: only who is named may promote (PROMANY). */
  namedPromotes: boolean;
  /** P2: the IO thread is proven stopped first (NOSTOPIO). */
  stopReceiving: boolean;
  /** P3: all that was received is applied (NODRAIN). */
  drain: boolean;
  /** P4: a stray START SLAVE finds no master (NORESET). */
  forgetMaster: boolean;
  /** P5: no write before the record says open (NOOPENCAS). */
  openBeforeWrites: boolean;
  /** B: the position is sampled after semi-sync is on (GFIRST). */
  semiSyncBeforeSample: boolean;
  /** B: the candidate has received it (NOG). */
  awaitPosition: boolean;
  /** B: semi-sync is on before the record names the candidate (CASFIRST). */
  semiSyncBeforeRecord: boolean;
  /** B3: the candidate's data record is the one seen before (NOBOOT). */
  candidateUnchanged: boolean;
  /** B: a candidate has published that it is ready (NORDY). */
  candidateReady: boolean;
  /** J3: in this epoch (RDYSTALE). */
  readyInEpoch: boolean;
  /** J3: the marker is off the disk before `ready` (WASLATE). */
  markerBeforeReady: boolean;
  /** J2: no following before the leader's binlog was seen to have our last transaction (NOERR). */
  compare: boolean;
  /** J1: an unapplied relay log is replayed first (NORESCUE). */
  rescueRelay: boolean;
  /** S1: a leader never starts truncating (LEADTRUNC). */
  leaderKeeps: boolean;
  /** S3: a slave that never led does not either (SLAVETRUNC). */
  slaveKeeps: boolean;
  /** S2: nor does one that led, while somebody promotes (PREVTRUNC). */
  keepWhilePromoting: boolean;
  /** G1: who promotes has the generation of data that the record names (NOGEN). */
  generation: boolean;
  /** G1: so has a leader at each of its steps (NOGEN2). */
  generationAgain: boolean;
  /** D1: a deposed master with waiters is killed, not told to stop waiting (SSMOFFDEM). */
  killDeposed: boolean;
  /** W1: users are sent away after read-only is in force (KILLFIRST). */
  readOnlyBeforeKill: boolean;
  /** S0: no start without a record (LOCALSTART). */
  recordBeforeStart: boolean;
  /** A1: commands of a former life are ended first (ZOMBIE). */
  adopt: boolean;
  /** R1: the record does not name a copy that is being wiped (NOWDR). */
  withdraw: boolean;
}

export const GUARDS: Guards = {
  recordBeforeAsync: true,
  freshNone: true,
  unknownIsNotDone: true,
  semiSyncAtStart: true,
  freshNoneAtStart: true,
  semiSyncAwaited: true,
  namedPromotes: true,
  stopReceiving: true,
  drain: true,
  forgetMaster: true,
  openBeforeWrites: true,
  semiSyncBeforeSample: true,
  awaitPosition: true,
  semiSyncBeforeRecord: true,
  candidateUnchanged: true,
  candidateReady: true,
  readyInEpoch: true,
  markerBeforeReady: true,
  compare: true,
  rescueRelay: true,
  leaderKeeps: true,
  slaveKeeps: true,
  keepWhilePromoting: true,
  generation: true,
  generationAgain: true,
  killDeposed: true,
  readOnlyBeforeKill: true,
  recordBeforeStart: true,
  adopt: true,
  withdraw: true,
};
