import { statfs } from 'node:fs/promises';
import type { ConsulClient } from '#core/consul/client.ts';
import type { Docker } from '#core/docker.ts';
import { isRecord } from '#core/http.ts';
import type { Logger } from '#core/log.ts';
import { createLoop, type Loop } from '#core/loop.ts';
import type { HostPaths } from '#core/paths.ts';
import { HostFacts } from '#pool/host.ts';
import { engineError } from './engine-errors.ts';

interface FactsOptions {
  docker: Docker;
  paths: HostPaths;
  consul: ConsulClient;
  version: string;
  now?: () => Date;
}

/** What is so on this host now. */
export async function readFacts({ docker, paths, consul, version, now = () => new Date() }: FactsOptions): Promise<HostFacts> {
  let info: Record<string, unknown>;
  try {
    info = (await docker.info()) as Record<string, unknown>;
  } catch (error) {
    throw engineError(error, 'asking the engine about its host');
  }
  const swarm = isRecord(info.Swarm) ? info.Swarm : {};
  const disk = await statfs(paths.state);
  const self = await consul.request('GET', '/v1/agent/self').catch(() => undefined);
  const config = isRecord(self?.body) && isRecord(self.body.Config) ? self.body.Config : {};
  return HostFacts.parse({
    v: 1,
    cpus: info.NCPU,
    memoryBytes: info.MemTotal,
    diskBytes: disk.blocks * disk.bsize,
    engineVersion: info.ServerVersion,
    ...(typeof swarm.NodeID === 'string' && swarm.NodeID !== '' ? { swarmNodeId: swarm.NodeID } : {}),
    swarmManager: swarm.ControlAvailable === true,
    consulServer: config.Server === true,
    engineLabels: parseLabels(info.Labels),
    version,
    time: now().toISOString(),
  });
}

/** The engine lists its labels as `key=value`. */
export function parseLabels(labels: unknown): Record<string, string> {
  const result: Record<string, string> = {};
  if (!Array.isArray(labels)) return result;
  for (const label of labels) {
    if (typeof label !== 'string') continue;
    const at = label.indexOf('=');
    result[at < 0 ? label : label.slice(0, at)] = at < 0 ? '' : label.slice(at + 1);
  }
  return result;
}

/** Milliseconds after which facts are written again though nothing changed but the time. */
const REFRESH_MS = 60_000;

/** Keeps `xcaas/hosts/<id>/facts` up to date. */
export function createFactsLoop({
  hostId,
  log,
  read,
  consul,
  intervalMs = 5000,
}: {
  hostId: string;
  log: Logger;
  read(): Promise<HostFacts>;
  consul: ConsulClient;
  intervalMs?: number;
}): Loop {
  const key = `xcaas/hosts/${hostId}/facts`;
  return createLoop({
    name: 'facts',
    log,
    intervalMs,
    async cycle() {
      const facts = await read();
      const entry = await consul.kv.get(key);
      if (entry === undefined || isStale(entry.value, facts)) await consul.kv.put(key, JSON.stringify(facts));
      return 'the facts of this host are in Consul';
    },
  });
}

function isStale(written: string, facts: HostFacts): boolean {
  try {
    const before = HostFacts.parse(JSON.parse(written));
    if (Date.parse(facts.time) - Date.parse(before.time) >= REFRESH_MS) return true;
    return JSON.stringify({ ...before, time: '' }) !== JSON.stringify({ ...facts, time: '' });
  } catch {
    return true;
  }
}
