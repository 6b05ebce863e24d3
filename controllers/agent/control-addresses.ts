import { z } from 'zod';
import type { ConsulClient } from '#core/consul/client.ts';
import type { HostPaths } from '#core/paths.ts';
import { readConsulConfig } from '#ground/consul-config.ts';
import { type HostRecord, listHosts } from '#ground/host-record.ts';

/** `xcaas/control/leader` */
export const LEADER_KEY = 'xcaas/control/leader';
const Leader = z.object({ v: z.literal(1), host: z.string(), address: z.string() });

export interface ControlAddresses {
  /** Addresses at which control may answer, the leader's first. Never throws: with Consul dead it is what was known last. */
  candidates(): Promise<string[]>;
}

/** Where control is: the leader by its record, then this host if it is a manager, then all managers. */
export function createControlAddresses({
  consul,
  paths,
  host,
  now = Date.now,
}: {
  consul: ConsulClient;
  paths: HostPaths;
  /** Read anew each time: a host becomes a manager. */
  host(): Pick<HostRecord, 'address' | 'manager'>;
  now?: () => number;
}): ControlAddresses {
  let leader: string | undefined;
  let managers: { addresses: string[]; at: number } | undefined;

  async function readLeader(): Promise<string | undefined> {
    try {
      const entry = await consul.kv.get(LEADER_KEY);
      // Without a session nobody holds it: what it says is who led last.
      if (entry?.session === undefined) return undefined;
      leader = Leader.parse(JSON.parse(entry.value)).address;
    } catch {
      // Known last is better than nothing.
    }
    return leader;
  }

  async function readManagers(): Promise<string[]> {
    if (managers !== undefined && now() - managers.at < MANAGERS_KEPT_MS) return managers.addresses;
    try {
      const hosts = await listHosts(consul);
      managers = { addresses: hosts.filter(({ manager }) => manager).map(({ address }) => address), at: now() };
      return managers.addresses;
    } catch {
      return managers?.addresses ?? (await readConsulConfig(paths).catch(() => undefined))?.servers ?? [];
    }
  }

  return {
    async candidates() {
      const [first, others] = await Promise.all([readLeader(), readManagers()]);
      const own = host();
      return [...new Set([...(first === undefined ? [] : [first]), ...(own.manager ? [own.address] : []), ...others])];
    },
  };
}

/** Milliseconds for which the list of managers is not asked for again. */
const MANAGERS_KEPT_MS = 5000;
