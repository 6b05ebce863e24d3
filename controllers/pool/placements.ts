import { createRecords, parseRecord } from '#core/consul/records.ts';
import { AppError } from '#core/errors.ts';
import { guarded, type PoolConsul } from '#pool/guard.ts';
import type { Host, Resources } from '#pool/host.ts';
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

/** Remembers since when a member's host does not answer, or, without a time, that it does. A member that has no place is left alone. */
export async function markLost(consul: PoolConsul, member: string, since: string | undefined): Promise<void> {
  await createRecords(consul, Placement).update(placementKey(member), (present) => {
    if (present === undefined) return undefined;
    const { lostSince: _, ...rest } = present;
    return since === undefined ? rest : { ...rest, lostSince: since };
  });
}

/**
 * Reserves another amount for a member that has its place, on the same host, with other CPUs where their number changes.
 *
 * @throws AppError `no_host` naming what the host lacks; then everything is as it was. `not_found` when it has no place
 */
export async function resizePlacement(consul: PoolConsul, member: string, want: Resources): Promise<Placement> {
  return guarded(consul, async () => {
    const existing = await listPlacements(consul);
    const present = existing.find((placement) => placement.member === member);
    if (present === undefined) throw new AppError('not_found', `${member} has no place on any host`);
    const next = resized(await listHosts(consul, { placements: existing }), existing, present, want);
    const entry = await consul.kv.get(placementKey(member), { consistent: true });
    const value = JSON.stringify(next);
    if (entry === undefined) throw new AppError('not_found', `${member} has no place on any host`);
    return { changes: [{ verb: 'cas' as const, key: entry.key, value, index: entry.modifyIndex }], result: next };
  });
}

/** Pure: a placement with other resources on the host it is on. @throws AppError `no_host` */
export function resized(hosts: readonly Host[], existing: readonly Placement[], present: Placement, want: Resources): Placement {
  const { cpus, memoryBytes, diskBytes } = want;
  const keepsCpus = cpus === present.cpus;
  const host = hosts.find(({ spec }) => spec.id === present.host);
  const others = existing.filter((placement) => placement.member !== present.member);
  const here = [{ says: `where ${present.member} lives`, hosts: new Set([present.host]) }];
  const request = { id: present.member, service: present.service, cpus, memoryBytes, diskBytes, filters: here };
  // Its host may be drained, or silent for a while: what lives there stays.
  const all = host === undefined ? [] : [{ ...host, alive: true, spec: { ...host.spec, drained: false } }];
  const result = place({ members: [request], hosts: all, existing: others });
  if (!result.ok) throw result.refusal;
  const { cpuset } = keepsCpus ? present : result.placements[0]!;
  const { cpuset: _, ...rest } = present;
  return Placement.parse({ ...rest, cpus, memoryBytes, diskBytes, ...(cpuset === undefined ? {} : { cpuset }) });
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
