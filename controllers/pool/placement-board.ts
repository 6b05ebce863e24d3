import { capacityOf, isBound, milliCpus, showBytes, sumReserved, unboundCpus } from '#pool/capacity.ts';
import { satisfies, showConstraint } from '#pool/constraints.ts';
import type { Host } from '#pool/host.ts';
import type { Placement } from '#pool/placement-record.ts';
import type { MemberToPlace } from '#pool/placement-request.ts';

/** One host while a placement is worked out. */
export interface Square {
  host: Host;
  group: string;
  /** Racks are named within their group: two groups may both have a `rack1`. */
  rack: string;
  freeMilliCpus: number;
  freeCpus: number[];
  freeMemory: number;
  freeDisk: number;
  ports: Set<string>;
  /** Members by service. */
  services: Map<string, number>;
  /** Service → how many members here keep away from it. */
  avoided: Map<string, number>;
}

/** What was taken from a square, to give it back. */
export interface Seat {
  square: Square;
  member: MemberToPlace;
  cpus: number[];
}

export interface Board {
  squares: Square[];
  /** Members of services by group and by rack, those on hosts of this pool only. */
  groups: Map<string, number>;
  racks: Map<string, number>;
  take(member: MemberToPlace, square: Square): Seat;
  giveBack(seat: Seat): void;
}

/** A demand on a host, with how a refusal speaks of it. */
export interface Filter {
  /** After a number of hosts: `alive`, `with storage=ssd`. */
  says: string;
  passes(square: Square): boolean;
  /** What a host that fails has instead: `has 2.1 GiB`. */
  instead?(square: Square): string;
  /** True = named in a refusal also when it left all hosts. */
  always?: boolean;
  /** True = depends on what is placed in the same request. */
  changes?: boolean;
  kind: 'alive' | 'drained' | 'constraint' | 'other' | 'room';
}

export function createBoard(hosts: readonly Host[], existing: readonly Placement[]): Board {
  const byHost = new Map<string, Placement[]>();
  for (const placement of existing) byHost.set(placement.host, [...(byHost.get(placement.host) ?? []), placement]);
  const groups = new Map<string, number>();
  const racks = new Map<string, number>();
  const squares = hosts.map((host): Square => {
    const here = byHost.get(host.spec.id) ?? [];
    const capacity = capacityOf(host.facts);
    const reserved = sumReserved(here);
    const square: Square = {
      host,
      group: host.spec.group,
      rack: `${host.spec.group}/${host.spec.rack}`,
      freeMilliCpus: milliCpus(capacity.cpus) - milliCpus(reserved.cpus),
      freeCpus: host.facts === undefined ? [] : unboundCpus(host.facts, here),
      freeMemory: capacity.memoryBytes - reserved.memoryBytes,
      freeDisk: capacity.diskBytes - reserved.diskBytes,
      ports: new Set(here.flatMap((placement) => placement.hostPorts)),
      services: new Map(),
      avoided: new Map(),
    };
    for (const { service } of here) count(square, service, 1);
    return square;
  });

  function count(square: Square, service: string, by: number): void {
    add(square.services, service, by);
    add(groups, placeKey(service, square.group), by);
    add(racks, placeKey(service, square.rack), by);
  }

  return {
    squares,
    groups,
    racks,
    take(member, square) {
      const cpus = isBound(member.cpus) ? square.freeCpus.slice(0, member.cpus) : [];
      square.freeCpus = square.freeCpus.slice(cpus.length);
      square.freeMilliCpus -= milliCpus(member.cpus);
      square.freeMemory -= member.memoryBytes;
      square.freeDisk -= member.diskBytes;
      for (const port of member.hostPorts ?? []) square.ports.add(port);
      for (const service of member.avoidMembersOf ?? []) add(square.avoided, service, 1);
      count(square, member.service, 1);
      return { square, member, cpus };
    },
    giveBack({ square, member, cpus }) {
      square.freeCpus = [...cpus, ...square.freeCpus];
      square.freeMilliCpus += milliCpus(member.cpus);
      square.freeMemory += member.memoryBytes;
      square.freeDisk += member.diskBytes;
      for (const port of member.hostPorts ?? []) square.ports.delete(port);
      for (const service of member.avoidMembersOf ?? []) add(square.avoided, service, -1);
      count(square, member.service, -1);
    },
  };
}

