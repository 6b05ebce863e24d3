import { join } from 'node:path';

/** Where a host keeps what is ours. The same paths are mounted at the same places in our containers (docs/architecture.md). */
export interface HostPaths {
  state: string;
  run: string;
  hostFile: string;
  pki: string;
  poolKey: string;
  consulSocket: string;
  consulConfig: string;
  consulData: string;
  agentSocket: string;
  agentState: string;
  tokens: string;
  volumes: string;
  tools: string;
  snapshots: string;
  membersRun: string;
  secretsRun: string;
}

/** @param root prefix of all paths; empty on a host of its own, a folder in tests that keep several hosts on one machine */
export function hostPaths(root = ''): HostPaths {
  const state = join(root, '/var/lib/xcaas');
  const run = join(root, '/run/xcaas');
  return {
    state,
    run,
    hostFile: join(state, 'host.json'),
    pki: join(state, 'pki'),
    poolKey: join(state, 'pool.key'),
    consulSocket: join(run, 'consul/http.sock'),
    consulConfig: join(state, 'consul/config'),
    consulData: join(state, 'consul/data'),
    agentSocket: join(run, 'agent/agent.sock'),
    agentState: join(state, 'agent'),
    tokens: join(state, 'tokens'),
    volumes: join(state, 'volumes'),
    tools: join(state, 'tools'),
    snapshots: join(state, 'snapshots'),
    membersRun: join(run, 'members'),
    secretsRun: join(run, 'secrets'),
  };
}

/** Ports of the ground on a host (docs/architecture.md). */
export const PORTS = { api: 7400, agent: 7401, control: 7402, consulRpc: 8300, consulGossip: 8301 } as const;
