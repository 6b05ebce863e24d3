import { AppError, hasCode, messageOf } from '#core/errors.ts';
import { newPassword } from '#pool/service-credentials.ts';
import { askMember } from '#pool/service-living.ts';
import { memberId } from '#pool/service-spec.ts';
import { changeCredentials, readCredentials } from '#xdb/credentials.ts';
import type { UpstreamFacts } from '#xdb/engine/engine.ts';
import { readDb } from '#xdb/observe.ts';
import type { Beginning } from '#xdb/operations/create.ts';
import type { DbDeps } from '#xdb/operations/deps.ts';
import type { DbOptions } from '#xdb/options.ts';
import { peerSecretOf } from '#xdb/peer-secret.ts';
import type { DbSpec } from '#xdb/schema.ts';
import { serverIdOf } from '#xdb/sidecar/server-id.ts';
import { DB_PREFIX } from '#xdb/store.ts';
import { refuseUnfitMaster } from '#xdb/upstream/fit.ts';
import { findOurs } from '#xdb/upstream/ours.ts';
import type { UpstreamAsked } from '#xdb/upstream/standing.ts';
import { type MasterUrl, parseMasterUrl } from '#xdb/upstream/url.ts';

/** A member answers for a server that it asks itself, in milliseconds. */
const ASK_MS = 40_000;
/** Numbers of members that a database has in its life, as far as they are looked after. */
const MEMBERS = 16;

/** What `role=slave` follows, as its specification says; nothing is asked of it yet. */
export function upstreamOf(url: MasterUrl, ours: DbSpec | undefined): NonNullable<DbSpec['upstream']> {
  if (ours !== undefined) return { host: ours.name, port: 3306, tls: true, ours: ours.name };
  return { host: url.host, port: url.port, tls: false };
}

export async function masterOf(deps: DbDeps, options: Pick<DbOptions, 'masterUrl'>): Promise<{ url: MasterUrl; ours: DbSpec | undefined }> {
  const url = parseMasterUrl(options.masterUrl ?? '');
  const [specs, hosts] = await Promise.all([specsOf(deps), deps.hosts()]);
  return { url, ours: findOurs(url, specs, hosts) };
}

/**
 * What a slave of another database begins with. The master is looked at as it is now, and everything that speaks against it is found before anything is written.
 *
 * @throws AppError `forbidden` (access denied, missing rights), `unavailable`, `invalid`, `conflict`, each saying what mends it
 */
export async function beginAsSlave(deps: DbDeps, name: string, network: string, options: DbOptions): Promise<Beginning> {
  const { url, ours } = await masterOf(deps, options);
  return ours === undefined ? ofOutside(deps, name, network, url, options.masterTls) : ofOurs(deps, name, network, url, ours);
}

async function ofOurs(deps: DbDeps, name: string, network: string, url: MasterUrl, ours: DbSpec): Promise<Beginning> {
  if (ours.name === name) throw new AppError('conflict', `${name} cannot follow itself`, { hint: 'name another database' });
  if (ours.role === 'slave') {
    throw new AppError('conflict', `${ours.name} is itself a slave, of ${ours.upstream?.host}`, {
      hint: `follow ${ours.upstream?.host}, or db cutover ${ours.name} first`,
    });
  }
  if (ours.network !== network) {
    throw new AppError('invalid', `${ours.name} is on the network ${ours.network}, and ${name} would be on ${network}`, {
      hint: `add --network ${ours.network}`,
    });
  }
  const credentials = await readCredentials(deps, ours.name);
  if (!(credentials.users[url.user] ?? []).includes(url.password)) {
    throw new AppError('forbidden', `${ours.name} refuses the user ${url.user}: access denied`, {
      hint: `db url ${ours.name} shows user and password`,
    });
  }
  const records = await readDb(deps, ours.name);
  if (records?.sync === undefined) {
    throw new AppError('conflict', `${ours.name} holds nothing yet: it is being made`, { hint: `db status ${ours.name}` });
  }
  const password = newPassword();
  return {
    ...{ database: ours.database, user: ours.user, upstream: upstreamOf(url, ours) },
    secrets: {
      users: credentials.users,
      upstream: { user: `xcaas_follow_${name}`, password, peerSecret: peerSecretOf(credentials) },
    },
    // Its account there, before it is asked for.
    before: () => letFollow(deps, ours.name, name, password),
  };
}

