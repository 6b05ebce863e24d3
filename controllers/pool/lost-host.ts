import type { Host } from '#pool/host.ts';
import type { Placement } from '#pool/placement-record.ts';

export type HostLoss =
  | { state: 'fine' }
  /** It was taken out of the pool. */
  | { state: 'left' }
  /** It answers again: the placement says otherwise. */
  | { state: 'back'; host: Host }
  /** It does not answer, and the placement does not say so yet. */
  | { state: 'silent'; host: Host }
  | { state: 'lost'; host: Host; ms: number };

/** Pure: what has become of the host that a member is placed on. `lostSince` of the placement is the memory. */
export function lossOf(placement: Placement, seen: { hosts: readonly Host[]; silentHosts: readonly string[] }, now: Date): HostLoss {
  const host = seen.hosts.find((candidate) => candidate.spec.id === placement.host);
  if (host === undefined) return { state: 'left' };
  if (host.alive && !seen.silentHosts.includes(host.spec.id)) {
    return placement.lostSince === undefined ? { state: 'fine' } : { state: 'back', host };
  }
  if (placement.lostSince === undefined) return { state: 'silent', host };
  return { state: 'lost', host, ms: now.getTime() - Date.parse(placement.lostSince) };
}
