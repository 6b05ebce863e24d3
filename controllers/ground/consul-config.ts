import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { z } from 'zod';
import { AppError } from '#core/errors.ts';
import { readIfThere, writeFileAtomic } from '#core/files.ts';
import { type HostPaths, PORTS } from '#core/paths.ts';
import { ensureFolder, type HostRecord } from '#ground/host-record.ts';

export const DATACENTER = 'xcaas';

export interface ConsulConfigInput {
  host: Pick<HostRecord, 'id' | 'name' | 'address' | 'manager'>;
  paths: Pick<HostPaths, 'pki' | 'consulData' | 'consulSocket'>;
  /** 32 bytes in base64, the same on all hosts. */
  gossipKey: string;
  /** Addresses of the pool's Consul servers; this host's own is left out. */
  servers: string[];
  /** True only for the first server of a pool while its records do not exist yet. */
  bootstrap: boolean;
  /** Token that Consul itself enters its node into the catalog with; absent until the ACLs exist. */
  agentToken?: string | undefined;
  /** True for Consul 1.14 and later: they have a second gRPC port to close, which older ones refuse to read of. */
  modern?: boolean;
}

/** A gossip key, as `consul keygen` makes it. */
export function createGossipKey(): string {
  return randomBytes(32).toString('base64');
}

/**
 * The configuration of a host's Consul, for 1.8.7 and later ones. Which settings matter, and why:
 *
 * - HTTP only on a unix socket that any process on the host may connect to (0666): members run under users of their own. Rights come from tokens, and
 *   without one nothing can be read. DNS, gRPC and WAN gossip are off.
 * - A host that is switched off is never taken for one that left: neither signal makes Consul leave, dead servers are not dropped from raft by
 *   themselves (`autopilot`, read when a pool begins), and a failed node is forgotten after 30 days only, or by `xcaas node remove`. So the members of
 *   raft are always those that were decided on, and hosts find together again whatever the order they start in. Clients that left on SIGTERM would
 *   take all services of their host out of every load balancer each time their Consul restarts.
 * - `raft_multiplier` 1: a leader that died is replaced in about 2 s; the default 5 is for machines too small to answer a heartbeat in time.
 * - `session_ttl_min` 1 s: locks of databases live on sessions of 2–3 s; Consul's default of 10 s forbids those.
 * - Connections over the unix socket all count as one client, so the limit is for the whole host: every watch holds one.
 * - ACLs: what no rule allows is denied. While no server can be reached, rights already looked up go on (`extend-cache`), else a quorum that is
 *   lost would stop the agents too.
 * - TLS on RPC, checked on both sides, and only a certificate for {@link CONSUL_SERVER_NAME} may speak as a server. A client that calls itself a
 *   server all the same is listed in raft, as one without a vote that gets no records.
 */
export function renderConsulConfig(input: ConsulConfigInput): Record<string, unknown> {
  const { host, paths, gossipKey, servers, bootstrap, agentToken, modern = false } = input;
  const others = [...new Set(servers)].filter((address) => address !== host.address).sort();
  const server = host.manager
    ? {
        server: true,
        ...(bootstrap ? { bootstrap_expect: 1 } : {}),
        autopilot: { cleanup_dead_servers: false, server_stabilization_time: '2s' },
      }
    : { server: false };
  return {
    ...server,
    datacenter: DATACENTER,
    primary_datacenter: DATACENTER,
    node_name: host.name,
    node_meta: { xcaas_host: host.id },
    data_dir: paths.consulData,
    bind_addr: host.address,
    advertise_addr: host.address,
    addresses: { http: `unix://${paths.consulSocket}` },
    unix_sockets: { mode: '0666' },
    ports: {
      dns: -1,
      https: -1,
      grpc: -1,
      ...(modern ? { grpc_tls: -1 } : {}),
      serf_wan: -1,
      server: PORTS.consulRpc,
      serf_lan: PORTS.consulGossip,
    },
    retry_join: others.map((address) => (address.includes(':') ? `[${address}]` : address)),
    retry_interval: '3s',
    leave_on_terminate: false,
    skip_leave_on_interrupt: true,
    reconnect_timeout: '720h',
    encrypt: gossipKey,
    ca_file: join(paths.pki, 'ca.pem'),
    cert_file: join(paths.pki, 'host.pem'),
    key_file: join(paths.pki, 'host.key'),
    verify_incoming_rpc: true,
    verify_outgoing: true,
    verify_server_hostname: true,
    acl: {
      enabled: true,
      default_policy: 'deny',
      down_policy: 'extend-cache',
      enable_token_persistence: true,
      ...(agentToken === undefined ? {} : { tokens: { agent: agentToken } }),
    },
    connect: { enabled: false },
    performance: { raft_multiplier: 1 },
    session_ttl_min: '1s',
    limits: { http_max_conns_per_client: 8192, rpc_max_conns_per_client: 1024 },
    disable_update_check: true,
    disable_remote_exec: true,
    enable_script_checks: false,
    log_level: 'INFO',
  };
}

/** The parts of a written configuration that a later one is made with. */
const Written = z.object({
  encrypt: z.string(),
  ports: z.object({ grpc_tls: z.number().optional() }),
  retry_join: z.array(z.string()).default([]),
  bootstrap_expect: z.number().optional(),
  acl: z.object({ tokens: z.object({ agent: z.string().optional() }).optional() }),
});

export interface WrittenConsulConfig {
  gossipKey: string;
  servers: string[];
  bootstrap: boolean;
  agentToken: string | undefined;
  modern: boolean;
}

const FILE = 'xcaas.json';

/** What this host's Consul was last configured with; undefined before its first time. */
export async function readConsulConfig(paths: HostPaths): Promise<WrittenConsulConfig | undefined> {
  const file = join(paths.consulConfig, FILE);
  const text = await readIfThere(file);
  if (text === undefined) return undefined;
  try {
    const written = Written.parse(JSON.parse(text));
    return {
      gossipKey: written.encrypt,
      servers: written.retry_join.map((address) => address.replace(/^\[(.*)\]$/, '$1')),
      bootstrap: written.bootstrap_expect !== undefined,
      agentToken: written.acl.tokens?.agent,
      modern: written.ports.grpc_tls !== undefined,
    };
  } catch (cause) {
    throw new AppError('invalid', `${file} was changed by hand and cannot be understood`, { hint: 'restore it from a backup', cause });
  }
}

/**
 * Writes the configuration and makes the folders that Consul needs.
 *
 * @returns true when the file changed: Consul reads it when it starts, and tokens and certificates also on `PUT /v1/agent/reload`
 */
export async function writeConsulConfig(paths: HostPaths, input: Omit<ConsulConfigInput, 'paths'>): Promise<boolean> {
  // Gossip key and token stand in it.
  await ensureFolder(paths.consulConfig, 0o700);
  await ensureFolder(paths.consulData, 0o700);
  await ensureFolder(join(paths.consulSocket, '..'), 0o755);
  const file = join(paths.consulConfig, FILE);
  const text = `${JSON.stringify(renderConsulConfig({ ...input, paths }), null, 2)}\n`;
  if ((await readIfThere(file)) === text) return false;
  await writeFileAtomic(file, text, 0o600);
  return true;
}

/**
 * Tells this host's Consul of the pool's servers as they are now, for its next start. To be called whenever a host is promoted.
 *
 * @returns true when the file changed
 */
export async function rememberServers(paths: HostPaths, host: HostRecord, servers: string[]): Promise<boolean> {
  const written = await readConsulConfig(paths);
  if (written === undefined) return false;
  return writeConsulConfig(paths, { ...written, host, servers });
}
