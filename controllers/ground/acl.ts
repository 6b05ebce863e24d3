import { createHash } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { ConsulClient } from '#core/consul/client.ts';
import { consulError } from '#core/consul/transport.ts';
import { AppError } from '#core/errors.ts';
import { readIfThere, writeFileAtomic } from '#core/files.ts';
import { waitFor } from '#core/sleep.ts';
import { agentRules, consulAgentRules, controlRules, type MemberGrant, memberRules, type Rules } from '#ground/policies.ts';

export interface BootstrapOptions {
  /** A client of the host's Consul without a token. */
  consul: ConsulClient;
  /** Where the management token is kept (0600). */
  tokenFile: string;
  /** Consul's data folder, needed for `reset` only. */
  dataDir: string;
  /** True to make a new management token where the old one is lost; the host's Consul must be the leader. */
  reset?: boolean;
  timeoutMs?: number;
}

/**
 * The pool's management token: made once, kept in a file before anything is done with it, and returned from there ever after.
 *
 * @throws AppError `conflict` when the ACLs were bootstrapped before and the file is lost: between Consul's answer and the file lies a moment
 *   in which a power cut loses the token. `reset` mends it: Consul takes a second bootstrap when the file `acl-bootstrap-reset` in the leader's
 *   data folder holds the index it names.
 */
export async function bootstrapAcl(options: BootstrapOptions): Promise<string> {
  const { consul, tokenFile, dataDir, reset = false, timeoutMs = 30_000 } = options;
  const kept = (await readIfThere(tokenFile))?.trim();
  if (kept) return kept;
  let lastAnswer = '';
  const secret = await waitFor(
    async () => {
      const answer = await consul.request('PUT', '/v1/acl/bootstrap');
      if (answer.status === 200) return z.object({ SecretID: z.string().min(1) }).parse(answer.body).SecretID;
      lastAnswer = String(answer.body);
      const index = /reset index: (\d+)/.exec(lastAnswer)?.[1];
      // A leader that has just been elected needs a moment until it serves ACLs: it says so with other texts.
      if (index === undefined) return undefined;
      if (!reset) {
        throw new AppError('conflict', `the pool's ACLs exist and their management token is not in ${tokenFile}`, {
          hint: 'make a new one, on the host whose Consul leads: host.mjs acl --reset, see docs/runbook.md',
        });
      }
      await writeFile(join(dataDir, 'acl-bootstrap-reset'), index);
      return undefined;
    },
    { timeoutMs, intervalMs: 300 },
  );
  if (secret === undefined) throw new AppError('unavailable', `Consul's ACLs could not be bootstrapped: ${lastAnswer.trim()}`);
  await writeFileAtomic(tokenFile, `${secret}\n`, 0o600);
  await rm(join(dataDir, 'acl-bootstrap-reset'), { force: true });
  return secret;
}

/** Token of the agent program of a host. The same one at each call; its rights are brought up to date. */
export function mintAgentToken(consul: ConsulClient, host: { id: string; name: string }): Promise<string> {
  return ensureToken(consul, `xcaas-agent-${host.id}`, agentRules(host));
}

/** Token that a host's Consul itself uses. */
export function mintConsulAgentToken(consul: ConsulClient, host: { id: string; name: string }): Promise<string> {
  return ensureToken(consul, `xcaas-consul-${host.id}`, consulAgentRules(host));
}

/** Token of control on a manager. One a host, so that one can be revoked. */
export function mintControlToken(consul: ConsulClient, host: { id: string }): Promise<string> {
  return ensureToken(consul, `xcaas-control-${host.id}`, controlRules());
}

/**
 * Token of a member, for its own keys only. Asked again for the same member it gives the same token, with the rights asked for now.
 *
 * @throws AppError `invalid` for a key outside `xcaas/`
 */
export function mintMemberToken(consul: ConsulClient, memberId: string, grant: MemberGrant): Promise<string> {
  return ensureToken(consul, memberPolicy(memberId), memberRules(grant));
}

/** Ends a member's token; Consul agents may honour it for another 30 s (`acl_token_ttl`). No error when there is none. */
export function revokeMemberToken(consul: ConsulClient, memberId: string): Promise<void> {
  return dropToken(consul, memberPolicy(memberId));
}

/** Ends all tokens of a host that was removed from the pool. */
export async function revokeHostTokens(consul: ConsulClient, hostId: string): Promise<void> {
  for (const kind of ['agent', 'consul', 'control']) await dropToken(consul, `xcaas-${kind}-${hostId}`);
}

/**
 * Takes the Consul of a host that is gone for good out of gossip, catalog and, if it was a server, raft. Nothing else ever does (see
 * `consul-config.ts`), so a removed server would count for the quorum for ever.
 *
 * @param name the host's name
 */
