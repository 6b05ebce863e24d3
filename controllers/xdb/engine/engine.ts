import type { CommandLine } from '#member/supervisor.ts';

/**
 * Everything that is particular to one database engine stands behind this interface: MariaDB now (`engine/mariadb/`), MySQL next. The protocol, the
 * sidecar's loop, backups and operations know nothing else. Letters in brackets are rules of the HA protocol (`protocol/README.md`).
 */

/** Position in the history of the data, as text of the engine's own (`0-1-42`); compared only by the engine's own functions. */
export type Gtid = string;

/** How a start treats transactions that are in the binlog and not yet committed: `MASTER` commits them, `SLAVE` cuts them off. */
export type StartRole = 'MASTER' | 'SLAVE';

export interface StartOptions {
  role: StartRole;
  /** Semi-synchronous master from the first moment on. Every start is read-only and starts no slave threads. */
  semiSyncMaster: boolean;
  parameters: Readonly<Record<string, string>>;
  serverId: number;
  memoryBytes: number;
}

/** What the engine says of itself, read on one connection in one go. */
export interface EngineFacts {
  /** Differs with each start of the engine. */
  instance: string;
  version: string;
  /** Engine's own number, by which its transactions are named. */
  serverId?: number;
  uptimeSeconds: number;
  readOnly: boolean;
  semiSyncMaster: boolean;
  /** Semi-sync is on *and* the engine still keeps to it (`Rpl_semi_sync_master_status`). */
  semiSyncActive: boolean;
  semiSyncSlave: boolean;
  /** Commits that wait for an acknowledgement now. */
  waiters: number;
  /** Acknowledged so far; with `waiters` it tells a wait that moves from one that is stuck. */
  acknowledged: number;
  /** Commits that were let go without an acknowledgement. */
  unacknowledged: number;
  /** Last in the binlog, unacknowledged ones included. */
  binlogGtid: Gtid;
  /** Last that was applied from a master. */
  appliedGtid: Gtid;
  /** Slaves that acknowledge. */
  acknowledgers?: number;
  /**
   * Members whose dump threads are connected, and whether they acknowledge: of several it is not known which, so all of them are said to when any does. Replicas never
   * do, by how they follow.
   */
  dumps: { member: string; semiSync: boolean }[];
  /** Replication accounts that are not locked. */
  openAccounts: string[];
  slave?: {
    masterHost: string;
    masterPort: number;
    /** The member it is told to follow, undefined for an outside master. */
    master: string | undefined;
    io: 'running' | 'connecting' | 'stopped';
    sql: 'running' | 'stopped';
    /** Server id of the master it is connected to: an address may be another member's by now. 0 before it was connected. */
    masterServerId?: number;
    /** Received, i.e. what was acknowledged; after a restart what the relay log holds. */
    ioGtid: Gtid;
    ioError: string;
    sqlError: string;
    /** Seconds, by the heartbeat row and the clocks of both hosts; it grows too while the master is silent. Null when not known. */
    lagSeconds: number | null;
    /** Seconds between what was received last and what was applied last, by the master's clock alone; null before anything was. */
    backlogSeconds?: number | null;
    /** Whether everything received is applied, of an outside master that is followed by file and offset; else it follows from the GTIDs. */
    drained?: boolean;
  };
  /** Relay log holds what is not applied (or it cannot be excluded). */
  relayUnapplied: boolean;
  connections: number;
  /** Why a switchover should not begin now: a long statement that changes tables, a lock on all of them. */
  busy?: string | undefined;
}

export interface Heartbeat {
  epoch: number;
  member: string;
}

