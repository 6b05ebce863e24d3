import { AppError } from '#core/errors.ts';
import { showBytes } from '#pool/capacity.ts';
import { listPlacements } from '#pool/placement-record.ts';
import { resized } from '#pool/placements.ts';
import { pauseUntil } from '#pool/service-changes.ts';
import { refuseNoRoom } from '#pool/service-create.ts';
import { expectMember, hostOfMember } from '#pool/service-living.ts';
import { memberToPlace } from '#pool/service-spec.ts';
import { dataBytes } from '#xcache/memory.ts';
import type { CacheRecords } from '#xcache/observe.ts';
import type { CacheDeps } from '#xcache/operations/deps.ts';
import { changeCache, livingRecords } from '#xcache/operations/living.ts';
import { readOptions } from '#xcache/options.ts';
import { STOP_SECONDS } from '#xcache/plan/member-spec.ts';
import { memberIds } from '#xcache/plan/world.ts';
import type { CacheSpec } from '#xcache/schema.ts';
import { refuseScale, refuseUnfit, refuseUnsafe, withShards } from '#xcache/spec.ts';

/** Restarts one member at once, or all, one after another: replicas first, and the master when it has handed over. */
export async function restartCache(
  deps: CacheDeps,
  name: string,
  { member, force }: { member: string | undefined; force: boolean },
): Promise<{ sentence: string }> {
  const records = await livingRecords(deps, name);
  const { value: spec } = records.spec;
  if (!force) refuseForgetting(spec, 'a restart');
  if (member === undefined) {
    const sentence = `the members of ${name} are restarted, one after another`;
    await changeCache(deps, name, { reason: 'restart', sentence }, (present) => ({ ...present, restartSerial: present.restartSerial + 1 }));
    return { sentence };
  }
  expectMember(spec, member);
  const host = await hostOfMember(deps, records, member);
  const sentence = `${member} is restarted`;
  await deps.events.record({ object: `cache/${name}`, kind: 'info', reason: 'restart', sentence });
  // It hands over before it ends; the controller starts what has ended.
  await deps.agent(host).stop(member, STOP_SECONDS, { timeoutMs: (STOP_SECONDS + 15) * 1000 });
  deps.markDirty(name);
  return { sentence };
}

/**
 * One member that keeps nothing on disk has nothing when it is back. In a cluster each member is followed by another, but a shard was once seen to lose its keys when all were
 * made anew one after another.
 *
 * @throws AppError `conflict`
 */
export function refuseForgetting(spec: CacheSpec, what: string, force = 'add --force, or first'): void {
  if (spec.persistence !== 'none') return;
  if (spec.mode === 'cluster')
    throw new AppError('conflict', `${spec.name} is a cluster that keeps nothing on disk: ${what} may lose keys`, {
      hint: `${force} cache set ${spec.name} persistence=aof`,
    });
  if (spec.members.length > 1) return;
  throw new AppError('conflict', `${spec.name} has one member and keeps nothing on disk: ${what} empties it`, {
    hint: `${force} cache set ${spec.name} persistence=rdb`,
  });
}

export interface Scale {
  shards?: number | undefined;
  replicas?: number | undefined;
  cpus?: number | undefined;
  memoryBytes?: number | undefined;
  diskBytes?: number | undefined;
  force?: boolean | undefined;
}

/**
 * Other numbers or sizes. Members of another size are made anew one after another, with the master handing over.
 *
 * @throws AppError `no_host` naming what is missing, `invalid` where the data would not fit; then nothing is changed
 */
export async function scaleCache(deps: CacheDeps, name: string, asked: Scale): Promise<CacheSpec> {
  const records = await livingRecords(deps, name);
  const { value: present } = records.spec;
  const next = scaled(present, asked);
  const words = wordsOf(present, next);
  if (words.length === 0) {
    if (Object.values(asked).every((value) => value === undefined || value === false))
      throw new AppError('usage', 'nothing is to be changed', { hint: 'give --replicas, --memory, --shards, --cpu or --disk' });
    return present;
  }
  refuseScale(present, { ...(asked.shards === undefined ? {} : { shards: asked.shards }), memoryBytes: next.memoryBytes }, dataOf(records));
  refuseUnfit(next);
  const hosts = await deps.hosts();
  const groups = new Set(hosts.filter((host) => host.alive && !host.spec.drained).map((host) => host.spec.group)).size;
  if (next.replicas > present.replicas || next.shards !== present.shards) refuseUnsafe(next, groups);
  await refuseNoRoomFor(deps, present, next);
  const isAnew = next.cpus !== present.cpus || next.memoryBytes !== present.memoryBytes;
  if (isAnew && asked.force !== true) refuseForgetting(present, 'another size');
  const sentence = `${name} is to have ${words.join(', ')}`;
  return changeCache(deps, name, { reason: 'scale', sentence }, (spec) => withShards(scaled(spec, asked)));
}

function scaled(spec: CacheSpec, { shards, replicas, cpus, memoryBytes, diskBytes }: Scale): CacheSpec {
  if (replicas !== undefined && spec.mode === 'standalone' && replicas > 0)
    throw new AppError('usage', `${spec.name} is standalone: it has no replicas`, {
      hint: `the mode is fixed: make another one with cache create --mode replicated`,
    });
  if (replicas !== undefined && spec.mode === 'replicated' && replicas < 1)
    throw new AppError('usage', `${spec.name} is replicated: it has at least one replica`, { hint: 'use --replicas 1 or more' });
  if (replicas !== undefined && replicas > 5)
    throw new AppError('invalid', 'a master has at most 5 replicas', { hint: 'use --replicas 5' });
  const next = {
    ...spec,
    shards: shards ?? spec.shards,
    replicas: replicas ?? spec.replicas,
    cpus: cpus ?? spec.cpus,
    memoryBytes: memoryBytes ?? spec.memoryBytes,
    diskBytes: diskBytes ?? spec.diskBytes,
  };
  return { ...next, minReplicas: Math.min(spec.minReplicas, next.replicas) };
}

