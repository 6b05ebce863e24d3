import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';
import type { ConsulClient, KvEntry } from '#core/consul/client.ts';
import { AppError } from '#core/errors.ts';
import { validate } from '#core/validate.ts';
import { mintAgentToken, mintConsulAgentToken } from '#ground/acl.ts';
import { CONSUL_SERVER_NAME, fingerprint, issue, type KeyPair } from '#ground/ca.ts';
import { assertDistinct, HostRecord, listHosts, registerHost } from '#ground/host-record.ts';

/** Inside of a join token, which is its JSON in base64url. */
export const JoinToken = z.object({
  v: z.literal(1),
  /** Addresses of managers: control answers on port 7402 of each. */
  addresses: z.array(z.string().min(1)).min(1),
  /** SHA-256, hex, of the bytes of the pool's `ca.pem`. */
  ca: z.string().regex(/^[0-9a-f]{64}$/),
  id: z.string().regex(/^[0-9a-f]{16}$/),
  secret: z.string().regex(/^[A-Za-z0-9_-]{43}$/),
});
export type JoinToken = z.infer<typeof JoinToken>;

/** `xcaas/joins/<id>` */
const JoinRecord = z.object({
  v: z.literal(1),
  /** SHA-256, hex, of the secret. */
  hash: z.string(),
  expires: z.string(),
  /** Host id, and what it asked for. */
  usedBy: z.string().optional(),
  usedByName: z.string().optional(),
  usedAt: z.string().optional(),
  request: z.string().optional(),
});
type JoinRecord = z.infer<typeof JoinRecord>;

/** Body of `POST /join`. The host makes its key itself and keeps it. */
export const JoinRequest = z.object({
  v: z.literal(1),
  secret: z.string(),
  host: HostRecord.omit({ manager: true }),
  /** PEM (SPKI). */
  publicKey: z.string(),
});
export type JoinRequest = z.infer<typeof JoinRequest>;

/** What a Swarm node needs to join: a token for workers, and `address:port` of a manager. */
export const SwarmJoin = z.object({ token: z.string(), manager: z.string() });
export type SwarmJoin = z.infer<typeof SwarmJoin>;

export const JoinAnswer = z.object({
  v: z.literal(1),
  host: HostRecord,
  certificate: z.string(),
  ca: z.string(),
  gossipKey: z.string(),
  /** Addresses of the Consul servers, which are the managers. */
  servers: z.array(z.string()).min(1),
  tokens: z.object({ agent: z.string(), consul: z.string() }),
  swarm: SwarmJoin,
});
export type JoinAnswer = z.infer<typeof JoinAnswer>;

export interface JoinDeps {
  /** With control's token. */
  consul: ConsulClient;
  ca: KeyPair;
  gossipKey: string;
  swarm: () => Promise<SwarmJoin>;
  now?: () => Date;
}

const PREFIX = 'xcaas/joins/';
const LIFE_MS = 3_600_000;
/** Spent records stay a day, so that a second use can be told who was first. */
const KEEP_MS = 86_400_000;
const HINT = 'make a new one on a host of the pool: xcaas join-token';

/** A token for one further host, good for an hour. */
export async function createJoinToken(
  consul: ConsulClient,
  { addresses, ca }: { addresses: string[]; ca: string },
  now = new Date(),
): Promise<{ token: string; expires: string }> {
  await prune(consul, now);
  const id = randomBytes(8).toString('hex');
  const secret = randomBytes(32).toString('base64url');
  const expires = new Date(now.getTime() + LIFE_MS).toISOString();
  const record: JoinRecord = { v: 1, hash: hash(secret), expires };
  if (!(await consul.kv.cas(PREFIX + id, JSON.stringify(record), 0))) {
    throw new AppError('cas_lost', 'a join token of this id exists already', { hint: 'repeat the command' });
  }
  return { token: encodeJoinToken({ v: 1, addresses, ca: fingerprint(ca), id, secret }), expires };
}

export function encodeJoinToken(token: JoinToken): string {
  return Buffer.from(JSON.stringify(token)).toString('base64url');
}

/** @throws AppError `usage` for anything that is no join token */
export function decodeJoinToken(text: string): JoinToken {
  try {
    return JoinToken.parse(JSON.parse(Buffer.from(text.trim(), 'base64url').toString('utf8')));
  } catch (cause) {
    throw new AppError('usage', 'this is not a join token, or not all of it was copied', { hint: HINT, cause });
  }
}

/**
 * Says whether a join secret is good, without using it up. One that was used passes until it expires: the host that used it may be repeating
 * a join that was interrupted.
 *
 * @throws AppError `unauthenticated` when it is unknown, `token_expired`
 */
