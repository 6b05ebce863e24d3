import { AppError } from '#core/errors.ts';
import { serviceName } from '#core/names.ts';
import { validate } from '#core/validate.ts';
import { DEFAULT_NETWORK, refuseUnfitNetwork } from '#pool/networks.ts';
import { refuseLeftData, refuseNoRoom, writeNew } from '#pool/service-create.ts';
import { keptHint, keptSentence } from '#pool/service-destroyed.ts';
import { memberToPlace } from '#pool/service-spec.ts';
import { refuseTakenName, refuseTakenPorts } from '#pool/services.ts';
import { cacheVault, newCredentials } from '#xcache/credentials.ts';
import type { CacheDeps } from '#xcache/operations/deps.ts';
import { type CacheOptions, readOptions } from '#xcache/options.ts';
import { validateParameters } from '#xcache/parameters.ts';
import { memberIds } from '#xcache/plan/world.ts';
import type { CacheCredentials, CacheMode, CacheSpec } from '#xcache/schema.ts';
import { difference, type NewCache, newBirth, newSpec, parsePublish, refuseUnsafe } from '#xcache/spec.ts';
import { cacheKeys } from '#xcache/store.ts';

export interface CreateCacheRequest {
  name: string;
  mode?: CacheMode | undefined;
  shards?: number | undefined;
  replicas?: number | undefined;
  cpus?: number | undefined;
  memoryBytes?: number | undefined;
  diskBytes?: number | undefined;
  image?: string | undefined;
  /** `--opt`, see options.ts. */
  options?: Record<string, string> | undefined;
  network?: string | undefined;
  publish?: string[] | undefined;
}

/** What a cache begins with that is not empty: a backup of another one. */
export interface Beginning {
  origin: CacheSpec['origin'];
  user?: string | undefined;
  secrets: Partial<CacheCredentials>;
}

/**
 * Writes the records of a new cache; its members are the controller's business. Everything that can be found wrong is found before anything is
 * written. The same request again changes nothing.
 *
 * @throws AppError `invalid`, `usage`; `conflict` showing the difference when the name is taken; `no_host` naming the demand that leaves none;
 * `not_found` for an image or network; `port_taken`
 */
export async function createCache(deps: CacheDeps, request: CreateCacheRequest, given?: Beginning): Promise<CacheSpec> {
  const { store, now } = deps;
  const shown = JSON.stringify(request.name.slice(0, 60));
  const name = validate(serviceName, request.name, `the name ${shown}`, 'choose a name such as acache or sessions-1');
  const hosts = await deps.hosts();
  const options = readOptions(request.options ?? {}, hosts);
  const fields = fieldsOf(name, request, options);
  const draft = newSpec(fields);
  draft.parameters = validateParameters(options.parameters, draft);
  const present = await store.specs.get(cacheKeys(name).spec, { consistent: true });
  if (present !== undefined) return existing(present.value, draft, request, options);

  const services = await deps.services();
  refuseTakenName({ kind: 'cache', name }, services);
  refuseTakenPorts({ kind: 'cache', name, hostPorts: draft.publish.map(({ hostPort }) => hostPort) }, services);
  const { id: imageId } = await deps.image(request.image);
  const made = newSpec({ ...fields, parameters: draft.parameters, origin: given?.origin, imageId, created: now().toISOString() });
  const spec: CacheSpec = { ...made, user: given?.user ?? made.user };
  await refuseUnfitNetwork(deps, spec.network);
  await refuseNoRoom(
    deps,
    memberIds(spec).map((id) => memberToPlace(spec, id)),
  );
  refuseUnsafe(spec, new Set(hosts.filter((host) => host.alive && !host.spec.drained).map((host) => host.spec.group)).size);
  await refuseLeftData(deps, name);
  const keys = cacheKeys(name);
  const isNew = await writeNew(store.consul, {
    [keys.spec]: spec,
    [keys.birth]: newBirth(spec),
    [keys.credentials]: cacheVault.seal(deps.poolKey, name, { ...newCredentials(spec), ...given?.secrets }, 1),
  });
  if (!isNew) return existing((await store.spec(name)).value, draft, request, options);
  await deps.events.record({ object: `cache/${name}`, kind: 'info', reason: 'created', sentence: `${name} is to be made` });
  deps.markDirty(name);
  return spec;
}

function fieldsOf(name: string, request: CreateCacheRequest, options: CacheOptions): NewCache {
  const { mode, shards, replicas, cpus, memoryBytes, diskBytes, image } = request;
  const given: Partial<NewCache> = {
    ...{ mode, shards, replicas, cpus, memoryBytes, diskBytes, image },
    ...{
      engine: options.engine,
      persistence: options.persistence,
      policy: options.policy,
      minReplicas: options.minReplicas,
      tls: options.tls,
    },
    ...{ publish: request.publish?.map(parsePublish), labels: options.labels, replaceAfterSeconds: options.replaceAfter },
    autoscale: options.autoscale === true ? { on: true, maxShards: options.maxShards ?? 0 } : undefined,
  };
  return { name, network: request.network ?? DEFAULT_NETWORK, ...given };
}

function existing(present: CacheSpec, asked: CacheSpec, request: CreateCacheRequest, options: CacheOptions): CacheSpec {
  const { name } = present;
  if (present.destroyed !== undefined) throw new AppError('conflict', keptSentence(present), { hint: keptHint('cache', present) });
  // What was not asked for is as it is.
  const compare: CacheSpec = {
    ...asked,
    mode: request.mode ?? present.mode,
    engine: options.engine ?? present.engine,
    shards: request.shards ?? present.shards,
    replicas: request.replicas ?? present.replicas,
    minReplicas: options.minReplicas ?? present.minReplicas,
    persistence: options.persistence ?? present.persistence,
    policy: options.policy ?? present.policy,
    tls: options.tls ?? present.tls,
    autoscale: options.autoscale === undefined ? present.autoscale : asked.autoscale,
    cpus: request.cpus ?? present.cpus,
    memoryBytes: request.memoryBytes ?? present.memoryBytes,
    diskBytes: request.diskBytes ?? present.diskBytes,
    image: request.image ?? present.image,
    network: request.network ?? present.network,
    publish: request.publish === undefined || request.publish.length === 0 ? present.publish : asked.publish,
    labels: Object.keys(options.labels).length === 0 ? present.labels : asked.labels,
    parameters: Object.keys(options.parameters).length === 0 ? present.parameters : asked.parameters,
    replaceAfterSeconds: options.replaceAfter ?? present.replaceAfterSeconds,
  };
  const rows = difference(present, compare);
  if (rows.length === 0) return present;
  const fixed = rows.some((row) => /^(mode|engine|tls|network|publish):/.test(row));
  throw new AppError('conflict', `${name} exists with another specification: ${rows.join('; ')}`, {
    hint: fixed
      ? 'that is fixed at creation: choose another name'
      : 'cache scale, cache set and cache param set change it; or choose another name',
  });
}
