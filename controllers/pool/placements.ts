import { parseRecord } from '#core/consul/records.ts';
import { AppError } from '#core/errors.ts';
import { guarded, type PoolConsul } from '#pool/guard.ts';
import type { Host } from '#pool/host.ts';
import { listHosts } from '#pool/hosts.ts';
import { type PlacementResult, place } from '#pool/placement.ts';
import { listPlacements, Placement, placementKey } from '#pool/placement-record.ts';
import type { MemberToPlace, Strategy } from '#pool/placement-request.ts';

export interface ReserveRequest {
  kind: Placement['kind'];
  members: readonly MemberToPlace[];
  strategy?: Strategy;
  seed?: number;
  /** Leaves hosts out or adds filters, from the state that is decided on; for affinities. */
  refine?(hosts: readonly Host[], existing: readonly Placement[]): readonly MemberToPlace[];
  now?(): Date;
}

/**
 * Chooses hosts for members and reserves their room, all or none. Two that reserve at once cannot sell the same room twice
 * ({@link guarded}). Members that have their place keep it, so repeating the call after any failure is safe.
 *
 * @throws AppError `no_host` naming the demand that left none; `cas_lost`, `unavailable`, `timeout`
 */
export async function reservePlacements(consul: PoolConsul, request: ReserveRequest): Promise<PlacementResult & { ok: true }> {
  const { kind, strategy, seed, now = () => new Date() } = request;
  return guarded(consul, async () => {
    const existing = await listPlacements(consul);
    const hosts = await listHosts(consul, { placements: existing });
    const members = request.refine?.(hosts, existing) ?? request.members;
    const result = place({ members, hosts, existing, ...(strategy ? { strategy } : {}), ...(seed === undefined ? {} : { seed }) });
    if (!result.ok) throw result.refusal;
    const time = now().toISOString();
    const changes = result.placements
      .filter((planned) => planned.fresh)
      .map(({ reason: _reason, fresh: _fresh, ...planned }) => ({
        verb: 'cas' as const,
        key: placementKey(planned.member),
        value: JSON.stringify(Placement.parse({ v: 1, kind, time, ...planned })),
        index: 0,
      }));
    return { changes, result };
  });
}

/**
 * Gives back what a member reserved. Call it after its container is gone.
 *
 * @param host only if it lives there: a member that was placed anew meanwhile keeps its new place
 * @returns false when nothing was reserved (there)
 */
export async function releasePlacement(consul: PoolConsul, member: string, host?: string): Promise<boolean> {
  for (let attempt = 0; attempt < 5; attempt += 1) {
    const entry = await consul.kv.get(placementKey(member), { consistent: true });
    if (entry === undefined) return false;
    if (host !== undefined && parseRecord(Placement, entry).host !== host) return false;
    if (await consul.kv.delete(entry.key, { cas: entry.modifyIndex })) return true;
  }
  throw new AppError('cas_lost', `the placement of ${member} is being changed by somebody else`, { hint: 'repeat the command' });
}
