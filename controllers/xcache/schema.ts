import { z } from 'zod';
import { BackupPlan, backupId, backupSecrets } from '#backup/schema.ts';
import { name, port, serviceName } from '#core/names.ts';
import { serviceSpec, serviceStatus } from '#pool/service-schema.ts';

/** Records of a cache under `xcaas/cache/<name>/…`. Who writes which: controllers/xcache/README.md. */

export const cacheMode = z.enum(['standalone', 'replicated', 'cluster']);
export type CacheMode = z.infer<typeof cacheMode>;
export const cacheEngine = z.enum(['valkey', 'redis']);
export const persistence = z.enum(['none', 'rdb', 'aof']);

export const EVICTION_POLICIES = [
  'noeviction',
  'allkeys-lru',
  'allkeys-lfu',
  'allkeys-random',
  'volatile-lru',
  'volatile-lfu',
  'volatile-random',
  'volatile-ttl',
] as const;

/** `xcaas/cache/<name>/spec`: what was asked for. Written by the API; `members`, where one is made anew elsewhere, by the controller too. */
export const CacheSpec = z.object({
  ...serviceSpec,
  mode: cacheMode,
  /** Fixed at creation: the two engines' data files do not cross. */
  engine: cacheEngine,
  /** Masters; 1 unless the mode is `cluster`. */
  shards: z.number().int().min(1).max(500),
  /** Replicas of each master. */
  replicas: z.number().int().min(0).max(5),
  /** Replicas that must have acknowledged lately for a master to take writes, as far as the record lists so many. 0: it takes them alone. */
  minReplicas: z.number().int().min(0).max(5),
  persistence,
  policy: z.enum(EVICTION_POLICIES),
  user: z.string().regex(/^[a-z][a-z0-9_-]{0,39}$/),
  /** Members by id, oldest first; the first of them is the first master. A number is given once. `shard` counts from 0. */
  members: z.array(z.object({ id: name, shard: z.number().int().min(0) })).min(1),
  lastMember: z.number().int().min(0),
  /** Growth by itself, in cluster mode. */
  autoscale: z.object({ on: z.boolean(), maxShards: z.number().int().min(1).max(500) }).optional(),
  /** Every port of the members speaks TLS, and nothing else. Fixed at creation. */
  tls: z.boolean().default(false),
  /** Settings of the engine that differ from the defaults, see `parameters.ts`. */
  parameters: z.record(z.string(), z.string()).default({}),
  backup: BackupPlan.default(BackupPlan.parse({})),
  /** Restored from: a backup of another cache. */
  origin: z.object({ from: serviceName, backup: backupId, store: z.string(), history: z.string() }).optional(),
});
export type CacheSpec = z.infer<typeof CacheSpec>;

/** A copy of the data: a member, and the run of its engine (the engine's own run id). One that was restarted is another copy: what it holds has to be looked at anew. */
export const Copy = z.object({ id: name, run: z.string().min(1) });
export type Copy = z.infer<typeof Copy>;

/**
 * `xcaas/cache/<name>/lead`: who takes writes, and who may take over. Each write is a compare-and-set with `rev + 1` and a new nonce, and counts only when that nonce was
 * read back or the answer was heard.
 */
export const LeadRecord = z.object({
  v: z.literal(1),
  master: Copy,
  /** Copies that may be promoted: each was seen to follow, and the master counts on its acknowledgements. */
  insync: z.array(Copy),
  /** While promoting: the master before, which has everything. */
  prev: Copy.nullable(),
  /** While handing over: who becomes master by the engine's own FAILOVER. */
  target: Copy.nullable(),
  /**
   * `open`: the master takes writes. `vacant`: it has stood down, its engine is dead or refuses writes. `handing`: planned change. `promoting`: `master` was chosen and takes none yet.
   */
  state: z.enum(['open', 'vacant', 'handing', 'promoting']),
  /** While promoting: the master before had stood down by itself, so nobody has to be waited for. */
  clear: z.boolean(),
  epoch: z.number().int().min(1),
  rev: z.number().int().min(1),
  nonce: z.string(),
});
export type LeadRecord = z.infer<typeof LeadRecord>;

/** `xcaas/cache/<name>/move`: an ordered change of the master. Written by the API; `state` and what follows by the sidecar of the master that was. */
export const MoveOrder = z.object({
  v: z.literal(1),
  id: z.string(),
  target: name.optional(),
  state: z.enum(['asked', 'done', 'failed']),
  error: z.string().optional(),
});
export type MoveOrder = z.infer<typeof MoveOrder>;

