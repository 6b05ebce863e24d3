import { join } from 'node:path';
import { z } from 'zod';
import { name, serviceName } from '#core/names.ts';
import { validate } from '#core/validate.ts';

const SidecarEnv = z.object({
  XCAAS_KIND: z.literal('db'),
  XCAAS_NAME: serviceName,
  XCAAS_MEMBER: name,
  XCAAS_NODE: z.string().min(1).max(256),
  XCAAS_HOST: z.string().max(256).default(''),
  /** Named points at which a test wants something to go wrong, see `failpoint.ts`. */
  XCAAS_TEST_FAILPOINTS: z.string().default(''),
  /** Guards of the protocol that a test switches off, to prove that its checker finds what they prevent. */
  XCAAS_TEST_GUARDS: z.string().default(''),
  /** File that a test gives instead of the kernel's boot id, to let a host start anew. */
  XCAAS_TEST_BOOT_ID: z.string().default(''),
});

/** Where things lie in a member's container (images/xdb/README.md). */
export interface SidecarPaths {
  consulSocket: string;
  consulToken: string;
  /** The agent of this host: probes from other hosts. */
  agentSocket: string;
  credentials: string;
  ca: string;
  certificate: string;
  privateKey: string;
  admin: string;
  /** The member's volume. */
  state: string;
  /** The engine's data directory. */
  data: string;
  /** The member's own memory, see `disk.ts`. */
  memory: string;
  lock: string;
  /** Where the endpoint led last. */
  endpoint: string;
  /** Room that is set free when the disk is full, so that the engine can be stopped and started. */
  reserve: string;
  backup: string;
  /** A new one with each start of the host's kernel. */
  bootId: string;
  engineSocket: string;
  haproxySocket: string;
  haproxyMaster: string;
  haproxyState: string;
}

export interface SidecarConfig {
  db: string;
  member: string;
  node: string;
  host: string;
  paths: SidecarPaths;
  test: { failpoints: string; guards: string; bootId: string };
}

/** Ports of a member on the database's network. */
export const XDB_PORTS = { master: 3306, slave: 3307, engine: 3305, extra: 3304, peer: 3303 } as const;

/** @param root prefix of all paths; empty in the image */
export function sidecarPaths(root = ''): SidecarPaths {
  const state = join(root, '/var/lib/xdb');
  const run = join(root, '/run/xdb');
  const secrets = join(root, '/run/secrets');
  return {
    consulSocket: join(root, '/run/consul/http.sock'),
    consulToken: join(secrets, 'consul_token'),
    agentSocket: join(root, '/run/agent/agent.sock'),
    credentials: join(secrets, 'credentials.json'),
    ca: join(secrets, 'ca.pem'),
    certificate: join(secrets, 'server.pem'),
    privateKey: join(secrets, 'server.key'),
    admin: join(root, '/run/member/admin.sock'),
    state,
    data: join(state, 'db'),
    memory: join(state, 'xdb.json'),
    lock: join(state, 'lock'),
    endpoint: join(state, 'endpoint.json'),
    reserve: join(state, 'reserve'),
    backup: join(root, '/var/lib/xdb-backup'),
    bootId: join(root, '/proc/sys/kernel/random/boot_id'),
    engineSocket: join(run, 'engine.sock'),
    haproxySocket: join(run, 'haproxy.sock'),
    haproxyMaster: join(run, 'haproxy-master.sock'),
    haproxyState: join(state, 'haproxy'),
  };
}

/** @throws AppError `invalid` naming the variable that is missing or wrong */
export function readConfig(env: NodeJS.ProcessEnv, root = ''): SidecarConfig {
  const read = validate(SidecarEnv, env, 'the environment of the sidecar');
  const bootId = read.XCAAS_TEST_BOOT_ID;
  return {
    db: read.XCAAS_NAME,
    member: read.XCAAS_MEMBER,
    node: read.XCAAS_NODE,
    host: read.XCAAS_HOST,
    paths: { ...sidecarPaths(root), ...(bootId === '' ? {} : { bootId }) },
    test: { failpoints: read.XCAAS_TEST_FAILPOINTS, guards: read.XCAAS_TEST_GUARDS, bootId },
  };
}
