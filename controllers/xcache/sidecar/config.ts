import { join } from 'node:path';
import { z } from 'zod';
import { name, serviceName } from '#core/names.ts';
import { validate } from '#core/validate.ts';
import { type CacheMode, cacheMode } from '#xcache/schema.ts';

const SidecarEnv = z.object({
  XCAAS_KIND: z.literal('cache'),
  XCAAS_NAME: serviceName,
  XCAAS_MEMBER: name,
  XCAAS_NODE: z.string().min(1).max(256),
  /** Of the cache, as its specification says for good. */
  XCAAS_MODE: cacheMode.default('replicated'),
  /** `on`: every port of the members of this cache speaks TLS, as its specification says for good. */
  XCAAS_TLS: z.enum(['on', 'off']).default('off'),
  /** Fault group of that host: masters of a cluster are kept apart by it. */
  XCAAS_GROUP: z.string().max(256).optional(),
  /** Of this container. */
  XCAAS_MEMORY_BYTES: z.coerce.number().int().positive().optional(),
  /** Guards of the protocol that a test switches off, to prove that its checker finds what they prevent. */
  XCAAS_TEST_GUARDS: z.string().default(''),
});

/** Ports of a cluster's member: its clients follow the addresses that engines announce, so they speak to the engine itself, and nothing else listens there. */
export const CLUSTER_PORTS = { engine: 6379, bus: 16_379 } as const;
/** Ports of another cache's member on the cache's network. */
export const XCACHE_PORTS = { master: 6379, slave: 6380, engine: 6378, peer: 6377, sentinel: 26379 } as const;

/** @param root prefix of all paths; empty in the image (images/xcache/README.md) */
export function sidecarPaths(root = '') {
  const state = join(root, '/var/lib/xcache');
  const run = join(root, '/run/xcache');
  const secrets = join(root, '/run/secrets');
  return {
    consulSocket: join(root, '/run/consul/http.sock'),
    consulToken: join(secrets, 'consul_token'),
    agentSocket: join(root, '/run/agent/agent.sock'),
    credentials: join(secrets, 'credentials.json'),
    tls: { ca: join(secrets, 'ca.pem'), certificate: join(secrets, 'server.pem'), privateKey: join(secrets, 'server.key') },
    admin: join(root, '/run/member/admin.sock'),
    state,
    data: join(state, 'db'),
    backup: join(root, '/var/lib/xcache-backup'),
    memory: join(state, 'xcache.json'),
    lock: join(state, 'lock'),
    endpoint: join(state, 'endpoint.json'),
    engineSocket: join(run, 'engine.sock'),
    engineConfig: join(run, 'engine.conf'),
    engineAcl: join(run, 'users.acl'),
    haproxySocket: join(run, 'haproxy.sock'),
    haproxyMaster: join(run, 'haproxy-master.sock'),
    haproxyState: join(state, 'haproxy'),
  };
}
export type SidecarPaths = ReturnType<typeof sidecarPaths>;

export interface SidecarConfig {
  cache: string;
  member: string;
  node: string;
  /** Fault group; the host itself where none was said. */
  group: string;
  /** Of the container; the specification may say more already. */
  memoryBytes: number | undefined;
  paths: SidecarPaths;
  mode: CacheMode;
  tls: boolean;
  testGuards: string;
}

/** @throws AppError `invalid` naming the variable that is missing or wrong */
export function readConfig(env: NodeJS.ProcessEnv, root = ''): SidecarConfig {
  const read = validate(SidecarEnv, env, 'the environment of the sidecar');
  const { XCAAS_NAME: cache, XCAAS_MEMBER: member, XCAAS_NODE: node, XCAAS_TEST_GUARDS: testGuards } = read;
  return {
    cache,
    member,
    node,
    group: read.XCAAS_GROUP ?? node,
    memoryBytes: read.XCAAS_MEMORY_BYTES,
    paths: sidecarPaths(root),
    mode: read.XCAAS_MODE,
    tls: read.XCAAS_TLS === 'on',
    testGuards,
  };
}
