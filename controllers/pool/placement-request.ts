import type { Constraint } from '#pool/constraints.ts';
import type { Host } from '#pool/host.ts';
import type { Placement } from '#pool/placement-record.ts';

export type Strategy = 'spread' | 'binpack' | 'random';

/** A member that needs a host. */
export interface MemberToPlace {
  id: string;
  /** Members of one service keep away from each other: other groups, then other racks, then other hosts. */
  service: string;
  /** A whole number above 0 gets CPUs of its own; a fraction or 0 is counted and not bound. */
  cpus: number;
  memoryBytes: number;
  diskBytes: number;
  constraints?: readonly Constraint[];
  /** Services whose members must not be on the same host, in either direction within one request. */
  avoidMembersOf?: readonly string[];
  /** Ports of the host it publishes, `tcp/80`; nobody else on the host may have them. */
  hostPorts?: readonly string[];
  /** Further demands, worked out by the caller (e.g. an affinity to a container): ids of the hosts that are left. */
  filters?: readonly HostFilter[];
}

export interface HostFilter {
  /** Said after a number of hosts: `that run web-1`. */
  says: string;
  hosts: ReadonlySet<string>;
}

export interface PlacementRequest {
  members: readonly MemberToPlace[];
  hosts: readonly Host[];
  /** Everything that is placed already, of all services. It is never moved. */
  existing: readonly Placement[];
  /** How to choose among hosts that spread a service equally well; `spread` = the emptiest, `binpack` = the fullest. */
  strategy?: Strategy;
  /** For `random`: the same seed and the same input give the same hosts. */
  seed?: number;
}
