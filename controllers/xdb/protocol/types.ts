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

/** Records as one ?consistent read gave them; `undefined` as a whole when Consul could not be asked. */
export interface Records {
  sync: Indexed<SyncRecord> | undefined;
  data: Readonly<Record<string, Indexed<DataRecord>>>;
  /** Member whose session holds `leader`. */
  lockHolder: string | undefined;
  move: Indexed<MoveOrder> | undefined;
  /** Birth: this member may make the data, and nobody has. */
  birth: Indexed<{ member: string; done: boolean }> | undefined;
  /** Members that exist, from the specification; replicas never acknowledge. */
  members: readonly string[];
  replicas: readonly string[];
  paused: boolean;
}

/** What is on this member's disk; every change of it is fsynced before the step counts as done. */
export interface Disk {
  /** Generation of the data, undefined where there is none (S4). */
  gen: string | undefined;
  wasMaster: boolean;
  /** Highest seen (K1). */
  rev: number;
  epoch: number;
}

export interface SlaveFacts {
  /** Member it is pointed at; undefined for nobody. */
  of: string | undefined;
  io: 'running' | 'connecting' | 'stopped';
  sql: 'running' | 'stopped';
  /** Everything received is applied. */
  drained: boolean;
  /** Seconds of received work that is not applied: an eligible slave has little (H4). */
  lagSeconds: number | null;
  /** Its IO thread refuses or was refused for good (errant or missing GTIDs): only a new copy helps. */
  broken: string | undefined;
}

/** Engine that answers, observed on one connection. */
export interface RunningEngine {
  state: 'running';
  /** Differs with each start. */
  instance: string;
  /** A1 was done on this instance by this life of the sidecar. */
  adopted: boolean;
  readOnly: boolean;
  semiSyncMaster: boolean;
  waiters: number;
  /** Milliseconds since a commit began to wait with no acknowledgement arriving meanwhile; 0 when nobody waits. */
  waitAgeMs: number;
  slave: SlaveFacts;
  /** Relay log with what was not applied, which a CHANGE or START would throw away (J1). */
  relayUnapplied: boolean;
  /** Members whose replication accounts are open. */
  openAccounts: readonly string[];
  /** Members whose dump threads are connected as acknowledgers. */
  dumps: readonly string[];
  /** J2 was asked against the present leader on this instance; undefined = not yet. */
  compared: { leader: string; result: 'contained' | 'diverged' } | undefined;
  /** The data directory's `boot` as published in `data/<me>` for this instance. */
  bootPublished: boolean;
  /** Largest B-flow position has been reached by the candidate: it is connected and has received `memory.back.g`. */
  candidateReached: boolean;
  /** W: the position of the move order has been received by this member. */
  moveReached: boolean;
  /** Reasons not to begin a switchover now: long DDL, backup lock. */
  busy: string | undefined;
}

export type EngineState = { state: 'down' } | { state: 'starting' } | { state: 'unreachable'; ageMs: number } | RunningEngine;

/** What this member sees of the leader it is not. */
export interface LeaderView {
  /** Two vantage points found nobody there, again and again: it is to be succeeded without waiting for its session. */
  dead: boolean;
  /** This member's IO thread still hears from it (heartbeats). */
  heard: boolean;
}

/** Volatile: forgotten when the sidecar ends, valid for one instance of the engine (A2, A4). */
export interface Memory {
  instance: string | undefined;
  /** F1: index of a write of ours that says `sync: null`, confirmed by its own nonce or answer. */
  noneIndex: number | undefined;
  /** B: how far the way back to sync has come. */
  back:
    | undefined
    | {
        candidate: MemberRef;
        /** `data/<candidate>` before anything else (B3). */
        candidateIndex: number;
        /** Our confirmed record with `cand` (B1). */
        casIndex: number;
        /** B2: accounts of all others locked, their dump threads gone. */
        alone: boolean;
        semiSync: boolean;
        /** Sampled after semi-sync was on. */
        g: string | undefined;
      };
  /** P2 was done on this instance in this epoch: nothing is received any more. */
  stoppedReceiving: number | undefined;
  /** P4 was done on this instance. */
  forgotten: boolean;
  /** W1: read-only is in force for this order. */
  blockedFor: string | undefined;
}

export interface MemberRef {
  id: string;
  gen: string;
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
  /** The supervisor or the operator asks the member to end (SIGTERM). */
  ending: boolean;
  /** Milliseconds that this member has been promoting / the promoter has been seen idle (T). */
  promotingAgeMs: number;
}

export interface Budgets {
  /** A commit waits no longer than this before F, or the end (U4). */
  waitMs: number;
  /** Promoter idle for so long: T. */
  takeBackMs: number;
  /** Lag above which a slave is not promoted (H4). */
  lagSeconds: number;
}

type Why = { reason: string };

/** A record to be written in one transaction; `rev` and `nonce` are the executor's. Unknown outcome = not done and not undone (A3). */
export interface RecordWrite {
  next: Pick<SyncRecord, 'leader' | 'sync' | 'cand' | 'prev' | 'state' | 'epoch'>;
  /** Index of `sync` that the decision was made on; 0 = must not exist. */
  at: number;
  /** Further checks and writes of the same transaction. */
  checkData?: { member: string; index: number };
  takeLock?: boolean;
  withdrawReady?: boolean;
  birth?: number;
}

export type Step = Why &
  (
    | { rule: 'idle' | 'S0' | 'S2' | 'S4' | 'K1' | 'G1' | 'A3' | 'wait'; do: 'wait'; alarm?: string }
    | { rule: 'birth'; do: 'initialise' }
    | { rule: 'S1' | 'S2' | 'S3'; do: 'start'; role: 'MASTER' | 'SLAVE'; semiSyncMaster: boolean }
    | { rule: 'A1'; do: 'adopt' }
    | { rule: 'D1' | 'U4' | 'R2' | 'S4' | 'G1' | 'A1' | 'K1' | 'end'; do: 'kill' }
    | { rule: 'birth' | 'F1' | 'B1' | 'B3' | 'P1' | 'P5' | 'T' | 'R1'; do: 'write'; write: RecordWrite }
    | { rule: 'O1' | 'B2'; do: 'allow_dumps'; members: readonly string[] }
    | { rule: 'O2' | 'B' | 'P4' | 'F2' | 'D2' | 'F1'; do: 'semi_sync_master'; on: boolean }
    | { rule: 'O3' | 'J3'; do: 'mark_master'; was: boolean }
    | { rule: 'O4' | 'W1' | 'disk'; do: 'read_only'; on: boolean }
    | { rule: 'B'; do: 'sample' }
    | { rule: 'P2' | 'J'; do: 'stop_receiving' }
    | { rule: 'P3' | 'J1'; do: 'drain' }
    | { rule: 'P4'; do: 'forget_master' }
    | { rule: 'J2'; do: 'compare'; leader: string }
    | { rule: 'J3'; do: 'publish'; boot: true; ready: number | null }
    | { rule: 'J2'; do: 'follow'; leader: string; semiSync: boolean }
    | { rule: 'R2'; do: 'wipe' }
    | { rule: 'R3'; do: 'clone'; leader: string }
    | { rule: 'W1'; do: 'kill_users' }
    | { rule: 'W2' | 'W'; do: 'move'; state: MoveOrder['state']; gtid?: 'sample'; error?: string }
    | { rule: 'lock'; do: 'take_lock' }
  );

/** The function: total, pure, without memory of its own. */
export type Decide = (records: Records | undefined, local: Local, budgets: Budgets) => Step;
