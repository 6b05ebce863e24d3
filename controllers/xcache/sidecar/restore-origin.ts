import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { backupKeys, type Place } from '#backup/place.ts';
import { type BackupStore, under } from '#backup/stores/store.ts';
import { unionStore } from '#backup/stores/union.ts';
import { openStore } from '#backup/stores/url.ts';
import { parseRecord } from '#core/consul/records.ts';
import { AppError, messageOf, toAppError } from '#core/errors.ts';
import { readIfThere, writeFileAtomic } from '#core/files.ts';
import { ABOVE, objectsOf, readMarker, refuseUnfitBackup, shardObject } from '#xcache/backup/catalog.ts';
import { fetchSnapshot } from '#xcache/backup/fetch.ts';
import type { BackupShard } from '#xcache/backup/schema.ts';
import { nodesFile } from '#xcache/cluster/nodes-file.ts';
import { NODES_FILE } from '#xcache/engine/cluster-settings.ts';
import { dataBytes } from '#xcache/memory.ts';
import { CacheMemberStatus, type CacheSpec } from '#xcache/schema.ts';
import { cacheKeys } from '#xcache/store.ts';
import type { Common } from './common.ts';
import { CLUSTER_PORTS, XCACHE_PORTS } from './config.ts';
import { SNAPSHOT } from './disk-form.ts';
import { volumeOf } from './volume-peer.ts';

export interface OriginRestorer {
  /**
   * Fetches what the cache begins with, in the background.
   *
   * @param shard of a cluster: the one that this member is to lead
   * @returns undefined when this member's folder holds it; else what is done about it, or why it cannot be
   */
  hold(spec: CacheSpec, shard?: number): { sentence: string; failed: boolean } | undefined;
  stop(): Promise<void>;
}

type Origin = NonNullable<CacheSpec['origin']>;

/** A restore that failed is not tried again before so long, in milliseconds: it reads everything anew. */
const AGAIN_MS = 15_000;

export function createOriginRestorer({ deps, consul, credentials, dirty, address }: Common): OriginRestorer {
  const { paths } = deps.config;
  const { log } = deps;
  const done = join(paths.state, 'restored');
  const stopping = new AbortController();
  let here: string | undefined;
  let running: Promise<void> | undefined;
  let failed: { at: number; error: AppError } | undefined;

  async function restore(spec: CacheSpec, origin: Origin, shard: number | undefined): Promise<void> {
    here = await readIfThere(done);
    if (here === origin.backup) return;
    const secrets = credentials.current()?.origin;
    const keys = backupKeys(secrets);
    const place: Pick<Place, 'store' | 'keyOf'> = {
      store: await storeOf(origin),
      keyOf: (id) => keys.find((key) => key.id === id),
    };
    const marker = await readMarker(place.store, origin.backup);
    const { cluster } = marker;
    const part = cluster?.parts.find((each) => each.shard === shard);
    refuseUnfitBackup(
      { ...marker, usedBytes: part?.usedBytes ?? marker.usedBytes, shards: cluster?.shards },
      { ...spec, room: dataBytes(spec) },
    );
    const wanted = cluster === undefined ? objectsOf(marker) : part === undefined ? [] : [shardObject(marker.id, part)];
    const path = join(paths.data, SNAPSHOT);
    let count = 0;
    for (const object of wanted) count += await fetchSnapshot({ place, object, engine: spec.engine, path, signal: stopping.signal });
    // One that owned no slots begins as any new master.
    if (cluster !== undefined && part !== undefined) await writeNodes(spec, cluster.parts, part.shard);
    await writeFileAtomic(done, origin.backup);
    here = origin.backup;
    log.info({ from: origin.from, backup: origin.backup, keys: count }, 'the data were restored');
  }

  /** It begins with the slots that its shard had. */
  async function writeNodes(spec: CacheSpec, shards: readonly BackupShard[], own: number): Promise<void> {
    const { engine: port, bus: busPort } = CLUSTER_PORTS;
    const seed = `${spec.name} ${spec.created}`;
    await writeFileAtomic(join(paths.data, NODES_FILE), nodesFile({ shards, own, seed, address: address(), port, busPort }));
  }

  async function storeOf({ from, store, history }: Origin): Promise<BackupStore> {
    const secrets = credentials.current()?.origin;
    if (store !== 'volume')
      return under(
        openStore(store, { volume: '', ...(secrets?.store ? { credentials: secrets.store } : {}) }),
        `${ABOVE}${from}/${history}`,
      );
    const entries = await consul.kv.list(cacheKeys(from).membersPrefix);
    const members = entries
      .filter(({ session, value }) => session !== undefined && value !== '')
      .map((entry) => parseRecord(CacheMemberStatus, entry));
    const ca = await readFile(paths.tls.ca, 'utf8');
    const stores = members.map(({ member, address }) =>
      volumeOf({ ...{ member, address, port: XCACHE_PORTS.peer, cache: from }, secret: secrets?.peerSecret ?? '', ca }),
    );
    const [first, ...others] = stores;
    if (first === undefined) throw new AppError('unavailable', `no member of ${from} runs: its backups are on their volumes`);
    return unionStore(
      first,
      () => others,
      (missing, error) => log.warn({ store: missing.name, err: messageOf(error) }, 'a volume cannot be read'),
    );
  }

  return {
    hold(spec, shard) {
      const { origin, name } = spec;
      if (origin === undefined || here === origin.backup) return undefined;
      if (running === undefined && (failed === undefined || performance.now() - failed.at > AGAIN_MS)) {
        running = restore(spec, origin, shard)
          .then(() => {
            failed = undefined;
          })
          .catch((thrown: unknown) => {
            const error = toAppError(thrown);
            if (failed?.error.message !== error.message) log.error({ err: error.message }, 'the data cannot be restored');
            failed = { at: performance.now(), error };
          })
          .finally(() => {
            running = undefined;
            dirty();
          });
      }
      if (failed !== undefined) return { sentence: `${name} cannot be restored: ${failed.error.message}`, failed: true };
      return { sentence: `${name} is being restored from the backup ${origin.backup} of ${origin.from}`, failed: false };
    },
    async stop() {
      stopping.abort();
      await running;
    },
  };
}
