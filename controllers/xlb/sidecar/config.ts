import { join } from 'node:path';
import { z } from 'zod';
import { name, serviceName } from '#core/names.ts';
import { validate } from '#core/validate.ts';

const SidecarEnv = z.object({
  XCAAS_KIND: z.literal('lb'),
  XCAAS_NAME: serviceName,
  XCAAS_MEMBER: name,
  XCAAS_NODE: z.string().min(1).max(256),
  XCAAS_HOST: z.string().max(256).default(''),
});

/** Where things lie in a member's container (images/xlb/README.md). */
export interface SidecarPaths {
  consulSocket: string;
  consulToken: string;
  certs: string;
  admin: string;
  /** nginx's control interface. */
  nginxSocket: string;
  nginxPid: string;
  /** Generations of nginx's configuration, with the links `current` and `last-good`. */
  nginxState: string;
  /** Last known good tables of groups, read by nginx when it starts. */
  tables: string;
  /** What Consul last said of each service: the sidecar's own memory. */
  services: string;
  haproxySocket: string;
  haproxyMaster: string;
  haproxyState: string;
}

export interface SidecarConfig {
  lb: string;
  member: string;
  node: string;
  host: string;
  paths: SidecarPaths;
}

/** @param root prefix of all paths; empty in the image */
export function sidecarPaths(root = ''): SidecarPaths {
  const state = join(root, '/var/lib/xlb');
  const run = join(root, '/run/xlb');
  return {
    consulSocket: join(root, '/run/consul/http.sock'),
    consulToken: join(root, '/run/secrets/consul_token'),
    certs: join(root, '/run/secrets/certs.json'),
    admin: join(root, '/run/member/admin.sock'),
    nginxSocket: join(run, 'nginx.sock'),
    nginxPid: join(run, 'nginx.pid'),
    nginxState: join(state, 'nginx'),
    tables: join(state, 'tables'),
    services: join(state, 'services'),
    haproxySocket: join(run, 'haproxy.sock'),
    haproxyMaster: join(run, 'haproxy-master.sock'),
    haproxyState: join(state, 'haproxy'),
  };
}

/** @throws AppError `invalid` naming the variable that is missing or wrong */
export function readConfig(env: NodeJS.ProcessEnv, root = ''): SidecarConfig {
  const { XCAAS_NAME, XCAAS_MEMBER, XCAAS_NODE, XCAAS_HOST } = validate(SidecarEnv, env, 'the environment of the sidecar');
  return { lb: XCAAS_NAME, member: XCAAS_MEMBER, node: XCAAS_NODE, host: XCAAS_HOST, paths: sidecarPaths(root) };
}
