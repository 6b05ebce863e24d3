import { AppError } from '#core/errors.ts';
import { validate } from '#core/validate.ts';
import { showBytes } from '#pool/capacity.ts';
import type { BirthRecord } from '#pool/service-schema.ts';
import { differences, memberId, parsePublish as publishedPort, refusePortTwice, showSpec } from '#pool/service-spec.ts';
import { memberNumber } from '#pool/service-world.ts';
import { canBeSafe } from '#xcache/cluster/placement.ts';
import { LEAST_MEMORY_BYTES } from '#xcache/memory.ts';
import { CacheSpec } from '#xcache/schema.ts';

/** Pure: specifications of caches, made and checked. */

const GIB = 2 ** 30;
const LEAST_DISK_BYTES = 256 * 2 ** 20;

/** Ports of the endpoint that hosts may publish. */
export const ENDPOINT = { master: 6379, replica: 6380, sentinel: 26379 } as const;

/** A cluster decides by the majority of its masters: with fewer than three, none can be lost. */
export const LEAST_SHARDS = 3;

export type NewCache = Pick<CacheSpec, 'name' | 'network'> &
  Partial<
    Pick<
      CacheSpec,
      | 'mode'
      | 'engine'
      | 'image'
      | 'imageId'
      | 'shards'
      | 'replicas'
      | 'minReplicas'
      | 'cpus'
      | 'memoryBytes'
      | 'diskBytes'
      | 'publish'
      | 'labels'
      | 'persistence'
      | 'policy'
      | 'autoscale'
      | 'replaceAfterSeconds'
      | 'created'
      | 'tls'
      | 'parameters'
      | 'origin'
    >
  >;

/**
 * Defaults: replicated, one replica, nothing on disk, the least recently used keys go first; with an append-only file nothing goes, since somebody wants to keep it.
 *
 * @throws AppError `invalid`, `usage` naming the first thing that cannot be, and how it can
 */
export function newSpec(fields: NewCache): CacheSpec {
  const given = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as NewCache;
  const mode = given.mode ?? 'replicated';
  refuseContradictions(given, mode);
  const shards = given.shards ?? (mode === 'cluster' ? LEAST_SHARDS : 1);
  const replicas = given.replicas ?? (mode === 'standalone' ? 0 : 1);
  const kept = given.persistence ?? 'none';
  const count = shards * (1 + replicas);
  const spec = validate(
    CacheSpec,
    {
      ...{
        v: 1,
        engine: 'valkey',
        cpus: 0,
        memoryBytes: GIB,
        diskBytes: defaultDisk(given.memoryBytes ?? GIB, kept),
        policy: kept === 'aof' ? 'noeviction' : 'allkeys-lru',
      },
      ...{ persistence: kept, minReplicas: mode === 'replicated' ? Math.min(1, replicas) : 0, user: userOf(given.name) },
      ...given,
      ...{ mode, shards, replicas },
      members: Array.from({ length: count }, (_, index) => ({ id: memberId(given.name, index + 1), shard: index % shards })),
      lastMember: count,
    },
    `the cache ${given.name}`,
  );
  refuseUnfit(spec);
  return spec;
}

