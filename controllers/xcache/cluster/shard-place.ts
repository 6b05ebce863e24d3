import type { CacheSpec } from '#xcache/schema.ts';

/** Where a cluster's member belongs: its shard, and the shards that there are beside it. */
export interface ShardPlace {
  own: number;
  /** With its own. */
  all: readonly number[];
}

/** @returns undefined for members of caches that are no clusters, and for one that the specification does not name any more */
export function shardPlace({ mode, members }: Pick<CacheSpec, 'mode' | 'members'>, member: string): ShardPlace | undefined {
  const own = members.find(({ id }) => id === member)?.shard;
  if (mode !== 'cluster' || own === undefined) return undefined;
  return { own, all: [...new Set(members.map(({ shard }) => shard))].toSorted((a, b) => a - b) };
}
