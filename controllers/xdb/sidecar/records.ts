import type { z } from 'zod';
import { type ConsulClient, type KvEntry, parseKv } from '#core/consul/client.ts';
import { parseRecord } from '#core/consul/records.ts';
import { AppError } from '#core/errors.ts';
import { BirthRecord } from '#pool/service-schema.ts';
import type { Indexed, Records } from '#xdb/protocol/types.ts';
import { AckedRecord, DataRecord, DbSpec, MemberStatus, MoveOrder, SyncRecord } from '#xdb/schema.ts';
import { dbKeys } from '#xdb/store.ts';

/** All records of one database as one consistent read gave them, and what of them the protocol sees. */
export interface RecordsView {
  spec: Indexed<DbSpec>;
  protocol: Records;
  /** What live sidecars say of their members. */
  statuses: Readonly<Record<string, MemberStatus>>;
  /** Session that holds this member's own status record. */
  ownSession: string | undefined;
  /** Session that holds the lock `leader`. */
  lockSession: string | undefined;
  /** K2: of the record's own epoch. */
  acked: AckedRecord | undefined;
}

/** A read that takes longer is none: decisions rest on what was true a moment ago. Milliseconds. */
const READ_TIMEOUT_MS = 1000;

/**
 * @throws AppError `unavailable`, `timeout`, `forbidden`; `not_found` when there is no specification; `internal` when a record that decisions rest on does
 * not fit its schema: it is never acted upon
 */
export async function readRecords(
  consul: Pick<ConsulClient, 'request'>,
  db: string,
  member: string,
  parse: typeof parseRecord = parseRecord,
): Promise<RecordsView> {
  const path = `/v1/kv/${dbKeys(db).base}`;
  const answer = await consul.request('GET', path, { query: { recurse: true, consistent: true }, timeoutMs: READ_TIMEOUT_MS });
  // Records that rights have hidden look as if they did not exist.
  if (answer.headers['x-consul-results-filtered-by-acls'] === 'true') {
    throw new AppError('forbidden', `the token of this member may not see all records of ${db}`);
  }
  return viewOf(parseKv(answer, `the records of ${db}`), db, member, Date.now(), parse);
}

/** Pure part of {@link readRecords}. @param now milliseconds since the epoch: a pause has an end by the clock on the wall */
export function viewOf(
  entries: readonly KvEntry[],
  db: string,
  member: string,
  now: number,
  parse: typeof parseRecord = parseRecord,
): RecordsView {
  const keys = dbKeys(db);
  const byKey = new Map(entries.filter(({ value }) => value !== '').map((entry) => [entry.key, entry]));
  const specEntry = byKey.get(keys.spec);
  if (specEntry === undefined) throw new AppError('not_found', `there is no specification of ${db} in Consul`);
  const spec = { value: parse(DbSpec, specEntry), index: specEntry.modifyIndex };
  const birth = indexed(byKey.get(keys.birth), (entry) => parse(BirthRecord, entry));
  const move = indexed(byKey.get(keys.move), (entry) => parse(MoveOrder, entry));
  const lock = entries.find(({ key }) => key === keys.leader);
  const under = (prefix: string) => entries.filter(({ key, value }) => key.startsWith(prefix) && value !== '');
  const data = under(keys.dataPrefix).map((entry) => [
    entry.key.slice(keys.dataPrefix.length),
    { value: parse(DataRecord, entry), index: entry.modifyIndex },
  ]);
  const statuses = under(keys.membersPrefix).flatMap((entry) => {
    const parsed = parseStatus(entry, parse);
    return parsed === undefined || entry.session === undefined ? [] : [[entry.key.slice(keys.membersPrefix.length), parsed] as const];
  });
  const sync = indexed(byKey.get(keys.sync), (entry) => parse(SyncRecord, entry));
  return {
    spec,
    acked: ackedOf(sync === undefined ? undefined : byKey.get(keys.acked(sync.value.epoch)), parse),
    statuses: Object.fromEntries(statuses),
    ownSession: entries.find(({ key }) => key === keys.member(member))?.session,
    lockSession: lock?.session,
    protocol: {
      sync,
      data: Object.fromEntries(data),
      lockHolder: lock?.session === undefined ? undefined : lock.value,
      present: statuses.map(([id]) => id),
      move: isDue(move?.value, now) ? move : undefined,
      birth,
      members: spec.value.members.map(({ id }) => id),
      replicas: spec.value.members.filter(({ role }) => role === 'replica').map(({ id }) => id),
      upstream: upstreamOf(spec.value),
      paused: spec.value.pausedUntil !== undefined && Date.parse(spec.value.pausedUntil) > now,
    },
  };
}

/** An order that waits for its time, or is over, is none. */
function isDue(move: MoveOrder | undefined, now: number): boolean {
  if (move === undefined || move.state === 'done' || move.state === 'failed') return false;
  return move.at === undefined || Date.parse(move.at) <= now;
}

function upstreamOf(spec: DbSpec): string | undefined {
  if (spec.role !== 'slave' || spec.upstream === undefined) return undefined;
  return spec.upstream.ours ?? `${spec.upstream.host}:${spec.upstream.port}`;
}

function indexed<T>(entry: KvEntry | undefined, parse: (entry: KvEntry) => T): Indexed<T> | undefined {
  return entry === undefined ? undefined : { value: parse(entry), index: entry.modifyIndex };
}

/** What others say of themselves is for the endpoint and for people: one that is not understood (another version) is left out. */
function parseStatus(entry: KvEntry, parse: typeof parseRecord): MemberStatus | undefined {
  try {
    return parse(MemberStatus, entry);
  } catch {
    return undefined;
  }
}

/** A sanity check only: one that is not understood is none. */
function ackedOf(entry: KvEntry | undefined, parse: typeof parseRecord): AckedRecord | undefined {
  try {
    return entry && parse(AckedRecord, entry);
  } catch {
    return undefined;
  }
}

/**
 * `parseRecord` that remembers: most records are the same at each look, and to check them is most of what a look costs. What it gives is shared and must not be
 * changed.
 */
export function rememberParsed(): typeof parseRecord {
  const known = new Map<string, { text: string; schema: unknown; value: unknown }>();
  return <T>(schema: z.ZodType<T>, entry: Pick<KvEntry, 'key' | 'value'>): T => {
    const before = known.get(entry.key);
    if (before !== undefined && before.text === entry.value && before.schema === schema) return before.value as T;
    const value = parseRecord(schema, entry);
    known.set(entry.key, { text: entry.value, schema, value });
    return value;
  };
}

/** The part of the records that decisions rest on, as text: of a new text the loop is told at once. */
export function decisive(entries: readonly KvEntry[], db: string): string {
  const keys = dbKeys(db);
  const wanted = new Set([keys.spec, keys.sync, keys.leader, keys.birth, keys.move]);
  return entries
    .filter(({ key }) => wanted.has(key) || key.startsWith(keys.dataPrefix))
    .map(({ key, modifyIndex, session }) => `${key} ${modifyIndex} ${session ?? ''}`)
    .join('\n');
}
