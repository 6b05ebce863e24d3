import { z } from 'zod';
import type { ConsulClient } from '#core/consul/client.ts';
import { parseRecord } from '#core/consul/records.ts';
import { name } from '#core/names.ts';

/** `udp/53`: a port of the host that a member publishes. */
export const hostPort = z.string().regex(/^(tcp|udp)\/\d{1,5}$/);

/** `xcaas/placements/<member>`: where a member lives and what is kept free for it there. */
export const Placement = z.object({
  v: z.literal(1),
  member: name,
  service: name,
  kind: z.enum(['lb', 'db', 'cache', 'fs']),
  /** Id of the host. */
  host: z.string(),
  /** CPUs reserved; a whole number above 0 is bound by `cpuset`, a fraction is counted only. */
  cpus: z.number().min(0),
  memoryBytes: z.number().int().min(0),
  diskBytes: z.number().int().min(0),
  cpuset: z.string().optional(),
  hostPorts: z.array(hostPort).default([]),
  time: z.string(),
  /** Since when the host does not answer; the controller of the service decides by it when to move a member that holds no data. */
  lostSince: z.string().optional(),
});
export type Placement = z.infer<typeof Placement>;

export const PLACEMENTS_PREFIX = 'xcaas/placements/';

export function placementKey(member: string): string {
  return `${PLACEMENTS_PREFIX}${member}`;
}

/**
 * All placements, by one consistent read.
 *
 * @throws AppError `invalid` when one cannot be read: what it reserves would be sold twice if it were left out
 */
export async function listPlacements(consul: Pick<ConsulClient, 'kv'>): Promise<Placement[]> {
  const entries = await consul.kv.list(PLACEMENTS_PREFIX, { consistent: true });
  return entries.map((entry) => parseRecord(Placement, entry));
}

export async function readPlacement(consul: Pick<ConsulClient, 'kv'>, member: string): Promise<Placement | undefined> {
  const entry = await consul.kv.get(placementKey(member), { consistent: true });
  return entry === undefined ? undefined : parseRecord(Placement, entry);
}
