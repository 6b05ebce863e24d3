import { type ConsulClient, type KvEntry, parseKv } from '#core/consul/client.ts';
import { parseRecord } from '#core/consul/records.ts';
import { AppError } from '#core/errors.ts';
import { parseJson } from '#core/json.ts';
import { BirthRecord } from '#pool/service-schema.ts';
import { CacheBackupRecord } from '#xcache/backup/schema.ts';
import type { Indexed, Records } from '#xcache/protocol/types.ts';
import { CacheMemberStatus, CacheSpec, ClusterRecord, LeadRecord, MoveOrder } from '#xcache/schema.ts';
import { cacheKeys } from '#xcache/store.ts';

/** All records of one cache as one consistent read gave them. */
export interface RecordsView {
  spec: Indexed<CacheSpec>;
  protocol: Omit<Records, 'beatAgeMs'>;
  /** What live sidecars say of their members. */
  statuses: Readonly<Record<string, CacheMemberStatus>>;
  cluster: Indexed<ClusterRecord> | undefined;
  /** Backup that is being made. */
  backup: string | undefined;
  /** Member whose session holds the lock `leader`. */
  holder: string | undefined;
}

/** A read that takes longer is none: decisions rest on what was true a moment ago. Milliseconds. */
const READ_TIMEOUT_MS = 1000;

/** @throws AppError `unavailable`, `timeout`, `forbidden`; `not_found`; `internal` when a record that decisions rest on does not fit its schema */
export async function readRecords(
  consul: Pick<ConsulClient, 'request'>,
  cache: string,
  memoryBytes = Number.POSITIVE_INFINITY,
): Promise<RecordsView> {
  const path = `/v1/kv/${cacheKeys(cache).base}`;
  const answer = await consul.request('GET', path, { query: { recurse: true, consistent: true }, timeoutMs: READ_TIMEOUT_MS });
  if (answer.headers['x-consul-results-filtered-by-acls'] === 'true')
    throw new AppError('forbidden', `the token of this member may not see all records of ${cache}`);
  return viewOf(parseKv(answer, `the records of ${cache}`), cache, Date.now(), memoryBytes);
}

/**
 * Pure part of {@link readRecords}.
 *
 * @param now milliseconds since the epoch: a pause has an end by the clock on the wall
 * @param memoryBytes what this member's container has
 */
export function viewOf(entries: readonly KvEntry[], cache: string, now: number, memoryBytes = Number.POSITIVE_INFINITY): RecordsView {
  const keys = cacheKeys(cache);
  const byKey = new Map(entries.filter(({ value }) => value !== '').map((entry) => [entry.key, entry]));
  const specEntry = byKey.get(keys.spec);
  if (specEntry === undefined) throw new AppError('not_found', `there is no specification of ${cache} in Consul`);
  const asked = parseRecord(CacheSpec, specEntry);
  // More memory is given by the next container, not by this one; less is kept to at once.
  const spec = { value: { ...asked, memoryBytes: Math.min(asked.memoryBytes, memoryBytes) }, index: specEntry.modifyIndex };
  const move = indexed(byKey.get(keys.move), (entry) => parseRecord(MoveOrder, entry));
  const statuses = [...byKey.values()].flatMap((entry) => {
    if (!entry.key.startsWith(keys.membersPrefix) || entry.session === undefined) return [];
    const parsed = parseStatus(entry);
    return parsed === undefined ? [] : [[entry.key.slice(keys.membersPrefix.length), parsed] as const];
  });
  const said = new Map(statuses);
  const lead = indexed(byKey.get(keys.lead), (entry) => parseRecord(LeadRecord, entry));
  return {
    spec,
    statuses: Object.fromEntries(statuses),
    cluster: indexed(byKey.get(keys.cluster), (entry) => parseRecord(ClusterRecord, entry)),
    backup: backupOf(byKey, keys.backupsPrefix),
    holder: byKey.get(keys.leader)?.session === undefined ? undefined : byKey.get(keys.leader)?.value,
    protocol: {
      lead,
      birth: indexed(byKey.get(keys.birth), (entry) => parseRecord(BirthRecord, entry)),
      move: move?.value.state === 'asked' ? move : undefined,
      members: spec.value.members.map(({ id }) => id),
      minReplicas: spec.value.minReplicas,
      present: statuses.map(([id]) => id),
      unheard: spec.value.members.flatMap(({ id }) => ((said.get(id)?.rev ?? 0) < (lead?.value.rev ?? 0) ? [id] : [])),
      leaving: statuses.flatMap(([id, { leaving }]) => (leaving === true ? [id] : [])),
      paused: spec.value.pausedUntil !== undefined && Date.parse(spec.value.pausedUntil) > now,
    },
  };
}

function indexed<T>(entry: KvEntry | undefined, parse: (entry: KvEntry) => T): Indexed<T> | undefined {
  return entry === undefined ? undefined : { value: parse(entry), index: entry.modifyIndex };
}

/** Of records that are not understood nobody makes a backup. */
function backupOf(entries: ReadonlyMap<string, KvEntry>, prefix: string): string | undefined {
  const running = [...entries.values()].flatMap(({ key, value }) => {
    const record = key.startsWith(prefix) ? CacheBackupRecord.safeParse(parseJson(value)) : undefined;
    return record?.success && record.data.state === 'running' ? [record.data.id] : [];
  });
  return running[0];
}

/** What others say of themselves is for the endpoint and for people: one that is not understood (another version) is left out. */
function parseStatus(entry: KvEntry): CacheMemberStatus | undefined {
  try {
    return parseRecord(CacheMemberStatus, entry);
  } catch {
    return undefined;
  }
}

/** The part of the records that decisions rest on, as text: of a new text the loop is told at once. */
export function decisive(entries: readonly KvEntry[], cache: string): string {
  const keys = cacheKeys(cache);
  const wanted = new Set([keys.spec, keys.lead, keys.birth, keys.move]);
  return entries
    .filter(({ key }) => wanted.has(key))
    .map(({ key, modifyIndex }) => `${key} ${modifyIndex}`)
    .join('\n');
}