async function ofOutside(
  deps: DbDeps,
  name: string,
  network: string,
  url: MasterUrl,
  masterTls: DbOptions['masterTls'] = 'preferred',
): Promise<Beginning> {
  const { host, port, user, password } = url;
  const where = `${host}:${port}`;
  const facts = await inspect(deps, { host, port, user, password, tls: masterTls !== 'off' }, network);
  const serverIds = Array.from({ length: MEMBERS }, (_, index) => serverIdOf(name, memberId(name, index + 1)));
  refuseUnfitMaster(facts, { where, serverIds, tls: masterTls === 'required' });
  if (url.database !== undefined && !facts.databases.includes(url.database)) {
    throw new AppError('invalid', `${where} has no database ${url.database}`, {
      hint: `it has ${facts.databases.slice(0, 10).join(', ')}`,
    });
  }
  const [only] = facts.databases;
  const sole = facts.databases.length === 1 && only !== undefined && /^[a-z][a-z0-9_]{0,62}$/.test(only) ? only : undefined;
  return {
    ...{ database: url.database ?? sole, upstream: { ...upstreamOf(url, undefined), tls: facts.tls } },
    secrets: { upstream: { user, password } },
  };
}

/** From this host; and where it cannot be reached from here, as it may be a container on users' network, from a member of any database there. */
async function inspect(deps: DbDeps, asked: UpstreamAsked, network: string): Promise<UpstreamFacts> {
  const where = `${asked.host}:${asked.port}`;
  try {
    return await deps.inspectMaster(asked);
  } catch (error) {
    if (!hasCode(error, 'unavailable') && !hasCode(error, 'timeout')) throw error;
    const seen = await fromMember(deps, asked, network);
    if (seen !== undefined) return seen;
    throw new AppError('unavailable', `${where} cannot be reached: ${messageOf(error)}`, {
      hint: `check host and port of master-url; a name that only containers on ${network} know is found once a database runs there: use an address that hosts reach`,
      cause: error,
    });
  }
}

async function fromMember(deps: DbDeps, asked: UpstreamAsked, network: string): Promise<UpstreamFacts | undefined> {
  for (const spec of (await specsOf(deps)).filter((each) => each.network === network && each.destroyed === undefined)) {
    const records = await readDb(deps, spec.name);
    for (const { member } of records?.sidecars ?? []) {
      try {
        const request = { method: 'POST', path: '/inspect-upstream', body: asked, timeoutMs: ASK_MS };
        return (await askMember(deps, records!, member, request)) as UpstreamFacts;
      } catch (error) {
        // What the server itself says counts; that a member does not answer does not.
        if (hasCode(error, 'forbidden') || hasCode(error, 'invalid')) throw error;
        deps.log.info({ member, err: messageOf(error) }, 'a master could not be looked at from there');
      }
    }
  }
  return undefined;
}

/** The follower's account at a database of ours: its leader makes it, and keeps it as long as it stands there. */
export async function letFollow(deps: DbDeps, ours: string, follower: string, password: string): Promise<void> {
  await changeCredentials(deps, ours, (present) => ({ ...present, followers: { ...present.followers, [follower]: password } }));
  deps.markDirty(ours);
}

/** It follows no more. A master that is gone has no accounts. */
export async function endFollowing(deps: DbDeps, { name, role, upstream }: Pick<DbSpec, 'name' | 'role' | 'upstream'>): Promise<void> {
  if (role !== 'slave' || upstream?.ours === undefined) return;
  const { ours } = upstream;
  try {
    await changeCredentials(deps, ours, (present) => {
      const { [name]: _, ...followers } = present.followers ?? {};
      return { ...present, followers };
    });
    deps.markDirty(ours);
  } catch (error) {
    if (!hasCode(error, 'not_found')) throw error;
  }
}

/** One that was destroyed, and follows again. */
export async function beginFollowingAgain(deps: DbDeps, { name, role, upstream }: DbSpec): Promise<void> {
  if (role !== 'slave' || upstream?.ours === undefined) return;
  const account = (await readCredentials(deps, name)).upstream;
  if (account === undefined) return;
  await letFollow(deps, upstream.ours, name, account.password).catch((error: unknown) => {
    // Its data are there, and can be cut over.
    if (!hasCode(error, 'not_found')) throw error;
  });
}

async function specsOf({ store }: DbDeps): Promise<DbSpec[]> {
  return (await store.specs.list(DB_PREFIX, (key) => /^[^/]+\/spec$/.test(key.slice(DB_PREFIX.length)))).map(({ value }) => value);
}
