import { z } from 'zod';
import { name, port, serviceName } from '#core/names.ts';

/** Records of a load balancer under `xcaas/lb/<name>/…` and `xcaas/targets/<name>/…`, and what its sidecars say. */

export const Listener = z.object({ proto: z.enum(['http', 'https', 'tcp']), port });
export type Listener = z.infer<typeof Listener>;

/** Host of a rule: a DNS name, or `*.` before one. Upper case is folded when it is read from a user. */
export const hostPattern = z
  .string()
  .max(253)
  .regex(
    /^(\*\.)?[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/,
    'use a DNS name, perhaps with "*." before it',
  );

/** Path prefix of a rule; a whitelist, because it is written into nginx's configuration. */
export const pathPrefix = z
  .string()
  .max(512)
  .regex(/^\/[A-Za-z0-9._~/-]*$/, 'use "/" and letters, digits and . _ ~ - only');

export const Algorithm = z.enum(['round_robin', 'least_conn', 'hash']);
export type Algorithm = z.infer<typeof Algorithm>;

/** What `hash` hashes: the client's address, the request's URI, a header or a cookie. */
export const hashKey = z
  .string()
  .regex(/^(ip|uri|header:[A-Za-z0-9-]{1,64}|cookie:[A-Za-z0-9_-]{1,64})$/, 'use ip, uri, header:NAME or cookie:NAME');

export const ActiveCheck = z.object({
  type: z.enum(['http', 'tcp']).default('tcp'),
  path: pathPrefix.default('/'),
  intervalMs: z.number().int().min(200).max(300_000).default(2000),
  timeoutMs: z.number().int().min(50).max(60_000).default(1000),
  rise: z.number().int().min(1).max(100).default(2),
  fall: z.number().int().min(1).max(100).default(2),
});
export type ActiveCheck = z.infer<typeof ActiveCheck>;

export const TargetGroup = z.object({
  name,
  /** Consul services whose instances are its peers; the targets added by hand are one of them (see {@link handService}). */
  services: z.array(z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/)).default([]),
  algorithm: Algorithm.default('round_robin'),
  hashKey: hashKey.default('ip'),
  /** Name of the cookie that keeps a client on its peer, or none. */
  stickyCookie: z
    .string()
    .regex(/^[A-Za-z0-9_-]{1,64}$/)
    .optional(),
  /** Peers tried for one request, the first included. A request that is not idempotent is never tried twice once it was sent. */
  tries: z.number().int().min(1).max(10).default(3),
  maxFails: z.number().int().min(0).max(100).default(1),
  failTimeoutMs: z.number().int().min(100).max(600_000).default(10_000),
  active: ActiveCheck.default(ActiveCheck.parse({})),
});
export type TargetGroup = z.infer<typeof TargetGroup>;

/** Where a request of a listener goes. The most specific host wins, then the longest path. */
export const Rule = z.object({
  /** `http:80`, or `*` for every http and https listener. */
  listen: z.string(),
  host: hostPattern.optional(),
  path: pathPrefix.default('/'),
  group: name,
});
export type Rule = z.infer<typeof Rule>;

export const Publish = z.object({ hostPort: port, port });
export type Publish = z.infer<typeof Publish>;

export const LbOptions = z.object({
  connectTimeoutMs: z.number().int().min(50).max(60_000).default(1000),
  readTimeoutMs: z.number().int().min(100).max(86_400_000).default(60_000),
  sendTimeoutMs: z.number().int().min(100).max(86_400_000).default(60_000),
  /** Largest request body in bytes; 0 = no limit. */
  maxBodyBytes: z.number().int().min(0).default(0),
});
export type LbOptions = z.infer<typeof LbOptions>;