function wordsOf(present: CacheSpec, next: CacheSpec): string[] {
  return [
    ...(next.shards === present.shards ? [] : [`${next.shards} shards`]),
    ...(next.replicas === present.replicas ? [] : [`${next.replicas} ${next.replicas === 1 ? 'replica' : 'replicas'}`]),
    ...(next.cpus === present.cpus ? [] : [`${next.cpus} CPUs a member`]),
    ...(next.memoryBytes === present.memoryBytes ? [] : [`${showBytes(next.memoryBytes)} of memory a member`]),
    ...(next.diskBytes === present.diskBytes ? [] : [`${showBytes(next.diskBytes)} of disk a member`]),
  ];
}

/** Of all masters together. */
function dataOf({ sidecars, spec }: CacheRecords) {
  const masters = sidecars.filter(({ role }) => role === 'master');
  const { persistence } = spec.value;
  return {
    usedBytes: masters.reduce((sum, { usedBytes }) => sum + (usedBytes ?? 0), 0),
    dataBytes: (memoryBytes: number) => dataBytes({ memoryBytes, persistence }),
  };
}

async function refuseNoRoomFor(deps: CacheDeps, present: CacheSpec, next: CacheSpec): Promise<void> {
  const [hosts, existing] = await Promise.all([deps.hosts(), listPlacements(deps.store.consul)]);
  for (const placement of existing.filter((each) => memberIds(present).includes(each.member))) resized(hosts, existing, placement, next);
  const more = next.shards * (1 + next.replicas) - present.members.length;
  const ids = Array.from({ length: Math.max(0, more) }, (_, index) => `${next.name}-${next.lastMember + 1 + index}`);
  if (ids.length > 0)
    await refuseNoRoom(
      deps,
      ids.map((id) => memberToPlace(next, id)),
    );
}

/**
 * `cache set`: what creation sets by `--opt` and may change later. In force at once, without a restart; what is kept on disk is changed within moments.
 *
 * @throws AppError `usage`, `invalid` for what is fixed or cannot be; nothing is changed then
 */
export async function setOptions(deps: CacheDeps, name: string, given: Readonly<Record<string, string>>): Promise<{ sentence: string }> {
  const { spec } = await livingRecords(deps, name);
  if (Object.keys(given).length === 0)
    throw new AppError('usage', 'nothing is to be set', { hint: `e.g. cache set ${name} maxmemory-policy=allkeys-lfu` });
  const fixed = Object.keys(given).find(
    (key) => !['persistence', 'maxmemory-policy', 'min-replicas', 'replace-after', 'autoscale', 'max-shards'].includes(key),
  );
  if (fixed !== undefined)
    throw new AppError('usage', `${fixed} cannot be set on a cache that exists`, {
      hint: 'persistence, maxmemory-policy, min-replicas, replace-after, autoscale and max-shards can; settings of the engine: cache param set',
    });
  const isMore = given['max-shards'] !== undefined && given.autoscale === undefined;
  const options = readOptions({ ...given, ...(isMore ? { autoscale: 'on' } : {}) }, []);
  const apply = (present: CacheSpec): CacheSpec => {
    const { replicas } = present;
    if (options.minReplicas !== undefined && options.minReplicas > replicas)
      throw new AppError(
        'invalid',
        `min-replicas=${options.minReplicas} can never be met by ${replicas} ${replicas === 1 ? 'replica' : 'replicas'}`,
        {
          hint: `use min-replicas=${replicas} or less, or cache scale ${name} --replicas ${options.minReplicas} first`,
        },
      );
    if (options.autoscale === true && present.mode !== 'cluster')
      throw new AppError('usage', `${name} is ${present.mode}: it cannot grow by shards`, {
        hint: 'a cluster is another cache: cache create --mode cluster',
      });
    const persistence = options.persistence ?? present.persistence;
    return {
      ...present,
      persistence,
      policy: options.policy ?? present.policy,
      minReplicas: options.minReplicas ?? present.minReplicas,
      replaceAfterSeconds: options.replaceAfter ?? present.replaceAfterSeconds,
      ...(options.autoscale === undefined
        ? {}
        : { autoscale: { on: options.autoscale, maxShards: options.maxShards ?? present.autoscale?.maxShards ?? present.shards } }),
    };
  };
  refuseUnfit(apply(spec.value));
  const words = Object.entries(given).map(([key, value]) => `${key}=${value}`);
  await changeCache(deps, name, { reason: 'set', sentence: `${words.join(', ')} for ${name}` }, apply);
  return { sentence: `${words.join(', ')}: set` };
}

/** Failover and maintenance rest for a while. */
export async function pauseCache(deps: CacheDeps, name: string, seconds: number): Promise<{ pausedUntil: string; sentence: string }> {
  const pausedUntil = pauseUntil(deps.now(), seconds);
  const sentence = `failover and maintenance of ${name} rest until ${pausedUntil}`;
  await changeCache(deps, name, { reason: 'pause', sentence }, (spec) => ({ ...spec, pausedUntil }));
  return { pausedUntil, sentence };
}

export async function resumeCache(deps: CacheDeps, name: string): Promise<{ sentence: string }> {
  const sentence = `failover and maintenance of ${name} go on`;
  await changeCache(deps, name, { reason: 'resume', sentence }, ({ pausedUntil: _, ...spec }) => spec);
  return { sentence };
}