export async function removeConsulNode(consul: ConsulClient, name: string): Promise<void> {
  const path = `/v1/agent/force-leave/${encodeURIComponent(name)}`;
  // It answers only after the word has gone round, which takes 5 s and more.
  const answer = await consul.request('PUT', path, { query: { prune: true }, timeoutMs: 30_000 });
  const unknown = typeof answer.body === 'string' && answer.body.includes('No node found');
  if (answer.status !== 200 && !unknown) throw consulError(answer, `removing ${name}`);
}

function memberPolicy(memberId: string): string {
  return `xcaas-member-${memberId}`;
}

/**
 * One policy and one token of a name. The token's accessor follows from the name, so an interrupted call is repeated without leaving a second
 * token behind, and nobody has to remember accessors to revoke one.
 */
async function ensureToken(consul: ConsulClient, name: string, rules: Rules): Promise<string> {
  const policy = await ensurePolicy(consul, name, rules);
  const accessor = accessorOf(name);
  const existing = await consul.request('GET', `/v1/acl/token/${accessor}`);
  if (existing.status === 200) return secretOf(existing.body, name);
  if (!isAbsent(existing)) throw consulError(existing, `the token ${name}`);
  const body = { AccessorID: accessor, Description: name, Policies: [{ ID: policy }] };
  const created = await consul.request('PUT', '/v1/acl/token', { body });
  if (created.status === 200) return secretOf(created.body, name);
  // Another one made it in between.
  const again = await consul.request('GET', `/v1/acl/token/${accessor}`);
  if (again.status !== 200) throw consulError(created, `making the token ${name}`);
  return secretOf(again.body, name);
}

async function ensurePolicy(consul: ConsulClient, name: string, rules: Rules): Promise<string> {
  const wanted = { Name: name, Description: 'made by xcaas', Rules: JSON.stringify(rules) };
  const before = await findPolicy(consul, name);
  if (before?.Rules === wanted.Rules) return before.ID;
  const [path, body] = before === undefined ? ['/v1/acl/policy', wanted] : [`/v1/acl/policy/${before.ID}`, { ...wanted, ID: before.ID }];
  const answer = await consul.request('PUT', path, { body });
  if (answer.status === 200) return Policy.parse(answer.body).ID;
  // Another one made the same at the same time.
  const after = await findPolicy(consul, name);
  if (after?.Rules === wanted.Rules) return after.ID;
  throw consulError(answer, `the policy ${name}`);
}

const Policy = z.object({ ID: z.string(), Rules: z.string() });

async function findPolicy(consul: ConsulClient, name: string): Promise<z.infer<typeof Policy> | undefined> {
  const answer = await consul.request('GET', `/v1/acl/policy/name/${encodeURIComponent(name)}`);
  if (answer.status === 200) return Policy.parse(answer.body);
  if (isAbsent(answer)) return undefined;
  throw consulError(answer, `the policy ${name}`);
}

async function dropToken(consul: ConsulClient, name: string): Promise<void> {
  const token = await consul.request('DELETE', `/v1/acl/token/${accessorOf(name)}`);
  if (token.status !== 200 && !isAbsent(token)) throw consulError(token, `revoking the token ${name}`);
  const policy = await findPolicy(consul, name);
  if (policy === undefined) return;
  const answer = await consul.request('DELETE', `/v1/acl/policy/${policy.ID}`);
  if (answer.status !== 200 && !isAbsent(answer)) throw consulError(answer, `removing the policy ${name}`);
}

/** Consul 1.8 says 403 "ACL not found" where later ones say 404: told apart from a refusal by the text. */
function isAbsent(answer: { status: number; body: unknown }): boolean {
  if (answer.status === 404) return true;
  return (answer.status === 403 || answer.status === 500) && /not found|does not exist|Cannot find/i.test(String(answer.body));
}

function secretOf(body: unknown, name: string): string {
  const { SecretID } = z.object({ SecretID: z.string() }).parse(body);
  if (!/^[0-9a-f-]{36}$/.test(SecretID)) {
    throw new AppError('forbidden', `the secret of the token ${name} is hidden from this program`, {
      hint: 'its own token needs acl:write',
    });
  }
  return SecretID;
}

/** A UUID from a name (as RFC 9562 version 8: SHA-256 in place of version 5's SHA-1). */
export function accessorOf(name: string): string {
  const bytes = createHash('sha256').update(`xcaas token ${name}`).digest().subarray(0, 16);
  bytes[6] = (bytes[6]! & 0x0f) | 0x80;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = bytes.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}
