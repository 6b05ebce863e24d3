import { parseCpuset } from '#pool/cpuset.ts';
import type { Host, HostFacts, Resources } from '#pool/host.ts';
import type { Placement } from '#pool/placement-record.ts';

/**
 * Kept for the engine, Consul, the agent and control on every host. Memory: two of our programs at 73 MB each (measured, idle) and
 * Consul at about 60 MB, rounded up. Disk: images of the ground and of one appliance.
 */
export const GROUND_RESERVE: Resources = { cpus: 0, memoryBytes: 256 * 2 ** 20, diskBytes: 2 ** 30 };

/** Fractions of a CPU are added up in thousandths: sums of binary fractions would drift past a limit that they just reach. */
export function milliCpus(cpus: number): number {
  return Math.round(cpus * 1000);
}

/** True when a member with that many CPUs is bound to CPUs of its own. */
export function isBound(cpus: number): boolean {
  return cpus >= 1 && Number.isInteger(cpus);
}

/** Sum of what placements reserve. */
export function sumReserved(placements: Iterable<Pick<Placement, 'cpus' | 'memoryBytes' | 'diskBytes'>>): Resources {
  let milli = 0;
  let memoryBytes = 0;
  let diskBytes = 0;
  for (const placement of placements) {
    milli += milliCpus(placement.cpus);
    memoryBytes += placement.memoryBytes;
    diskBytes += placement.diskBytes;
  }
  return { cpus: milli / 1000, memoryBytes, diskBytes };
}

/** What members may have on a host in all; nothing while the host's facts are not known. */
export function capacityOf(facts: Pick<HostFacts, 'cpus' | 'memoryBytes' | 'diskBytes'> | undefined): Resources {
  if (facts === undefined) return { cpus: 0, memoryBytes: 0, diskBytes: 0 };
  return {
    cpus: Math.max(0, facts.cpus - GROUND_RESERVE.cpus),
    memoryBytes: Math.max(0, facts.memoryBytes - GROUND_RESERVE.memoryBytes),
    diskBytes: Math.max(0, facts.diskBytes - GROUND_RESERVE.diskBytes),
  };
}

/** What is left on a host; never below 0, also when the host has shrunk since members were placed there. */
export function freeOf(host: Pick<Host, 'facts' | 'reserved'>): Resources {
  const capacity = capacityOf(host.facts);
  return {
    cpus: Math.max(0, milliCpus(capacity.cpus) - milliCpus(host.reserved.cpus)) / 1000,
    memoryBytes: Math.max(0, capacity.memoryBytes - host.reserved.memoryBytes),
    diskBytes: Math.max(0, capacity.diskBytes - host.reserved.diskBytes),
  };
}

/** CPUs of a host that no placement there is bound to, ascending. */
export function unboundCpus(facts: Pick<HostFacts, 'cpus'>, placements: Iterable<Pick<Placement, 'cpuset'>>): number[] {
  const taken = new Set<number>();
  for (const { cpuset } of placements) if (cpuset !== undefined && cpuset !== '') for (const cpu of parseCpuset(cpuset)) taken.add(cpu);
  return Array.from({ length: facts.cpus }, (_, cpu) => cpu).filter((cpu) => !taken.has(cpu));
}

/** `2.1 GiB`, `512 MiB`: for sentences. */
export function showBytes(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  // Rounded down: "4 GiB free" must not be said of a host where 4 GiB do not fit.
  return `${Math.floor(value * 10) / 10} ${units[unit]}`;
}
