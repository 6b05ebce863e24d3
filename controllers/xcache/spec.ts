import { AppError } from '#core/errors.ts';
import { validate } from '#core/validate.ts';
import { showBytes } from '#pool/capacity.ts';
import { LEAST_MEMORY_BYTES } from '#xcache/memory.ts';
import { CacheSpec } from '#xcache/schema.ts';

/** Pure: specifications of caches, made and checked. */

const GIB = 2 ** 30;
const LEAST_DISK_BYTES = 256 * 2 ** 20;

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

function refuseContradictions({ shards, replicas, minReplicas, autoscale }: NewCache, mode: CacheSpec['mode']): void {
  if (mode !== 'cluster' && shards !== undefined && shards !== 1)
    throw new AppError('usage', `a ${mode} cache has one master, not ${shards} shards`, {
      hint: `add --mode cluster, or leave --shards away`,
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
  const twice = spec.publish.find(({ hostPort }, index) => spec.publish.findIndex((other) => other.hostPort === hostPort) !== index);
  if (twice !== undefined) throw new AppError('port_taken', `${spec.name} publishes host port ${twice.hostPort} twice`);
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

export function memberId(cache: string, number: number): string {
  return `${cache}-${number}`;
}

/** The user's account has the cache's name, a letter first. */
function userOf(name: string): string {
  return /^[a-z]/.test(name) ? name : `c_${name}`;
}