function refuseContradictions({ shards, replicas, minReplicas, autoscale, publish }: NewCache, mode: CacheSpec['mode']): void {
  if (mode !== 'cluster' && shards !== undefined && shards !== 1)
    throw new AppError('usage', `a ${mode} cache has one master, not ${shards} shards`, {
      hint: `add --mode cluster, or leave --shards away`,
    });
  if (mode === 'cluster' && (publish ?? []).length > 0)
    throw new AppError('usage', 'clients of a cluster speak to its members themselves: no port of a host can lead them there', {
      hint: 'leave --publish away and run clients on its network, or use --mode replicated',
    });
  if (mode !== 'cluster' && autoscale?.on === true)
    throw new AppError('usage', `a ${mode} cache cannot grow by shards`, { hint: 'add --mode cluster, or leave autoscale away' });
  if (mode === 'cluster' && shards !== undefined && shards < LEAST_SHARDS)
    throw new AppError(
      'invalid',
      `a cluster of ${shards} ${shards === 1 ? 'master' : 'masters'} could not lose one: it decides by the majority of its masters`,
      {
        hint: `use --shards ${LEAST_SHARDS} or more, or --mode replicated`,
      },
    );
  if (mode === 'standalone' && replicas !== undefined && replicas !== 0)
    throw new AppError('usage', 'a standalone cache has no replicas', { hint: 'use --mode replicated, or leave --replicas away' });
  if (mode === 'replicated' && replicas === 0)
    throw new AppError('usage', 'a replicated cache has at least one replica', { hint: 'use --replicas 1, or --mode standalone' });
  const most = mode === 'standalone' ? 0 : (replicas ?? 1);
  if (minReplicas !== undefined && minReplicas > most)
    throw new AppError('invalid', `min-replicas=${minReplicas} can never be met by ${most} ${most === 1 ? 'replica' : 'replicas'}`, {
      hint: `use min-replicas=${most} or less, or more --replicas`,
    });
}

/** A file is written anew before the old one is removed. */
function defaultDisk(memoryBytes: number, kept: CacheSpec['persistence']): number {
  return kept === 'none' ? 2 * GIB : Math.max(2 * GIB, 2 * memoryBytes);
}

/** @throws AppError `invalid` for sizes that no cache can have */
export function refuseUnfit(spec: CacheSpec): void {
  if (spec.memoryBytes < LEAST_MEMORY_BYTES)
    throw new AppError('invalid', `${showBytes(spec.memoryBytes)} of memory are too little for a member`, {
      hint: `give at least --memory ${showBytes(LEAST_MEMORY_BYTES).replace(' MiB', 'm')}; a plain number is GiB`,
    });
  const leastDisk = spec.persistence === 'none' ? LEAST_DISK_BYTES : Math.max(LEAST_DISK_BYTES, 2 * spec.memoryBytes);
  if (spec.diskBytes < leastDisk)
    throw new AppError(
      'invalid',
      `${showBytes(spec.diskBytes)} of disk are too little for ${showBytes(spec.memoryBytes)} of memory with persistence=${spec.persistence}`,
      {
        hint: `give at least ${showBytes(leastDisk)}: a file is written anew before the old one is removed`,
      },
    );
  if (spec.autoscale?.on === true && spec.autoscale.maxShards < spec.shards)
    throw new AppError('invalid', `max-shards=${spec.autoscale.maxShards} is below the ${spec.shards} shards it begins with`, {
      hint: `use max-shards=${spec.shards} or more`,
    });
  refusePortTwice(spec);
}

/**
 * What `cache scale` may change. @param usedBytes of all masters together
 *
 * @throws AppError `usage` where the mode has no such thing, `invalid` where the data would not fit
 */
export function refuseScale(
  spec: CacheSpec,
  change: { shards?: number; memoryBytes?: number },
  data: { usedBytes: number; dataBytes: (memoryBytes: number) => number },
): void {
  const shards = change.shards ?? spec.shards;
  const memoryBytes = change.memoryBytes ?? spec.memoryBytes;
  if (change.shards !== undefined && spec.mode !== 'cluster')
    throw new AppError('usage', `${spec.name} is ${spec.mode}: it has one master`, {
      hint: 'scale --memory gives it more; a cluster is another cache (cache create --mode cluster)',
    });
  if (shards < (spec.mode === 'cluster' ? LEAST_SHARDS : 1))
    throw new AppError('invalid', `a cluster has at least ${LEAST_SHARDS} shards`, { hint: `use --shards ${LEAST_SHARDS} or more` });
  const room = shards * data.dataBytes(memoryBytes);
  const present = spec.shards * data.dataBytes(spec.memoryBytes);
  // Growing is never refused; shrinking leaves half as much again as there is, since slots are uneven and data go on growing meanwhile.
  if (room < present && room < 1.5 * data.usedBytes)
    throw new AppError('invalid', `${spec.name} holds ${showBytes(data.usedBytes)}; that would leave room for ${showBytes(room)}`, {
      hint: `leave at least ${showBytes(Math.ceil(1.5 * data.usedBytes))} for data, or remove some first`,
    });
}