/** A connection of the sidecar to one instance of the engine: when it breaks, the flow that used it is over (A2). */
export interface EngineSession {
  readonly instance: string;
  facts(): Promise<EngineFacts>;
  /** A1: ends all other connections of the sidecar's account. @returns false when some are still there after `timeoutMs` */
  killOwnOthers(timeoutMs: number): Promise<boolean>;
  /** @throws AppError `timeout` when it is not in force within `timeoutMs` (commits wait, a table is locked): it is as it was then (W1) */
  setReadOnly(on: boolean, timeoutMs: number): Promise<void>;
  /** The caller sees to it that nobody waits when it is switched off (D1, F2). */
  setSemiSyncMaster(on: boolean): Promise<void>;
  setSemiSyncSlave(on: boolean): Promise<void>;
  /**
   * O1: the member has an account to receive with, and this is its password. A new one is locked. Not written to the binlog, and possible while the engine is
   * read-only: it is done before the engine opens, by each leader for itself.
   */
  ensureReplicationAccount(member: string, password: string): Promise<void>;
  /** B2, O1: locks the replication accounts of all members but these, and ends their dump threads; not written to the binlog. */
  allowDumps(members: readonly string[]): Promise<void>;
  /** F2: ends the connections of whoever receives; they may connect anew. Does not wait for their end. */
  cutDumps(): Promise<void>;
  /** W1: ends the connections of users; to be called only while read-only is in force and nobody waits. */
  killUsers(): Promise<void>;
  /** P2: returns once the thread that receives is proven stopped. */
  stopReceiving(): Promise<void>;
  /** P3, J1: everything received is applied, or the time is over. Replays a relay log that no thread may touch. */
  drain(timeoutMs: number): Promise<boolean>;
  /** P4 */
  forgetMaster(): Promise<void>;
  /** J2: whether the master's binlog (through a connection made here) has our last transaction. `unknown` when it cannot be asked. */
  compareWith(master: MasterAddress): Promise<'contained' | 'diverged' | 'unknown'>;
  /** J2: CHANGE MASTER; J3: START SLAVE. `semiSync`: whether this slave acknowledges. */
  follow(master: MasterAddress, options: { semiSync: boolean; delaySeconds: number }): Promise<void>;
  /**
   * Becomes the slave of a master that is no member: goes on from where the copy was taken, or from what was applied since. What is received and not applied is
   * fetched again; it never acknowledges. Accounts and our own schema stay as they are here, unless the master is one of ours.
   */
  followUpstream(master: UpstreamMaster): Promise<void>;
  /** How far this engine is behind a master that is no member, asked of that master now. */
  behindUpstream(master: UpstreamMaster): Promise<UpstreamDistance>;
  /** True when the slave holds (has received) everything up to `gtid`. */
  received(gtid: Gtid): Promise<boolean>;
  /** Writes the heartbeat row (E1). Its own connection and time limit: it hangs with everybody else. */
  heartbeat(beat: Heartbeat, timeoutMs: number): Promise<{ ms: number }>;
  /**
   * Brings the engine to these parameters, as far as it takes them without a start. @returns those that wait for the next start
   *
   * @throws AppError `invalid`
   */
  applyParameters(
    parameters: Readonly<Record<string, string>>,
    memoryBytes: number,
  ): Promise<{ pendingRestart: string[]; changed: string[] }>;
  /** For looking. What it changes is in no binlog: a change of data made here would be on this member alone. */
  query<T = Record<string, unknown>>(sql: string, values?: readonly unknown[]): Promise<T[]>;
  close(): void;
}

export interface MasterAddress {
  member: string | undefined;
  host: string;
  port: number;
  user: string;
  password: string;
  /** PEM file of the CA; without it the connection is not encrypted. */
  caFile: string | undefined;
}

/** A master that is no member of this database: another database of ours, or an outside server. */
export interface UpstreamMaster {
  host: string;
  port: number;
  user: string;
  password: string;
  /** The connection is encrypted; who answers is checked with `caFile` only. */
  tls: boolean;
  /** PEM file of the pool's CA, for a database of ours. */
  caFile: string | undefined;
}

/** What a server says of itself that is to be followed. */
export interface UpstreamFacts {
  flavor: 'mariadb' | 'mysql';
  version: string;
  serverId: number;
  /** It keeps a binlog. */
  binlog: boolean;
  /** `ROW`, `MIXED`, `STATEMENT` */
  binlogFormat: string;
  /** Settings of its binlog that we cannot read, as `name=value`. */
  unreadable: string[];
  /** It offers encrypted connections. */
  tls: boolean;
  readOnly: boolean;
  /** `lower_case_table_names` */
  lowerCaseTables: string;
  /** What the account may not do and would have to. */
  missing: string[];
  /** Databases of its users. */
  databases: string[];
  /** Tables whose engine a failover does not leave whole, as `shop.t (MyISAM)`. */
  otherEngines: string[];
  /** Tables with columns whose rows we cannot read from its binlog, as `shop.t (json)`. */
  unreadableTables: string[];
}

