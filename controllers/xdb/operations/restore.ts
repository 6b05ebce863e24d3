import { accountOf, VOLUME } from '#backup/place.ts';
import { AppError } from '#core/errors.ts';
import { serviceName } from '#core/names.ts';
import { validate } from '#core/validate.ts';
import { hostLabels } from '#pool/host.ts';
import { keptSentence } from '#pool/service-destroyed.ts';
import { RestoreWish } from '#xdb/backup/schema.ts';
import { type BackupSource, choose, isLiving, sourceOf } from '#xdb/operations/backup-source.ts';
import { type CreateDbRequest, createDb } from '#xdb/operations/create.ts';
import type { DbDeps } from '#xdb/operations/deps.ts';
import { peerSecretOf } from '#xdb/peer-secret.ts';
import type { Credentials, DbSpec } from '#xdb/schema.ts';
import { dbKeys } from '#xdb/store.ts';

export interface RestoreDbRequest extends CreateDbRequest {
  /** The database whose backups are meant: `adb`, or `adb@HISTORY` for one that is gone. */
  from: string;
  backup?: string | undefined;
  /** What was committed before it, and nothing else. RFC 3339. */
  at?: string | undefined;
}

export interface RestoreAnswer {
  name: string;
  sentence: string;
  /** Something to know of what is restored. */
  warning?: string | undefined;
}

/**
 * Makes a new database from a backup of another one: as it was at a moment, at a backup, or, when nothing is said, as far as the archive goes. Sizes, parameters,
 * network, users and passwords are those of the other one unless others are asked for; where its backups go is not.
 *
 * @throws AppError `conflict` when the name is taken; `invalid` outside of what can be restored, naming it; all of {@link createDb}
 */
export async function restoreDb(deps: DbDeps, request: RestoreDbRequest): Promise<RestoreAnswer> {
  const name = validate(serviceName, request.name, `the name ${JSON.stringify(request.name.slice(0, 60))}`);
  const { backup, at } = request;
  const wish = validate(RestoreWish, { ...(backup ? { backup } : {}), ...(at ? { at } : {}) }, 'what is to be restored');
  const present = await deps.store.specs.get(dbKeys(name).spec, { consistent: true });
  if (present !== undefined) return again(present.value, request);
  const source = await sourceOf(deps, request.from);
  const choice = await choose(deps, source, wish);
  refuseUnfit(source, request, choice.store);
  const credentials = await source.credentials();
  const { spec } = source;
  const origin = {
    ...{ from: source.name, backup: choice.backup, gtid: choice.gtid, store: choice.store, history: choice.history },
    ...(wish.at === undefined ? {} : { at: wish.at }),
  };
  await createDb(deps, await sized(deps, spec, request), {
    ...{ origin, database: spec.database, user: spec.user },
    secrets: { users: credentials.users, origin: secretsOf(source, credentials, choice.store) },
  });
  const as =
    wish.at === undefined
      ? wish.backup === undefined
        ? 'as far as its archive goes'
        : `as of the backup ${wish.backup}`
      : `as of ${wish.at}`;
  const sentence = `${name} is restored from ${source.name} ${as}`;
  await deps.events.record({
    object: `db/${name}`,
    kind: 'info',
    reason: 'restore',
    sentence: `${sentence} (${choice.backup}, up to ${choice.gtid})`,
  });
  return { name, sentence, warning: choice.warning };
}

/** The same request again finds what it has made. */
function again(present: DbSpec, { name, from, backup, at }: RestoreDbRequest): RestoreAnswer {
  const { origin, destroyed } = present;
  if (destroyed !== undefined)
    throw new AppError('conflict', keptSentence(present), { hint: `db destroy ${name} --purge lets its data go` });
  const isSame = origin?.from === from.split('@')[0] && origin?.at === at && (backup === undefined || backup === origin?.backup);
  const what =
    origin === undefined
      ? 'it is no restored one'
      : `it was restored from ${origin.from}${origin.at === undefined ? '' : ` as of ${origin.at}`}`;
  if (!isSame)
    throw new AppError('conflict', `there is a database ${name}: ${what}`, {
      hint: 'restore to another name: nothing is ever restored over a database',
    });
  return { name, sentence: `${name} is restored from ${origin?.from}` };
}

/** @throws AppError when the data would not fit, or members of the new one could not reach them */
function refuseUnfit({ spec, name }: BackupSource, { diskBytes, network }: RestoreDbRequest, store: string): void {
  if (diskBytes !== undefined && diskBytes < spec.diskBytes) {
    throw new AppError('invalid', `the disk would be smaller than that of ${name}`, { hint: 'leave --disk away, or give more' });
  }
  if (store === VOLUME && network !== undefined && network !== spec.network) {
    throw new AppError('invalid', `the backups of ${name} lie on the volumes of its members, which are on the network ${spec.network}`, {
      hint: 'leave --network away',
    });
  }
}

/** As large as the other one, where nothing else is asked for; host ports are not: the other one has them. */
async function sized(deps: DbDeps, spec: DbSpec, request: RestoreDbRequest): Promise<CreateDbRequest> {
  const { name, cpus, memoryBytes, diskBytes, image, options = {}, network, publish } = request;
  const hosts = await deps.hosts();
  // What no host is labelled with any more must not stand in the way of a restore.
  const labels = Object.entries(spec.labels).filter(([key, value]) => hosts.some((host) => hostLabels(host)[key] === value));
  return {
    ...{ name, publish },
    cpus: cpus ?? spec.cpus,
    memoryBytes: memoryBytes ?? spec.memoryBytes,
    diskBytes: diskBytes ?? spec.diskBytes,
    image: image ?? spec.image,
    network: network ?? spec.network,
    options: {
      role: spec.role === 'single' ? 'single' : 'pair',
      flavor: spec.flavor,
      ...Object.fromEntries(labels),
      ...Object.fromEntries(Object.entries(spec.parameters).map(([key, value]) => [`param.${key}`, value])),
      ...options,
    },
  };
}

/** What its first member needs to read the backup, and no more. */
function secretsOf(source: BackupSource, credentials: Credentials, store: string): Credentials['origin'] {
  const account = accountOf(source.spec, credentials, store);
  return {
    backupKeys: credentials.backupKeys ?? [],
    ...(store === VOLUME && isLiving(source) ? { peerSecret: peerSecretOf(credentials) } : {}),
    ...(account === undefined ? {} : { store: account }),
  };
}
