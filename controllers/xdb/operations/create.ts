import { AppError } from '#core/errors.ts';
import { serviceName } from '#core/names.ts';
import { validate } from '#core/validate.ts';
import { DEFAULT_NETWORK, refuseUnfitNetwork } from '#pool/networks.ts';
import { refuseLeftData, refuseNoRoom, writeNew } from '#pool/service-create.ts';
import { keptHint, keptSentence } from '#pool/service-destroyed.ts';
import { memberToPlace } from '#pool/service-spec.ts';
import { refuseTakenName, refuseTakenPorts } from '#pool/services.ts';
import { newCredentials, sealCredentials } from '#xdb/credentials.ts';
import type { DbDeps } from '#xdb/operations/deps.ts';
import { beginAsSlave, masterOf, upstreamOf } from '#xdb/operations/follow.ts';
import { type DbOptions, readOptions } from '#xdb/options.ts';
import { validateParameters } from '#xdb/parameters.ts';
import type { Credentials, DbSpec } from '#xdb/schema.ts';
import { DEFAULTS, difference, memberIds, newBirth, newSpec, parsePublish } from '#xdb/spec.ts';
import { dbKeys } from '#xdb/store.ts';

export interface CreateDbRequest {
  name: string;
  cpus?: number | undefined;
  memoryBytes?: number | undefined;
  diskBytes?: number | undefined;
  image?: string | undefined;
  /** `--opt`, see options.ts. */
  options?: Record<string, string> | undefined;
  network?: string | undefined;
  publish?: string[] | undefined;
}

/** What a database begins with that is not empty: the data of another one, and what belongs to them. */
export interface Beginning {
  database?: string | undefined;
  user?: string | undefined;
  origin?: DbSpec['origin'];
  upstream?: DbSpec['upstream'];
  secrets: Partial<Pick<Credentials, 'users' | 'origin' | 'upstream'>>;
  /** Done when nothing speaks against it any more, before its records are written. */
  before?(): Promise<void>;
}

/**
 * Writes the records of a new database; its members are the controller's business. Everything that can be found wrong is found before anything is
 * written. The same request again changes nothing.
 *
 * @throws AppError `invalid`, `usage`; `conflict` showing the difference when the name is taken; `no_host` naming the demand that leaves none;
 * `not_found` for an image or network; `port_taken`; `not_implemented`
 */
export async function createDb(deps: DbDeps, request: CreateDbRequest, given?: Beginning): Promise<DbSpec> {
  const { store, now } = deps;
  const shown = JSON.stringify(request.name.slice(0, 60));
  const name = validate(serviceName, request.name, `the name ${shown}`, 'choose a name such as adb or shop-1');
  const hosts = await deps.hosts();
  const options = readOptions(request.options ?? {}, hosts);
  const fields = {
    name,
    role: options.role,
    flavor: options.flavor,
    cpus: request.cpus,
    memoryBytes: request.memoryBytes,
    diskBytes: request.diskBytes,
    image: request.image,
    network: request.network ?? DEFAULT_NETWORK,
    publish: request.publish?.map(parsePublish),
    labels: options.labels,
    parameters: validateParameters(options.parameters, { memoryBytes: request.memoryBytes ?? DEFAULTS.memoryBytes }),
    replaceAfterSeconds: options.replaceAfter,
    ...{ origin: given?.origin, database: given?.database, user: given?.user },
  };
  const draft = newSpec({ ...fields, ...(await upstreamAsked(deps, options)) });
  const present = await store.specs.get(dbKeys(name).spec, { consistent: true });
  if (present !== undefined) return existing(present.value, draft, request, options);

  const network = draft.network;
  const beginning = options.role === 'slave' ? await beginAsSlave(deps, name, network, options) : given;
  const services = await deps.services();
  refuseTakenName({ kind: 'db', name }, services);
  refuseTakenPorts({ kind: 'db', name, hostPorts: draft.publish.map(({ hostPort }) => hostPort) }, services);
  const { id: imageId } = await deps.image(request.image);
  const begins = { upstream: beginning?.upstream, database: beginning?.database, user: beginning?.user };
  const spec = newSpec({ ...fields, ...begins, imageId, created: now().toISOString() });
  await refuseUnfitNetwork(deps, spec.network);
  await refuseNoRoom(
    deps,
    memberIds(spec).map((id) => memberToPlace(spec, id)),
  );
  await refuseLeftData(deps, spec.name);
  await beginning?.before?.();
  if (!(await write(deps, spec, beginning?.secrets))) return existing((await store.spec(name)).value, draft, request, options);
  await deps.events.record({ object: `db/${name}`, kind: 'info', reason: 'created', sentence: `${name} is to be made` });
  deps.markDirty(name);
  return spec;
}

/** Which master a request means; it is not asked anything: of a database that exists it may be gone. */
async function upstreamAsked(deps: DbDeps, options: DbOptions): Promise<Pick<DbSpec, 'upstream'>> {
  if (options.masterUrl === undefined) return {};
  const { url, ours } = await masterOf(deps, options);
  return { upstream: upstreamOf(url, ours) };
}

async function write({ store, poolKey }: DbDeps, spec: DbSpec, secrets: Partial<Credentials> = {}): Promise<boolean> {
  const keys = dbKeys(spec.name);
  return writeNew(store.consul, {
    [keys.spec]: spec,
    [keys.birth]: newBirth(spec),
    [keys.credentials]: sealCredentials(poolKey, spec.name, { ...newCredentials(spec), ...secrets }, 1),
  });
}

function existing(present: DbSpec, asked: DbSpec, request: CreateDbRequest, options: DbOptions): DbSpec {
  const { name } = present;
  if (present.destroyed !== undefined) {
    throw new AppError('conflict', keptSentence(present), {
      hint: keptHint('db', present),
    });
  }
  const given = Object.keys(request.options ?? {});
  const named = (prefix: string) => given.some((key) => key.startsWith(prefix));
  // What was not asked for is as it is.
  const compare: DbSpec = {
    ...asked,
    role: options.role ?? present.role,
    flavor: options.flavor ?? present.flavor,
    cpus: request.cpus ?? present.cpus,
    memoryBytes: request.memoryBytes ?? present.memoryBytes,
    diskBytes: request.diskBytes ?? present.diskBytes,
    image: request.image ?? present.image,
    network: request.network ?? present.network,
    publish: request.publish === undefined || request.publish.length === 0 ? present.publish : asked.publish,
    labels: Object.keys(options.labels).length === 0 ? present.labels : asked.labels,
    parameters: named('param.') ? asked.parameters : present.parameters,
    replaceAfterSeconds: options.replaceAfter ?? present.replaceAfterSeconds,
    upstream: options.masterUrl === undefined ? present.upstream : asked.upstream,
  };
  const rows = difference(present, compare);
  if (rows.length === 0) return present;
  throw new AppError('conflict', `${name} exists with another specification: ${rows.join('; ')}`, {
    hint: `db resize and db param set change it; or choose another name`,
  });
}