export function placeKey(service: string, place: string): string {
  return `${service} ${place}`;
}

/** All hard demands of a member, in the order in which a refusal names them. */
export function filtersOf(member: MemberToPlace): Filter[] {
  const { service, cpus, memoryBytes, diskBytes, constraints = [], avoidMembersOf = [], hostPorts = [], filters = [] } = member;
  return [
    { kind: 'alive', says: 'alive', always: true, passes: ({ host }) => host.alive && host.facts !== undefined },
    { kind: 'drained', says: 'not drained', passes: ({ host }) => !host.spec.drained },
    ...constraints
      .filter((constraint) => !constraint.soft)
      .map((constraint): Filter => {
        const says = `with ${showConstraint(constraint)}`;
        return { kind: 'constraint', says, always: true, passes: ({ host }) => satisfies(host, constraint) };
      }),
    ...filters.map(
      (filter): Filter => ({ kind: 'other', says: filter.says, always: true, passes: ({ host }) => filter.hosts.has(host.spec.id) }),
    ),
    ...avoidMembersOf.map(
      (other): Filter => ({
        kind: 'other',
        changes: true,
        says: `without a member of ${other}`,
        passes: ({ services }) => !services.get(other),
      }),
    ),
    { kind: 'other', changes: true, says: `whose members do not avoid ${service}`, passes: ({ avoided }) => !avoided.get(service) },
    ...hostPorts.map(
      (port): Filter => ({ kind: 'other', changes: true, says: `with port ${port} free`, passes: ({ ports }) => !ports.has(port) }),
    ),
    ...roomFilters({ cpus, memoryBytes, diskBytes }),
  ];
}

function roomFilters({ cpus, memoryBytes, diskBytes }: Pick<MemberToPlace, 'cpus' | 'memoryBytes' | 'diskBytes'>): Filter[] {
  const room = (says: string, passes: Filter['passes'], instead: Filter['instead']): Filter => ({
    kind: 'room',
    changes: true,
    says,
    passes,
    instead,
  });
  const has = (square: Square) => Math.max(0, square.freeMilliCpus) / 1000;
  // What asks for nothing fits everywhere, also on a host that has shrunk below what is reserved there.
  return [
    ...(cpus === 0
      ? []
      : [
          room(
            `with ${cpus} ${cpus === 1 ? 'CPU' : 'CPUs'} free`,
            (square) => square.freeMilliCpus >= milliCpus(cpus) && (!isBound(cpus) || square.freeCpus.length >= cpus),
            (square) => `has ${isBound(cpus) ? Math.min(Math.floor(has(square)), square.freeCpus.length) : has(square)}`,
          ),
        ]),
    ...(memoryBytes === 0
      ? []
      : [
          room(
            `with ${showBytes(memoryBytes)} of memory free`,
            (square) => square.freeMemory >= memoryBytes,
            (square) => `has ${showBytes(Math.max(0, square.freeMemory))}`,
          ),
        ]),
    ...(diskBytes === 0
      ? []
      : [
          room(
            `with ${showBytes(diskBytes)} of disk free`,
            (square) => square.freeDisk >= diskBytes,
            (square) => `has ${showBytes(Math.max(0, square.freeDisk))}`,
          ),
        ]),
  ];
}

function add(counts: Map<string, number>, key: string, by: number): void {
  const next = (counts.get(key) ?? 0) + by;
  if (next === 0) counts.delete(key);
  else counts.set(key, next);
}