/** `xcaas/cache/<name>/members/<member>`: what a sidecar says of its member, held by its session. */
export const CacheMemberStatus = z.object({
  v: z.literal(1),
  member: name,
  node: z.string(),
  /** Address on the cache's network. */
  address: z.string(),
  enginePort: port,
  role: z.enum(['master', 'replica', 'none']),
  state: z.enum(['starting', 'running', 'catching_up', 'down', 'failed']),
  /** What was decided last, and why. */
  sentence: z.string(),
  rule: z.string(),
  version: z.string().optional(),
  run: z.string().optional(),
  offset: z.number().optional(),
  usedBytes: z.number().optional(),
  maxBytes: z.number().optional(),
  /** In a cluster: the engine's own id of this node, and slots that it serves as a master. */
  nodeId: z.string().optional(),
  slots: z.number().int().optional(),
  /** Fault group of its host, as the environment of the member says. */
  group: z.string().optional(),
  /** Index of the specification that it runs with, and the restart serial its engine was started with. */
  specIndex: z.number().int(),
  restartSerial: z.number().int(),
  epoch: z.number().int(),
  /** Revision of the record that its endpoint was seen to lead by. */
  rev: z.number().int(),
  /** It was asked to end. */
  leaving: z.boolean().optional(),
  /** Rises about once a second while this member is the master: others see by it that it lives, without waiting for its session to end. */
  beat: z.number().int(),
  time: z.string(),
});
export type CacheMemberStatus = z.infer<typeof CacheMemberStatus>;

/**
 * `xcaas/cache/<name>/cluster`: what a cluster is, and how far it is with what it should be. Written by the sidecar that holds the lock `leader`, by compare-and-set; the
 * controller and people read it.
 */
export const ClusterRecord = z.object({
  v: z.literal(1),
  /** Slots were given out once: they are never given out anew. */
  born: z.boolean(),
  /** The engine's id of each member's node, also of members that do not answer now. */
  nodes: z.record(z.string(), z.string()),
  /** Member whose sidecar wrote this. */
  holder: name,
  /** `forming`: no slots were given out yet. `whole`: as it should be. `moving`: slots are on their way. `healing`: members are missing or being put right. `down`: slots are nobody's. */
  state: z.enum(['forming', 'whole', 'moving', 'healing', 'down']),
  /** What is done or missing, and why. */
  sentence: z.string(),
  /** Of a move of slots: `left` of `total` are still to go, since `since`. */
  progress: z.object({ total: z.number().int(), left: z.number().int(), since: z.string() }).optional(),
  /** Masters that serve slots now: member → how many. */
  slots: z.record(z.string(), z.number().int()),
  /** Shards beyond the specification's number that have no slots any more: their members may be removed. */
  emptied: z.array(z.number().int()),
  /** Slots whose last copy was lost, and which were given out empty: `time` is when. */
  lost: z.object({ slots: z.number().int(), time: z.string(), sentence: z.string() }).optional(),
});
export type ClusterRecord = z.infer<typeof ClusterRecord>;

/** `xcaas/cache/<name>/growth`: what growth has to remember between two looks (growth/decide.ts), and what it decided last. Written by the controller. */
export const GrowthState = z.object({
  v: z.literal(1),
  history: z.array(z.object({ at: z.number(), usedBytes: z.number() })),
  changedAt: z.number().optional(),
  fullSince: z.number().optional(),
  emptySince: z.number().optional(),
  decision: z.enum(['nothing', 'blocked', 'grow', 'shrink']),
  sentence: z.string(),
});
export type GrowthState = z.infer<typeof GrowthState>;

/** `xcaas/cache/<name>/status`: written by the controller only. */
export const CacheStatus = z.object({
  ...serviceStatus,
  /** Who led when the controller looked last: a change of it is an event. In a cluster, the masters. */
  seen: z.object({ epoch: z.number().int(), masters: z.array(z.string()), insync: z.array(z.string()) }).optional(),
  /** What had become of each backup by then, by its id. */
  backups: z.record(z.string(), z.string()).optional(),
});
export type CacheStatus = z.infer<typeof CacheStatus>;

/** What a user may do. Without it: everything with all keys. */
export const UserAccess = z.object({
  readOnly: z.boolean().default(false),
  /** Patterns of keys as the engine has them: `session:*`. */
  keys: z
    .array(z.string().regex(/^[!-~]{1,100}$/))
    .max(20)
    .default([]),
});
export type UserAccess = z.infer<typeof UserAccess>;

/** What members get as the secret file `credentials.json`. */
export const CacheCredentials = z.object({
  /** Of the record that a file was made from: who asks a member to act by a change of them says which one. Not in the sealed text. */
  serial: z.number().int().optional(),
  /** Account of the sidecars, at every engine of this cache. */
  agent: z.string().min(1),
  replication: z.string().min(1),
  /** Users of the user's: name → passwords, two while one is being changed, the newest first. */
  users: z.record(z.string(), z.array(z.string().min(1)).min(1).max(2)),
  /** Of users that may do less than everything. */
  access: z.record(z.string(), UserAccess).optional(),
  ...backupSecrets,
});
export type CacheCredentials = z.infer<typeof CacheCredentials>;
