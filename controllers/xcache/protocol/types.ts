import type { BirthRecord } from '#pool/service-schema.ts';
import type { Copy, LeadRecord, MoveOrder } from '#xcache/schema.ts';

/** A record as it was read, with its place in Consul's history. */
export interface Indexed<T> {
  value: T;
  index: number;
}

/** What one consistent read gave. */
export interface Records {
  lead: Indexed<LeadRecord> | undefined;
  birth: Indexed<BirthRecord> | undefined;
  move: Indexed<MoveOrder> | undefined;
  /** Of the specification, oldest first. */
  members: readonly string[];
  minReplicas: number;
  /** Members with a live session. */
  present: readonly string[];
  /** Members that have not said yet that their endpoints lead by `lead` as it is: they may still lead to its master, also where a sidecar is only just being started. */
  unheard: readonly string[];
  /** Members with a live session that are to end: they take over from nobody, and are counted on no longer than needed. */
  leaving: readonly string[];
  /** Milliseconds since the record of each member was last seen to change, while Consul was answering; none for one that has no record. */
  beatAgeMs: Readonly<Record<string, number>>;
  paused: boolean;
}

/** A replica as the master's engine sees it: its link is up, and so long ago at most it acknowledged. */
export interface Attached {
  id: string;
  ackMs: number;
  offset: number;
}

export interface RunningEngine {
  state: 'running';
  run: string;
  role: 'master' | 'replica';
  /** Member that it follows; `other` for an address that is none of a member's. */
  following: string | undefined;
  /** Its link is up, and its master was heard within two seconds: a frozen one leaves its connections open. */
  linkUp: boolean;
  offset: number;
  /** It holds not one key. */
  empty: boolean;
  /** It refuses every write, whoever asks and whatever role it has. */
  fenced: boolean;
  /** Good replicas that it wants for a write; meaningless while fenced. */
  minReplicas: number;
  replicas: readonly Attached[];
  /** A FAILOVER is under way. */
  failingOver: boolean;
}

export type EngineState = { state: 'down' } | { state: 'starting' } | { state: 'unreachable'; ageMs: number } | RunningEngine;

/** Another member's engine, seen from here by real commands. */
export interface Peer {
  /** Since it last answered; 0 when the newest look was answered. */
  silentMs: number;
  /** As it was then; undefined when it never answered this sidecar. */
  seen?: { run: string; role: 'master' | 'replica'; offset: number; linkUp: boolean; fenced: boolean; minReplicas: number; empty: boolean };
}

/** What a sidecar sees of its own member and of the world. */
export interface Local {
  me: string;
  /** Highest epoch that this member ever saw, from its disk. */
  epoch: number;
  engine: EngineState;
  /** Since the newest consistent read that succeeded was begun. */
  consulAgeMs: number;
  peers: Readonly<Record<string, Peer>>;
  /** The host of the master is not there for another host either. */
  hostDead: boolean;
  /** Since the record is as it is: its state, its epoch and its master. */
  stateAgeMs: number;
  /** Since the master is gone by what is seen here; 0 when it is not. */
  goneAgeMs: number;
  /** FAILOVER was asked for under this revision already. */
  handoverTriedRev: number;
  /** Revision of the record that this member's own endpoint was seen to lead by. */
  endpointRev: number;
  /**
   * Members that a write of this one's may have put on the record. It counts while the record that it was to follow is still what was read: it may have happened since, or
   * may happen yet.
   */
  doubt: { at: number; members: readonly string[] } | undefined;
  stopping: { ageMs: number } | undefined;
}

export type LeadBody = Omit<LeadRecord, 'v' | 'rev' | 'nonce'>;

interface Base {
  rule: string;
  /** One sentence: what is decided and why. */
  reason: string;
}

export type Step = Base &
  (
    | { do: 'wait'; alarm?: boolean }
    | { do: 'start' }
    | { do: 'kill' }
    | { do: 'write'; next: LeadBody; at: number; birth?: number }
    /** Refuse every write from now on; `cut` ends the connections of clients too. */
    | { do: 'fence'; cut: boolean }
    | { do: 'open'; minReplicas: number }
    | { do: 'follow'; member: string }
    /** Follow nobody, refusing every write. */
    | { do: 'detach' }
    /** The engine's own FAILOVER: writes wait, the replica catches up, roles are swapped. */
    | { do: 'handover'; target: string }
    | { do: 'move'; state: MoveOrder['state']; target?: string; error?: string; at: number }
    | { do: 'leave' }
  );

/** Milliseconds. What rests on which: README.md. */
export interface Budgets {
  /** An engine that says nothing for so long is killed. */
  hungMs: number;
  /** The same for one that has the only copy. */
  hungAloneMs: number;
  /** A peer's engine that did not answer for so long is silent. */
  silentMs: number;
  /** A master whose record did not move for so long, while Consul answered, gave no sign of life. */
  beatMs: number;
  /** A master may take writes for so long after the beginning of a read that named it. */
  readGraceMs: number;
  /** An acknowledgement older than that says nothing. */
  ackMs: number;
  /** A replica that has not acknowledged for so long is taken off the record. */
  lostMs: number;
  /** A replica that acknowledged within this, and lacks no more than `nearBytes`, is put on it. */
  nearBytes: number;
  /** From a promotion to the first write, unless the master before is known to take none: by then it has fenced itself. */
  openAfterMs: number;
  /** Longest wait for a copy that is better or unknown. */
  electMs: number;
  /** How long a master that lost what it had in memory waits for a copy of it. */
  waitForCopiesMs: number;
  /** When nobody who holds a copy has come by then, one who holds none takes over. */
  lastResortMs: number;
  /** A planned change waits so long for every endpoint to lead nobody to the master any more. */
  heardMs: number;
  /** A planned change that is not over by then is given up. */
  handMs: number;
  /** A member that is to end hands over for so long. */
  leaveMs: number;
  /** A replica that is to end waits so long for its master to count on it no more. */
  withdrawMs: number;
}

export const BUDGETS: Budgets = {
  hungMs: 2000,
  hungAloneMs: 60_000,
  silentMs: 1500,
  beatMs: 2200,
  readGraceMs: 1200,
  ackMs: 2000,
  lostMs: 3000,
  nearBytes: 1_000_000,
  openAfterMs: 1900,
  electMs: 3000,
  waitForCopiesMs: 8000,
  lastResortMs: 15_000,
  heardMs: 1500,
  handMs: 5000,
  leaveMs: 8000,
  withdrawMs: 2000,
};

/** Guards that a test switches off one by one, to prove that its checker finds what they prevent. */
export interface Guards {
  /** A master that can neither read the record nor count on all that may take over refuses writes. */
  lease: boolean;
  /** A promoted one waits until the master before has fenced itself. */
  waitForFence: boolean;
  /** A restarted engine is another copy. */
  runs: boolean;
  /** Only who is on the record may be promoted. */
  insyncOnly: boolean;
}

export const GUARDS: Guards = { lease: true, waitForFence: true, runs: true, insyncOnly: true };

export function sameCopy(a: Copy | null | undefined, b: Copy | null | undefined): boolean {
  return a?.id === b?.id && a?.run === b?.run;
}
