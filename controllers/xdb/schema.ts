import { z } from 'zod';
import { BackupPlan, backupSecrets } from '#backup/schema.ts';
import { name, port, serviceName } from '#core/names.ts';
import { serviceSpec, serviceStatus } from '#pool/service-schema.ts';

/** Records of a database under `xcaas/db/<name>/…`. Who writes which: controllers/xdb/README.md. */

export const dbRole = z.enum(['pair', 'single', 'slave']);
export const flavor = z.enum(['mariadb', 'mysql']);

/** `xcaas/db/<name>/spec`: what was asked for. Written by the API only. */
export const DbSpec = z.object({
  ...serviceSpec,
  role: dbRole,
  flavor,
  /** Default storage engine; the only one that survives a failover whole is InnoDB. */
  storageEngine: z.literal('innodb').default('innodb'),
  /** Database that is made at the beginning, and the user that owns it. */
  database: z.string().regex(/^[a-z][a-z0-9_]{0,62}$/),
  user: z.string().regex(/^[a-z][a-z0-9_]{0,31}$/),
  /**
   * Members by id, oldest first; the first of them makes the data. One that is made anew on another host gets a new id, and the controller writes it
   * here: what its predecessor still does, on a host that was thought lost, can then never be taken for its own.
   */
  members: z.array(z.object({ id: name, role: z.enum(['member', 'replica']), delaySeconds: z.number().int().min(0).default(0) })),
  /** Highest number that a member was ever given; none is given twice. */
  lastMember: z.number().int().min(0).default(0),
  /** Server parameters that differ from the defaults, see `parameters.ts`. */
  parameters: z.record(z.string(), z.string()).default({}),
  /** Master of `role=slave` until its cutover; `ours`: it is this database of ours. User and password are in the sealed credentials. */
  upstream: z.object({ host: z.string(), port, tls: z.boolean().default(false), ours: serviceName.optional() }).optional(),
  /** Restored from: a backup of another database. */
  origin: z
    .object({
      from: serviceName,
      backup: z.string(),
      at: z.string().optional(),
      /** Last transaction that it is to have. */
      gtid: z.string().default(''),
      store: z.string().default('volume'),
      /** Folder of the other's history in that store. */
      history: z.string().default(''),
    })
    .optional(),
  backup: BackupPlan.default(BackupPlan.parse({})),
});
export type DbSpec = z.infer<typeof DbSpec>;

/** A member's data: who, and which generation of it (a new one with each initialisation or clone). */
export const MemberData = z.object({ id: name, gen: z.string().min(1) });
export type MemberData = z.infer<typeof MemberData>;

/**
 * `xcaas/db/<name>/sync`: the record that the HA protocol turns on. Each write is a compare-and-set with `rev + 1` and a new nonce, and counts only when
 * that nonce was read back or the answer was heard.
 */
export const SyncRecord = z.object({
  v: z.literal(1),
  leader: MemberData,
  /** The one slave whose acknowledgements count; everything acknowledged is on it too. */
  sync: MemberData.nullable(),
  /** Chosen to become `sync`, not yet complete. */
  cand: MemberData.nullable(),
  /** While promoting: the leader before, which is complete as well. */
  prev: MemberData.nullable(),
  state: z.enum(['open', 'promoting']),
  epoch: z.number().int().min(1),
  rev: z.number().int().min(1),
  nonce: z.string(),
});
export type SyncRecord = z.infer<typeof SyncRecord>;

/** Whom a record named. */
export const NamedInRecord = SyncRecord.pick({ leader: true, sync: true, prev: true, state: true });
export type NamedInRecord = z.infer<typeof NamedInRecord>;

/** `xcaas/db/<name>/data/<member>`: the protocol's `members/<id>`; outlives the member's session, rarely written, by its own sidecar only. */
export const DataRecord = z.object({
  v: z.literal(1),
  gen: z.string().min(1),
  /** A new one with each start of the engine, written before it follows anybody. */
  boot: z.string(),
  /** Epoch in which this member was seen to follow and to hold nothing that the leader lacks. */
  ready: z.number().int().nullable(),
});
export type DataRecord = z.infer<typeof DataRecord>;

/**
 * `xcaas/db/<name>/acked/<epoch>` (K2): up to where this slave has acknowledged at least, by the leader of that epoch, now and then. A slave that lacks it has lost what it had
 * on its disk.
 */