export const LbSpec = z.object({
  v: z.literal(1),
  name: serviceName,
  replicas: z.number().int().min(1).max(16),
  network: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/),
  listeners: z.array(Listener),
  publish: z.array(Publish),
  groups: z.array(TargetGroup),
  rules: z.array(Rule),
  /** Hosts with a certificate; the certificates themselves are sealed in `xcaas/lb/<name>/certs/<host>`. */
  certs: z.array(hostPattern).default([]),
  /** Counts changes of the certificates, so that it can be seen which of them a member holds. */
  certsVersion: z.number().int().min(0).default(0),
  options: LbOptions.default(LbOptions.parse({})),
  /** Set by destroy: the controller removes the members, then the records. */
  destroyed: z.boolean().default(false),
});
export type LbSpec = z.infer<typeof LbSpec>;

/** `xcaas/targets/<lb>/<id>`: a container added by hand. The agent of the host it runs on registers it as {@link handService}. */
export const Target = z.object({
  v: z.literal(1),
  id: name,
  lb: serviceName,
  group: name,
  container: z.object({ by: z.enum(['name', 'id']), value: z.string() }),
  port,
  weight: z.number().int().min(1).max(1000).default(100),
  network: z.string(),
  drain: z.boolean().default(false),
});
export type Target = z.infer<typeof Target>;

/** The Consul service of a group's targets that were added by hand. */
export function handService(lb: string, group: string): string {
  return `xlb-${lb}-${group}`;
}

/** One endpoint of a target group as the data plane knows it. */
export const Peer = z.object({
  /** Consul's service id. */
  id: z.string(),
  address: z.string(),
  port,
  weight: z.number().int().min(1).max(1000),
  state: z.enum(['up', 'draining', 'down']),
  container: z.string(),
  node: z.string(),
});
export type Peer = z.infer<typeof Peer>;

/** What is pushed to the data plane for one group: http groups to nginx, tcp groups to HAProxy. */
export const GroupTable = TargetGroup.omit({ services: true }).extend({ version: z.number().int().positive(), peers: z.array(Peer) });
export type GroupTable = z.infer<typeof GroupTable>;

/** A peer as one worker sees it now. */
export const LivePeer = Peer.extend({
  healthy: z.boolean(),
  /** Requests or connections in flight. */
  active: z.number().int(),
  requests: z.number().int(),
  failures: z.number().int(),
});
export type LivePeer = z.infer<typeof LivePeer>;

/** `GET /status` of a sidecar, and its record `xcaas/lb/<name>/members/<member>`. */
export const SidecarStatus = z.object({
  v: z.literal(1),
  member: z.string(),
  node: z.string(),
  sentence: z.string(),
  /** Hash of the structure nginx runs with now, as its newest workers say. */
  generation: z.string(),
  /** Hash of the structure that the specification asks for; differs while a change is on its way or was refused. */
  wantedGeneration: z.string(),
  /** Why the wanted structure was refused, if it was. */
  rejected: z.string().optional(),
  /** The oldest table version that any worker runs with. */
  liveVersion: z.number().int(),
  /** Modify index of the specification that was applied. */
  specIndex: z.number().int(),
  /** `certsVersion` of the certificates that nginx holds. */
  certsVersion: z.number().int().default(0),
  consulReachable: z.boolean(),
  engineUp: z.boolean(),
  oldWorkers: z.number().int(),
});
export type SidecarStatus = z.infer<typeof SidecarStatus>;

/** `GET /peers` of a sidecar: every worker's own table. */
export const SidecarPeers = z.object({
  member: z.string(),
  workers: z.array(
    z.object({ worker: z.string(), groups: z.record(z.string(), z.object({ version: z.number().int(), peers: z.array(LivePeer) })) }),
  ),
});
export type SidecarPeers = z.infer<typeof SidecarPeers>;

/** `xcaas/lb/<name>/status`, written by the controller. */
export const LbStatus = z.object({
  v: z.literal(1),
  status: z.enum(['READY', 'DEGRADED', 'DOWN', 'PENDING', 'FAILED', 'PAUSED']),
  sentence: z.string(),
  /** The code of the error that keeps it from being as wanted, see controllers/core/errors.ts. */
  code: z.string().optional(),
  next: z.array(z.string()),
  /** Modify index of the specification it speaks of: an older one says nothing of the last change. */
  specIndex: z.number().int().default(0),
  time: z.string(),
});
export type LbStatus = z.infer<typeof LbStatus>;
