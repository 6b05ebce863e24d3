import { resolve4 } from 'node:dns/promises';
import { AppError, messageOf } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import type { CredentialsSource } from '#member/credentials.ts';
import { type Scratch, startScratch } from '#xdb/backup/scratch.ts';
import type { Engine, UpstreamMaster } from '#xdb/engine/engine.ts';
import { HEARTBEAT_TABLE, OWN_SCHEMA } from '#xdb/engine/mariadb/names.ts';
import { ensureUser } from '#xdb/engine/mariadb/users.ts';
import type { Credentials, DbSpec } from '#xdb/schema.ts';
import { refuseUnfitMaster } from '#xdb/upstream/fit.ts';
import { createRecipient } from './clone-client.ts';
import { type SidecarConfig, XDB_PORTS } from './config.ts';
import { createPeerClient } from './peer-client.ts';
import { serverIdOf } from './server-id.ts';

export interface UpstreamCopierOptions {
  config: SidecarConfig;
  engine: Pick<Engine, 'initialise' | 'load' | 'inspectUpstream' | 'importUpstream' | 'beginAt'>;
  credentials: CredentialsSource<Credentials>;
  log: Logger;
}

type Upstream = NonNullable<DbSpec['upstream']>;

/** A copy that failed is not tried again before so long, in milliseconds: it burdens the master. */
const AGAIN_MS = 20_000;
const SCRATCH_SHARE = 0.5;

/** Where the master of a database is spoken to. One of ours is followed at its slave's port: it has what is acknowledged, and nothing that could be taken back. */
export function upstreamMaster(
  { upstream }: Pick<DbSpec, 'upstream'>,
  credentials: Credentials | undefined,
  { paths }: Pick<SidecarConfig, 'paths'>,
  purpose: 'follow' | 'ask',
): UpstreamMaster {
  const account = credentials?.upstream;
  if (upstream === undefined || account === undefined) {
    throw new AppError('unavailable', 'the account at the outside master is not known yet');
  }
  const { host, port, tls, ours } = upstream;
  const { user, password } = account;
  if (ours === undefined) return { host, port, user, password, tls, caFile: undefined };
  return { host: ours, port: purpose === 'follow' ? XDB_PORTS.slave : XDB_PORTS.master, user, password, tls: true, caFile: paths.ca };
}

/**
 * Birth of a slave of another database: fills the empty data directory with a copy of its master's data, from the member that leads when it is one of ours, by a dump
 * when it is an outside server.
 *
 * @param progress bytes so far
 */
export function createUpstreamCopier({ config, engine, credentials, log }: UpstreamCopierOptions) {
  const { db, member, paths } = config;
  let failed: { at: number; error: AppError } | undefined;

  async function fromOurs(ours: string, progress: (bytes: number) => void, signal: AbortSignal): Promise<void> {
    const tls = { ca: paths.ca, certificate: paths.certificate, privateKey: paths.privateKey };
    const peers = createPeerClient({ db: ours, member, tls, secret: () => credentials.current()?.upstream?.peerSecret });
    const take = createRecipient({ engine, peers, log });
    const addresses = await resolve4(ours).catch((cause: unknown) => {
      throw new AppError('unavailable', `${ours} is not found on the network: ${messageOf(cause)}`, { cause });
    });
    const said: string[] = [];
    // Only the one that leads gives a copy; the others refuse before anything has come.
    for (const address of addresses) {
      let begun = false;
      try {
        await take({ member: ours, address, port: XDB_PORTS.peer }, undefined, {
          signal,
          onProgress({ bytes }) {
            begun = true;
            progress(bytes);
          },
        });
        return;
      } catch (error) {
        if (begun || signal.aborted) throw error;
        said.push(messageOf(error));
      }
    }
    throw new AppError('unavailable', `no member of ${ours} gives a copy: ${said.join('; ') || 'it has none'}`);
  }

  async function fromOutside(
    spec: DbSpec,
    upstream: Upstream,
    agentPassword: string,
    progress: (bytes: number) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const master = upstreamMaster(spec, credentials.current(), config, 'ask');
    const facts = await engine.inspectUpstream(master);
    refuseUnfitMaster(facts, { where: `${upstream.host}:${upstream.port}`, serverIds: [serverIdOf(db, member)], tls: upstream.tls });
    await engine.initialise({ agentPassword });
    const position = await withScratch(spec, signal, (scratch) =>
      engine.importUpstream(
        master,
        { flavor: facts.flavor, databases: facts.databases, into: scratch.clientFile },
        { signal, onProgress: progress },
      ),
    );
    await engine.beginAt(position);
    log.info({ from: upstream.host, databases: facts.databases, position }, 'the databases of an outside master were copied');
  }

  async function withScratch<T>(spec: DbSpec, signal: AbortSignal, action: (scratch: Scratch) => Promise<T>): Promise<T> {
    const options = { dataDir: paths.data, runDir: '/tmp/xdb-upstream', memoryBytes: spec.memoryBytes * SCRATCH_SHARE };
    const scratch = await startScratch({ ...options, signal });
    try {
      const done = await action(scratch);
      await makeOwn(scratch, spec);
      await scratch.stop();
      return done;
    } catch (error) {
      await scratch.kill();
      throw error;
    }
  }

  /** What belongs to the master's members is none of ours; and its own user can read from the first moment on. */
  async function makeOwn(scratch: Scratch, spec: DbSpec): Promise<void> {
    const sql = await scratch.sql();
    try {
      const accounts = await sql.query<{ user: string; host: string }>(
        "SELECT user, host FROM mysql.global_priv WHERE user LIKE 'repl\\_%'",
      );
      for (const { user, host } of accounts) await sql.query('DROP USER ?@?', [user, host]);
      const schemas = await sql.query<{ name: string }>(
        `SELECT SCHEMA_NAME name FROM information_schema.SCHEMATA WHERE SCHEMA_NAME NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema', '${OWN_SCHEMA}')`,
      );
      const passwords = credentials.current()?.users[spec.user];
      if (passwords !== undefined) {
        const names = schemas.map(({ name }) => name).filter((name) => /^[A-Za-z0-9_][A-Za-z0-9_$-]{0,63}$/.test(name));
        await ensureUser(sql, spec.user, passwords, [...new Set([spec.database, ...names])]);
      }
      if (spec.upstream?.ours === undefined) await sql.query(`DELETE FROM ${OWN_SCHEMA}.${HEARTBEAT_TABLE}`);
    } finally {
      sql.close();
    }
  }

  return async function copy(
    spec: DbSpec,
    upstream: Upstream,
    agentPassword: string,
    progress: (bytes: number) => void,
    signal: AbortSignal,
  ): Promise<void> {
    if (failed !== undefined && performance.now() - failed.at < AGAIN_MS) throw failed.error;
    try {
      if (upstream.ours === undefined) await fromOutside(spec, upstream, agentPassword, progress, signal);
      else {
        await fromOurs(upstream.ours, progress, signal);
        await withScratch(spec, signal, async () => undefined);
      }
      failed = undefined;
    } catch (error) {
      const known = error instanceof AppError ? error : new AppError('internal', messageOf(error), { cause: error });
      failed = { at: performance.now(), error: known };
      throw known;
    }
  };
}
