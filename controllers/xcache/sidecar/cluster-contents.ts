import { AppError } from '#core/errors.ts';
import { sleep } from '#core/sleep.ts';
import type { Part } from '#xcache/backup/contents.ts';
import type { WorkDeps } from '#xcache/backup/work.ts';
import { type OwnedShard, ownedShards, slotsText } from '#xcache/cluster/owned-shards.ts';
import type { SeenMember } from '#xcache/cluster/world.ts';
import { openSnapshot } from '#xcache/engine/snapshot.ts';
import { lookAtCluster } from './cluster-look.ts';
import { type ClusterPeers, createClusterPeers } from './cluster-peers.ts';
import type { Common } from './common.ts';
import { CLUSTER_PORTS } from './config.ts';
import { engineAccess } from './engine-access.ts';
import type { RecordsView } from './records.ts';

/** Whoever moves slots has read by then that a backup is being made, and begins no other move, in milliseconds. */
const HEARD_MS = 1500;
/** What was on its way then has come to its end. */
const STILL_MS = 600_000;
const LOOK_MS = 500;
/** A replica that has not what its master had by then is not asked. */
const CATCH_UP_MS = 10_000;

/**
 * A backup of a cluster: the data of one engine of each shard, one after another, fetched by this member. No slots move meanwhile (the record of the backup says so to whoever moves them);
 * that none did is seen at the end.
 */
export function clusterContents(common: Common, view: () => RecordsView | undefined): WorkDeps['contents'] {
  const at = (address: string) => ({ host: address, port: CLUSTER_PORTS.engine });

  async function withPeers<T>(act: (peers: ClusterPeers) => Promise<T>): Promise<T> {
    const peers = createClusterPeers((address) => common.connect(at(address)));
    try {
      return await act(peers);
    } finally {
      peers.close();
    }
  }

  /** Whose each slot is, once that can be said. @throws AppError `conflict` when it cannot for long */
  async function settled(peers: ClusterPeers, progress: (sentence: string) => void, signal: AbortSignal): Promise<OwnedShard[]> {
    const until = performance.now() + STILL_MS;
    for (;;) {
      signal.throwIfAborted();
      const records = view();
      const look = records === undefined ? undefined : await lookAtCluster(peers, records.statuses);
      const owned =
        records === undefined || look === undefined
          ? 'the records are not known'
          : ownedShards({ members: records.spec.value.members, seen: look.seen, moving: look.moving });
      if (typeof owned !== 'string') return owned;
      if (performance.now() > until) throw new AppError('conflict', `no backup could be begun: ${owned}`);
      progress(`it waits: ${owned}`);
      await sleep(LOOK_MS, signal);
    }
  }

  /** A replica that has everything that its master has acknowledged by now; the master where there is none. */
  async function sourceOf(peers: ClusterPeers, { master, replicas }: OwnedShard, signal: AbortSignal) {
    const factsOf = async ({ id, address }: SeenMember) => (await peers.session(id, address)).facts();
    const { offset, usedBytes } = await factsOf(master);
    for (const until = performance.now() + CATCH_UP_MS; replicas.length > 0 && performance.now() < until; await sleep(100, signal)) {
      for (const replica of replicas) {
        const facts = await factsOf(replica).catch(() => undefined);
        if (facts?.linkUp === true && !facts.loading && facts.offset >= offset) return { source: replica, usedBytes };
      }
      signal.throwIfAborted();
    }
    return { source: master, usedBytes };
  }

  return async ({ progress, signal }) => {
    await sleep(HEARD_MS, signal);
    const first = await withPeers((peers) => settled(peers, progress, signal));
    const changed = () => new AppError('conflict', 'slots have moved while the backup was made', { hint: 'ask for another one' });
    const parts = first.map(
      ({ shard, slots }): Part => ({
        shard: { shard, slots },
        async open() {
          const { source, usedBytes } = await withPeers(async (peers) => {
            const now = (await settled(peers, progress, signal)).find((each) => each.shard === shard);
            if (now === undefined || slotsText([now]) !== slotsText([{ shard, slots }])) throw changed();
            return sourceOf(peers, now, signal);
          });
          return {
            content: await openSnapshot({ ...(await engineAccess(common, at(source.address))), signal }),
            ...{ member: source.id, usedBytes },
          };
        },
      }),
    );
    return {
      parts,
      shards: Math.max(...(view()?.spec.value.members ?? []).map(({ shard }) => shard), ...first.map(({ shard }) => shard)) + 1,
      async check() {
        if (slotsText(await withPeers((peers) => settled(peers, progress, signal))) !== slotsText(first)) throw changed();
      },
    };
  };
}
