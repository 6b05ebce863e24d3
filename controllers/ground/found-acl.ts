import { chmod, mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { type ConsulClient, createConsul } from '#core/consul/client.ts';
import { consulError } from '#core/consul/transport.ts';
import { AppError } from '#core/errors.ts';
import { readIfThere, writeFileAtomic } from '#core/files.ts';
import { parseJson } from '#core/json.ts';
import { type HostPaths, PORTS } from '#core/paths.ts';
import { waitFor } from '#core/sleep.ts';
import { bootstrapAcl, mintAgentToken, mintConsulAgentToken, mintControlToken } from '#ground/acl.ts';
import { readConsulConfig, writeConsulConfig } from '#ground/consul-config.ts';
import { ensureFolder, type HostRecord, readHostRecord, registerHost } from '#ground/host-record.ts';
import { createToken, verifyToken } from '#ground/tokens.ts';

export interface FoundAclOptions {
  paths: HostPaths;
  /** Where the user's profile goes; none is written when not given. */
  profileOut?: string;
  /** Make a new management token where the old one is lost, see {@link bootstrapAcl}. */
  reset?: boolean;
  progress?: (sentence: string) => void;
  /** Milliseconds to wait for Consul to elect a leader. */
  leaderTimeoutMs?: number;
}

export interface FoundAclResult {
  host: HostRecord;
  /** True when a new profile was written. */
  profile: boolean;
}

/** What `bin/*` read: where the API is and whose word they bring. */
const Profile = z.object({ url: z.string(), token: z.string() });

/**
 * What a manager needs from a Consul that runs: ACLs, the tokens of its programs, its record in the pool, and the profile of the user who set it
 * up. Idempotent; may be repeated after an interruption at any point.
 *
 * @throws AppError `not_found` before `init`, `unavailable` when Consul has no leader in time, `conflict` see {@link bootstrapAcl}
 */
export async function foundAcl(options: FoundAclOptions): Promise<FoundAclResult> {
  const { paths, profileOut, reset = false, progress = () => undefined, leaderTimeoutMs = 60_000 } = options;
  const host = await readHostRecord(paths.hostFile);
  const written = await readConsulConfig(paths);
  if (host === undefined || written === undefined || !host.manager) {
    throw new AppError('not_found', 'this host is no manager of a pool', { hint: 'run host.mjs init first; ./xcaas up does' });
  }
  const anonymous = createConsul({ socketPath: paths.consulSocket });
  const clients = [anonymous];
  const connect = (token: string) => {
    const client = createConsul({ socketPath: paths.consulSocket, token });
    clients.push(client);
    return client;
  };
  try {
    progress('waiting for Consul to elect a leader');
    await waitForLeader(anonymous, leaderTimeoutMs);
    await ensureFolder(paths.tokens, 0o700);
    const management = connect(await managementToken(paths, anonymous, connect, reset));

    progress('handing out tokens');
    const consulToken = await mintConsulAgentToken(management, host);
    const agentToken = await mintAgentToken(management, host);
    // With the agent's token: control may not change what runs on a host.
    await setAgentToken(connect(agentToken), consulToken);
    // From here on a server without data joins the others instead of founding a second pool; read at its next start.
    await writeConsulConfig(paths, { ...written, host, bootstrap: false, agentToken: consulToken });
    await keep(join(paths.tokens, 'agent'), agentToken);
    const controlToken = await mintControlToken(management, host);
    await keep(join(paths.tokens, 'control'), controlToken);

    progress('entering this host into the pool');
    const control = connect(controlToken);
    await registerHost(control, host);
    await waitForNode(control, host.name);
    const profile = profileOut === undefined ? false : await writeProfile(control, profileOut, host);
    return { host, profile };
  } finally {
    for (const client of clients) client.close();
  }
}

/** Control's token may do all that is needed here; the management token is touched only while there is no other. */
async function managementToken(
  paths: HostPaths,
  anonymous: ConsulClient,
  connect: (token: string) => ConsulClient,
  reset: boolean,
): Promise<string> {
  const control = (await readIfThere(join(paths.tokens, 'control')))?.trim();
  if (control) {
    const client = connect(control);
    // A server that has just been promoted knows no token until it has the pool's records: it says "ACL not found" for some seconds.
    const works = await waitFor(async () => ((await client.request('GET', '/v1/acl/token/self')).status === 200 ? true : undefined), {
      timeoutMs: 20_000,
      intervalMs: 300,
    });
    if (works) return control;
  }
  return bootstrapAcl({ consul: anonymous, tokenFile: join(paths.tokens, 'bootstrap'), dataDir: paths.consulData, reset });
}

/** @throws AppError `unavailable` when there is no leader within `timeoutMs` milliseconds */
export async function waitForLeader(consul: ConsulClient, timeoutMs: number): Promise<void> {
  let last = 'no leader';
  const found = await waitFor(
    async () => {
      try {
        const answer = await consul.request('GET', '/v1/status/leader', { timeoutMs: 2000 });
        if (answer.status === 200 && typeof answer.body === 'string' && answer.body !== '') return true;
        last = String(answer.body) || 'no leader';
      } catch (error) {
        last = (error as Error).message;
      }
      return undefined;
    },
    { timeoutMs, intervalMs: 200 },
  );
  if (found !== undefined) return;
  throw new AppError('unavailable', `Consul elected no leader within ${Math.round(timeoutMs / 1000)} s: ${last}`, {
    hint: 'see why: docker logs xcaas-consul',
  });
}

/** At once, without a restart; Consul keeps it in its data folder too (`enable_token_persistence`). */
async function setAgentToken(consul: ConsulClient, token: string): Promise<void> {
  const answer = await consul.request('PUT', '/v1/agent/token/agent', { body: { Token: token } });
  if (answer.status !== 200) throw consulError(answer, "setting Consul's own token");
}

/** Sessions can be made only once the node they belong to is in the catalog. */
async function waitForNode(consul: ConsulClient, name: string): Promise<void> {
  const there = await waitFor(
    async () => {
      const answer = await consul.request('GET', `/v1/catalog/node/${encodeURIComponent(name)}`);
      return answer.status === 200 && answer.body !== null ? true : undefined;
    },
    { timeoutMs: 30_000, intervalMs: 200 },
  );
  if (there === undefined) throw new AppError('unavailable', `Consul did not enter ${name} into its catalog within 30 s`);
}

async function writeProfile(consul: ConsulClient, file: string, host: HostRecord): Promise<boolean> {
  const text = await readIfThere(file);
  const old = text === undefined ? undefined : Profile.safeParse(parseJson(text)).data;
  if (old !== undefined && (await verifyToken(consul, old.token)) !== undefined) {
    await chmod(file, 0o600);
    return false;
  }
  const { token } = await createToken(consul, { name: `up-${host.name}`, role: 'admin' });
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  await writeFileAtomic(file, `${JSON.stringify({ url: `http://127.0.0.1:${PORTS.api}`, token }, null, 2)}\n`, 0o600);
  return true;
}

async function keep(file: string, secret: string): Promise<void> {
  if ((await readIfThere(file))?.trim() !== secret) await writeFileAtomic(file, `${secret}\n`, 0o600);
}