/** Where a copy of a master is of. */
export type UpstreamPosition = { gtid: Gtid } | { file: string; offset: number };

export interface UpstreamDistance {
  /** Nothing that the master has now is missing here. */
  reached: boolean;
  /** Transactions that it has and we have not received; undefined where they cannot be counted. */
  missing: number | undefined;
  /** It takes no writes. */
  readOnly: boolean;
}

export interface Engine {
  readonly flavor: 'mariadb' | 'mysql';
  /** True when the data directory holds data of this engine. */
  hasData(): Promise<boolean>;
  /** Makes an empty data directory into a database without users but the sidecar's. @throws AppError when it is not empty */
  initialise(options: { agentPassword: string }): Promise<void>;
  /** Empties the data directory (R2); the generation's file goes first and is the caller's. */
  wipe(): Promise<void>;
  /**
   * Throws away what was received and not applied, on a data directory that no engine runs on: after a start of the host its end may be missing, or anything in it be damaged.
   * Gone from the disk when it returns; what is applied stays.
   */
  discardReceived(): Promise<void>;
  commandLine(options: StartOptions): Promise<CommandLine>;
  /** @throws AppError `unavailable` while it does not answer */
  connect(options: { timeoutMs: number }): Promise<EngineSession>;
  /**
   * Donor's side of a clone: a stream of the data as it is now. @returns when the last byte was taken; `to` is left open, whoever gave it ends it then: a copy that
   * broke off never looks like one that came to its end
   */
  dump(to: NodeJS.WritableStream, options: { signal: AbortSignal }): Promise<{ gtid: Gtid }>;
  /** Recipient's side: fills an empty data directory from such a stream and prepares it. @returns position to follow from */
  load(from: NodeJS.ReadableStream, options: { signal: AbortSignal }): Promise<{ gtid: Gtid }>;
  /** @throws AppError `unavailable`, `forbidden` (access denied), `invalid` saying what keeps it from being asked */
  inspectUpstream(master: UpstreamMaster): Promise<UpstreamFacts>;
  /**
   * Copies the databases of an outside master into the engine that `into` leads to (a file with client options), as of one moment.
   *
   * @throws AppError `engine` when the copy is not whole: what is there then is nothing
   */
  importUpstream(
    master: UpstreamMaster,
    what: { flavor: UpstreamFacts['flavor']; databases: readonly string[]; into: string },
    options: { signal: AbortSignal; onProgress(bytes: number): void },
  ): Promise<UpstreamPosition>;
  /** Notes in a data directory that no engine runs on where its copy is of: it is followed from there, and its own binlog begins there. */
  beginAt(position: UpstreamPosition): Promise<void>;
  /** Order of two positions of one history; undefined when neither contains the other. */
  compare(a: Gtid, b: Gtid): -1 | 0 | 1 | undefined;
}

/** Users and databases of the user's, on a member that takes writes. Each call writes as users do: it waits for its acknowledgement, and is refused while the engine is read-only. */
export interface UserAdmin {
  /** Brings the accounts that other databases of ours follow with to these, by the follower's name; others of that kind are removed. */
  keepFollowers(passwords: Readonly<Record<string, string>>): Promise<void>;
  listUsers(): Promise<{ name: string; databases: string[]; passwords: number }[]>;
  /** Makes a user, or brings one to these passwords and databases. @param passwords one or two, the newest first */
  ensureUser(name: string, passwords: readonly string[], databases: readonly string[]): Promise<void>;
  /** @throws AppError `not_found` naming who exists */
  dropUser(name: string): Promise<void>;
  listDatabases(): Promise<{ name: string; bytes: number; tables: number }[]>;
  createDatabase(name: string): Promise<void>;
  /** With all that is in it. @throws AppError `not_found` naming what exists */
  dropDatabase(name: string): Promise<void>;
}