/** Pure: one member more, of a shard, and its id. */
export function withMember(spec: CacheSpec, shard = 0): { spec: CacheSpec; id: string } {
  const number = Math.max(spec.lastMember, ...spec.members.map(({ id }) => memberNumber(id))) + 1;
  const id = memberId(spec.name, number);
  return { id, spec: { ...spec, lastMember: number, members: [...spec.members, { id, shard }] } };
}

/** Further shards have their members from the beginning; replicas are added and taken away by the controller, one by one. */
export function withShards(spec: CacheSpec): CacheSpec {
  let next = spec;
  const count = (shard: number) => next.members.filter((member) => member.shard === shard).length;
  for (let shard = 0; shard < spec.shards; shard += 1) {
    if (count(shard) > 0) continue;
    for (let copy = 0; copy <= spec.replicas; copy += 1) next = withMember(next, shard).spec;
  }
  return next;
}

export function withoutMember(spec: CacheSpec, member: string): CacheSpec {
  return { ...spec, members: spec.members.filter(({ id }) => id !== member) };
}

export function newBirth(spec: CacheSpec): BirthRecord {
  const [first] = spec.members;
  if (first === undefined) throw new AppError('internal', `${spec.name} has no member`);
  return { v: 1, member: first.id, done: false };
}

/** `PORT` publishes the master, `PORT:6380` a replica. @throws AppError `usage` */
export function parsePublish(text: string): CacheSpec['publish'][number] {
  const hint = `write PORT for the master, or PORT:${ENDPOINT.replica} for a replica`;
  return publishedPort(text, { what: 'a cache', ports: [ENDPOINT.master, ENDPOINT.replica], hint });
}

/** What differs between two specifications in what `cache create` sets, as `memory: 4 GiB instead of 2 GiB`; empty = the same. */
export function difference(present: CacheSpec, asked: CacheSpec): string[] {
  const view = (spec: CacheSpec) => ({
    mode: spec.mode,
    engine: spec.engine,
    shards: String(spec.shards),
    replicas: String(spec.replicas),
    'min-replicas': String(spec.minReplicas),
    persistence: spec.persistence,
    'maxmemory-policy': spec.policy,
    tls: spec.tls ? 'on' : 'off',
    autoscale: spec.autoscale?.on === true ? `on, at most ${spec.autoscale.maxShards} shards` : 'off',
    ...showSpec(spec, ENDPOINT.master),
  });
  return differences(view(present), view(asked));
}

/**
 * What would not be safe wherever it is put. @param groups fault groups of the hosts that live
 *
 * @throws AppError `no_host` saying what is missing
 */
export function refuseUnsafe(spec: Pick<CacheSpec, 'name' | 'mode' | 'shards' | 'replicas'>, groups: number): void {
  const { name, mode, shards, replicas } = spec;
  const of = `the pool has ${groups} fault ${groups === 1 ? 'group' : 'groups'}`;
  // Two members in one group are a beginning, which mends itself when a second group joins.
  if (replicas + 1 > Math.max(2, groups))
    throw new AppError('no_host', `a master with ${replicas} replicas needs ${replicas + 1} fault groups, and ${of}`, {
      hint: `use --replicas ${Math.max(1, groups - 1)}, or add hosts of other groups: xcaas join-token`,
    });
  if (mode === 'cluster' && !canBeSafe(shards, groups)) {
    const fit = [shards + 1, shards - 1, shards + 2].find((other) => other >= LEAST_SHARDS && canBeSafe(other, groups));
    throw new AppError('no_host', `${shards} masters of ${name} cannot be spread so that the loss of no group takes the majority: ${of}`, {
      hint:
        fit === undefined
          ? 'three groups are needed at least: xcaas join-token'
          : `use --shards ${fit}, or add hosts of another group: xcaas join-token`,
    });
  }
}

/** The user's account has the cache's name, a letter first. */
function userOf(name: string): string {
  return /^[a-z]/.test(name) ? name : `c_${name}`;
}