export async function checkJoin(consul: ConsulClient, secret: string, now = new Date()): Promise<void> {
  assertFresh((await find(consul, secret)).record, now);
}

/**
 * Takes a host into the pool. Of two hosts that use one token at the same time exactly one succeeds; the same host may repeat the same
 * request until the token expires and gets an answer that is as good.
 *
 * @throws AppError `unauthenticated`, `token_expired`, `token_used` (names the host and the time), `conflict` when the pool has a host of
 *   that name or address. Nothing is used up by a request that fails.
 */
export async function redeemJoin(deps: JoinDeps, request: JoinRequest): Promise<JoinAnswer> {
  const { consul, ca, gossipKey, now = () => new Date() } = deps;
  const { secret, publicKey } = request;
  const body = hash(JSON.stringify([HostRecord.omit({ manager: true }).parse(request.host), publicKey]));
  assertUsable((await find(consul, secret)).record, request, body, now());

  const hosts = await listHosts(consul);
  assertDistinct(request.host, hosts);
  const servers = hosts.filter(({ manager, id }) => manager && id !== request.host.id).map(({ address }) => address);
  if (servers.length === 0) throw new AppError('unavailable', 'the pool has no other manager that this host could join');
  const manager = hosts.find(({ id }) => id === request.host.id)?.manager ?? false;
  const host: HostRecord = { ...request.host, manager };
  // Made before the token is spent, so that a key that is none, or a Swarm that does not answer, costs nothing.
  const certificate = await issue({ ca, publicKey, ...certificateOf(host), now: now() });
  const swarm = await deps.swarm();

  await spend(consul, request, body, now);
  await registerHost(consul, host);
  const tokens = { agent: await mintAgentToken(consul, host), consul: await mintConsulAgentToken(consul, host) };
  return { v: 1, host, certificate, ca: ca.cert, gossipKey, servers, tokens, swarm };
}

/** What stands in the certificate of a host. */
export function certificateOf(host: Pick<HostRecord, 'id' | 'address' | 'manager'>): {
  cn: string;
  role: 'agent';
  addresses: string[];
  dnsNames: string[];
} {
  return { cn: host.id, role: 'agent', addresses: [host.address], dnsNames: host.manager ? [CONSUL_SERVER_NAME] : [] };
}

async function spend(consul: ConsulClient, request: JoinRequest, body: string, now: () => Date): Promise<void> {
  for (;;) {
    const { entry, record } = await find(consul, request.secret);
    assertUsable(record, request, body, now());
    if (record.usedBy !== undefined) return;
    const { id, name } = request.host;
    const used: JoinRecord = { ...record, usedBy: id, usedByName: name, usedAt: now().toISOString(), request: body };
    if (await consul.kv.cas(entry.key, JSON.stringify(used), entry.modifyIndex)) return;
  }
}

function assertUsable(record: JoinRecord, request: JoinRequest, body: string, now: Date): void {
  assertFresh(record, now);
  if (record.usedBy === undefined) return;
  if (record.usedBy !== request.host.id) {
    throw new AppError('token_used', `this join token was used by host ${record.usedByName ?? record.usedBy} at ${record.usedAt}`, {
      hint: `each token is for one host; ${HINT}`,
    });
  }
  if (record.request !== body) {
    throw new AppError('token_used', `this host used this join token at ${record.usedAt} with other settings`, { hint: HINT });
  }
}

function assertFresh(record: JoinRecord, now: Date): void {
  if (Date.parse(record.expires) > now.getTime()) return;
  throw new AppError('token_expired', `this join token expired at ${record.expires}`, { hint: `it is good for an hour; ${HINT}` });
}

/** By the secret alone: records are few, and a caller need not say the id. */
async function find(consul: ConsulClient, secret: string): Promise<{ entry: KvEntry; record: JoinRecord }> {
  const wanted = Buffer.from(hash(secret), 'hex');
  for (const entry of await consul.kv.list(PREFIX, { consistent: true })) {
    const record = parse(entry);
    const actual = Buffer.from(record.hash, 'hex');
    if (actual.length === wanted.length && timingSafeEqual(actual, wanted)) return { entry, record };
  }
  throw new AppError('unauthenticated', 'the pool does not know this join token', { hint: HINT });
}

async function prune(consul: ConsulClient, now: Date): Promise<void> {
  for (const entry of await consul.kv.list(PREFIX, { consistent: true })) {
    if (Date.parse(parse(entry).expires) + KEEP_MS < now.getTime()) await consul.kv.delete(entry.key, { cas: entry.modifyIndex });
  }
}

function parse(entry: KvEntry): JoinRecord {
  return validate(JoinRecord, JSON.parse(entry.value), `the record ${entry.key}`);
}

function hash(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