export const AckedRecord = z.object({ v: z.literal(1), epoch: z.number().int(), sync: MemberData, gtid: z.string().min(1) });
export type AckedRecord = z.infer<typeof AckedRecord>;

/** `xcaas/db/<name>/move`: an ordered change of the master. Written by the API; `gtid`, `state` and what follows by the leader's sidecar. */
export const MoveOrder = z.object({
  v: z.literal(1),
  id: z.string(),
  kind: z.enum(['switchover', 'failover']),
  target: name.optional(),
  /** Not before. */
  at: z.string().optional(),
  state: z.enum(['asked', 'blocked', 'done', 'failed']),
  /** W2: what the target must hold before it promotes. */
  gtid: z.string().optional(),
  blockedAt: z.string().optional(),
  /** Milliseconds in which no write was taken, measured by the leader that was and the leader that is. */
  blockedMs: z.number().optional(),
  error: z.string().optional(),
});
export type MoveOrder = z.infer<typeof MoveOrder>;

/** `xcaas/db/<name>/members/<member>`: what a sidecar says of its member, held by its session. */
export const MemberStatus = z.object({
  v: z.literal(1),
  member: name,
  node: z.string(),
  /** Address on the database's network. */
  address: z.string(),
  enginePort: port,
  /** What the record makes of it and what its engine does. */
  role: z.enum(['master', 'slave', 'replica', 'none']),
  state: z.enum(['starting', 'running', 'catching_up', 'cloning', 'down', 'stays_down', 'failed']),
  /** What was decided last, and why. */
  sentence: z.string(),
  rule: z.string(),
  version: z.string().optional(),
  gtid: z.string().optional(),
  lagSeconds: z.number().nullable().default(null),
  /** Index of the specification that it runs with, and the restart serial its engine was started with. */
  specIndex: z.number().int(),
  restartSerial: z.number().int(),
  pendingRestart: z.array(z.string()).default([]),
  epoch: z.number().int(),
  rev: z.number().int(),
  readOnly: z.boolean().optional(),
  /** Disk guard. */
  disk: z.object({ usedBytes: z.number(), totalBytes: z.number(), state: z.enum(['ok', 'warn', 'read_only']) }).optional(),
  uri: z.string().optional(),
  /** How far this member has archived its binlog: what came after `time` is in no backup yet. */
  archive: z
    .object({
      active: z.boolean(),
      sentence: z.string(),
      gtid: z.string().optional(),
      time: z.string().optional(),
      behindBytes: z.number().int(),
      failingSince: z.string().optional(),
    })
    .optional(),
  time: z.string(),
});
export type MemberStatus = z.infer<typeof MemberStatus>;

/** `xcaas/db/<name>/status`: written by the controller only. */
export const DbStatus = z.object({
  ...serviceStatus,
  /** What the record said when the controller looked last: a change of it is an event. */
  seen: z.object({ epoch: z.number().int(), leader: z.string(), sync: z.string().nullable() }).optional(),
  /** What had become of each backup by then, by its id. */
  backups: z.record(z.string(), z.string()).optional(),
});
export type DbStatus = z.infer<typeof DbStatus>;

/** What members get as the secret file `credentials.json`. */
export const Credentials = z.object({
  /** Of the record that a file was made from: who asks a member to act by a change of them says which one. Not in the sealed text. */
  serial: z.number().int().optional(),
  /** Sidecar's own account, through 127.0.0.1 and the extra port, and the unix socket. */
  agent: z.string(),
  /** One replication account a member (`repl_<member>`), so that one can be locked without the others. */
  replication: z.record(z.string(), z.string()),
  /** Users of the user's: name → password. Two passwords while one is being changed, the newest first. */
  users: z.record(z.string(), z.array(z.string()).min(1).max(2)),
  /** Account at the master of `role=slave`; `peerSecret`: of a database of ours, what its members are asked for a copy with. */
  upstream: z.object({ user: z.string(), password: z.string(), peerSecret: z.string().optional() }).optional(),
  /** Of other databases of ours that follow this one: the follower's name → password of its account here. */
  followers: z.record(z.string(), z.string()).optional(),
  ...backupSecrets,
});
export type Credentials = z.infer<typeof Credentials>;
