import { accountOf, historyOf, VOLUME } from '#backup/place.ts';
import { AppError } from '#core/errors.ts';
import { serviceName } from '#core/names.ts';
import { validate } from '#core/validate.ts';
import { hostLabels } from '#pool/host.ts';
import { keptSentence } from '#pool/service-destroyed.ts';
import { refuseUnfitBackup } from '#xcache/backup/catalog.ts';
import { cacheVault } from '#xcache/credentials.ts';
import { dataBytes } from '#xcache/memory.ts';
import { expectBackup, newestBackup } from '#xcache/operations/backups.ts';
import { type CreateCacheRequest, createCache } from '#xcache/operations/create.ts';
import type { CacheDeps } from '#xcache/operations/deps.ts';
import { readOptions } from '#xcache/options.ts';
import { peerSecretOf } from '#xcache/peer-secret.ts';
import type { CacheSpec } from '#xcache/schema.ts';
import { cacheKeys } from '#xcache/store.ts';

export interface RestoreCacheRequest extends CreateCacheRequest {
  /** The cache whose backup is meant. */
  from: string;
  /** The newest one when not given. */
  backup?: string | undefined;
}

/**
 * Makes a new cache from a backup of another one; of a cluster, a cluster of as many shards with the same slots. Sizes, settings, network, users and passwords are those of the other one unless others are asked for; where its backups go is not.
 *
 * @throws AppError `conflict` when the name is taken; `invalid` for another engine's, or more than there is room for; all of {@link createCache}
 */
export async function restoreCache(deps: CacheDeps, request: RestoreCacheRequest): Promise<{ name: string; sentence: string }> {
  const name = validate(serviceName, request.name, `the name ${JSON.stringify(request.name.slice(0, 60))}`);
  const present = await deps.store.specs.get(cacheKeys(name).spec, { consistent: true });
  if (present !== undefined) return again(present.value, request);
  const { value: from } = await deps.store.spec(request.from);
  const record = request.backup === undefined ? await newestBackup(deps, from.name) : await expectBackup(deps, from.name, request.backup);
  const { id, engine, engineVersion, usedBytes, shards, shardBytes, store, state } = record;
  if (state !== 'done' || engine === undefined || record.deleting !== undefined)
    throw new AppError('conflict', `the backup ${id} of ${from.name} is not complete`, { hint: `cache backup list ${from.name}` });
  const asked = await sized(deps, from, { ...request, shards: request.shards ?? shards });
  const options = readOptions(asked.options ?? {}, await deps.hosts());
  const spec = { memoryBytes: asked.memoryBytes ?? from.memoryBytes, persistence: options.persistence ?? from.persistence };
  refuseUnfitBackup(
    { id, engine, engineVersion: engineVersion ?? '', usedBytes: shardBytes ?? usedBytes ?? 0, shards },
    { name, engine: options.engine ?? from.engine, mode: asked.mode ?? from.mode, shards: request.shards, room: dataBytes(spec) },
  );
  refuseOutOfReach(from, request, store);
  const secrets = await cacheVault.read(deps, from.name);
  const account = accountOf(from, secrets, store);
  await createCache(deps, asked, {
    ...{ origin: { from: from.name, backup: id, store, history: record.history ?? historyOf(from) }, user: from.user },
    secrets: {
      users: secrets.users,
      ...(secrets.access === undefined ? {} : { access: secrets.access }),
      // What its first member needs to read the backup, and no more.
      origin: {
        backupKeys: secrets.backupKeys ?? [],
        ...(store === VOLUME ? { peerSecret: peerSecretOf(secrets) } : {}),
        ...(account === undefined ? {} : { store: account }),
      },
    },
  });
  const sentence = `${name} is restored from the backup ${id} of ${from.name}`;
  await deps.events.record({ object: `cache/${name}`, kind: 'info', reason: 'restore', sentence });
  return { name, sentence };
}

/** The same request again finds what it has made. */
function again(present: CacheSpec, { name, from, backup }: RestoreCacheRequest): { name: string; sentence: string } {
  const { origin, destroyed } = present;
  if (destroyed !== undefined)
    throw new AppError('conflict', keptSentence(present), { hint: `cache destroy ${name} --purge lets its data go` });
  if (origin?.from !== from || (backup !== undefined && backup !== origin.backup))
    throw new AppError(
      'conflict',
      `there is a cache ${name}: ${origin === undefined ? 'it is no restored one' : `it was restored from ${origin.from}`}`,
      {
        hint: 'restore to another name: nothing is ever restored over a cache',
      },
    );
  return { name, sentence: `${name} is restored from the backup ${origin.backup} of ${from}` };
}

/** @throws AppError when members of the new one could not reach the backup */
function refuseOutOfReach(from: CacheSpec, { network }: RestoreCacheRequest, store: string): void {
  if (store !== VOLUME) return;
  if (from.destroyed !== undefined)
    throw new AppError('conflict', `the backups of ${from.name} lie on the volumes of its members, which do not run: it was destroyed`, {
      hint: `cache undestroy ${from.name}`,
    });
  if (network !== undefined && network !== from.network)
    throw new AppError(
      'invalid',
      `the backups of ${from.name} lie on the volumes of its members, which are on the network ${from.network}`,
      {
        hint: 'leave --network away',
      },
    );
}

/** As large as the other one, and set as it, where nothing else is asked for; host ports are not: the other one has them. */
async function sized(deps: CacheDeps, from: CacheSpec, request: RestoreCacheRequest): Promise<CreateCacheRequest> {
  const hosts = await deps.hosts();
  // What no host is labelled with any more must not stand in the way of a restore.
  const labels = Object.entries(from.labels).filter(([key, value]) => hosts.some((host) => hostLabels(host)[key] === value));
  return {
    ...{ name: request.name, publish: request.publish },
    mode: request.mode ?? from.mode,
    shards: request.shards,
    replicas: request.replicas ?? (request.mode === undefined || request.mode === from.mode ? from.replicas : undefined),
    cpus: request.cpus ?? from.cpus,
    memoryBytes: request.memoryBytes ?? from.memoryBytes,
    diskBytes: request.diskBytes ?? from.diskBytes,
    image: request.image ?? from.image,
    network: request.network ?? from.network,
    options: {
      ...{ engine: from.engine, persistence: from.persistence, 'maxmemory-policy': from.policy, tls: from.tls ? 'on' : 'off' },
      ...Object.fromEntries(labels),
      ...Object.fromEntries(Object.entries(from.parameters).map(([key, value]) => [`param.${key}`, value])),
      ...request.options,
    },
  };
}
