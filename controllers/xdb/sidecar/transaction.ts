import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { type ConsulClient, parseKv } from '#core/consul/client.ts';
import { parseRecord } from '#core/consul/records.ts';
import { messageOf } from '#core/errors.ts';
import type { BirthRecord } from '#pool/service-schema.ts';
import type { RecordWrite } from '#xdb/protocol/types.ts';
import { type DataRecord, SyncRecord } from '#xdb/schema.ts';
import { dbKeys } from '#xdb/store.ts';
import type { Failpoints } from './failpoint.ts';

/** `unknown`: it may have happened, may happen later, or never (A3). Nothing may be built on it but another look. */
export type WriteOutcome = { result: 'done'; index: number } | { result: 'failed' | 'unknown'; why: string };

export interface WriterOptions {
  consul: Pick<ConsulClient, 'request'>;
  db: string;
  member: string;
  failpoints: Failpoints;
}

/** What a write needs of the records that it was decided on. */
export interface WriteBasis {
  rule: string;
  /** Revision that the new one follows; 0 when there is no record. */
  rev: number;
  /** This member's session, for a lock. */
  session: string | undefined;
  /** This member's own data record, for a withdrawal. */
  ownData: DataRecord | undefined;
}

const TXN_TIMEOUT_MS = 1500;
const READ_TIMEOUT_MS = 1000;

const Answer = z.object({
  Results: z
    .array(z.object({ KV: z.object({ Key: z.string(), ModifyIndex: z.number() }) }))
    .nullish()
    .transform((results) => results ?? []),
  Errors: z
    .array(z.object({ What: z.string() }))
    .nullish()
    .transform((errors) => errors ?? []),
});

interface KvOperation {
  Verb: string;
  Key: string;
  Value?: string;
  Index?: number;
  Session?: string;
}

/**
 * Writes the record `sync`: one transaction, compare-and-set, revision + 1, a new nonce. What Consul refuses has not happened; an answer that did not come is
 * looked after by a consistent read for this very nonce, never by content.
 */
export function createRecordWriter({ consul, db, member, failpoints }: WriterOptions) {
  const keys = dbKeys(db);

  return async function write(step: RecordWrite, basis: WriteBasis): Promise<WriteOutcome> {
    const nonce = randomUUID();
    const record: SyncRecord = { v: 1, ...step.next, rev: basis.rev + 1, nonce };
    if (step.takeLock && basis.session === undefined) return { result: 'failed', why: 'this member has no session to hold the lock with' };
    await failpoints.at(`write:${basis.rule}:before`);
    const outcome = await commit(operationsOf(step, record, basis), nonce);
    await failpoints.at(`write:${basis.rule}:after`);
    return outcome;
  };

  function operationsOf(step: RecordWrite, record: SyncRecord, { session, ownData }: WriteBasis): KvOperation[] {
    const operations: KvOperation[] = [{ Verb: 'cas', Key: keys.sync, Value: base64(record), Index: step.at }];
    if (step.checkData !== undefined) {
      operations.push({ Verb: 'check-index', Key: keys.data(step.checkData.member), Index: step.checkData.index });
    }
    if (step.takeLock && session !== undefined) {
      // Whoever holds it: safety is in `sync` alone, and a lock that its dead holder's session still keeps would only cost time.
      operations.push({ Verb: 'delete', Key: keys.leader });
      operations.push({ Verb: 'lock', Key: keys.leader, Value: Buffer.from(member).toString('base64'), Session: session });
    }
    if (step.withdrawReady !== undefined && ownData !== undefined) {
      operations.push({ Verb: 'cas', Key: keys.data(member), Value: base64({ ...ownData, ready: null }), Index: step.withdrawReady.at });
    }
    if (step.birth !== undefined) {
      const done: BirthRecord = { v: 1, member, done: true };
      operations.push({ Verb: 'cas', Key: keys.birth, Value: base64(done), Index: step.birth });
    }
    return operations;
  }

  async function commit(operations: readonly KvOperation[], nonce: string): Promise<WriteOutcome> {
    let why: string;
    try {
      const answer = await consul.request('PUT', '/v1/txn', {
        body: operations.map((operation) => ({ KV: operation })),
        timeoutMs: TXN_TIMEOUT_MS,
      });
      if (answer.status === 200) {
        const index = Answer.parse(answer.body).Results.find(({ KV }) => KV.Key === keys.sync)?.KV.ModifyIndex;
        if (index !== undefined) return { result: 'done', index };
      }
      // Consul has judged, and nothing of the transaction was done.
      if (answer.status === 409) return { result: 'failed', why: saying(answer.body) };
      if (answer.status === 400 || answer.status === 403) return { result: 'failed', why: answer.text.slice(0, 300) };
      why = `Consul answered ${answer.status}: ${answer.text.slice(0, 200)}`;
    } catch (error) {
      why = messageOf(error);
    }
    return (await readBack(nonce)) ?? { result: 'unknown', why };
  }

  /** A3 */
  async function readBack(nonce: string): Promise<WriteOutcome | undefined> {
    try {
      const answer = await consul.request('GET', `/v1/kv/${keys.sync}`, { query: { consistent: true }, timeoutMs: READ_TIMEOUT_MS });
      const entry = parseKv(answer, `the record ${keys.sync}`)[0];
      if (entry === undefined || parseRecord(SyncRecord, entry).nonce !== nonce) return undefined;
      return { result: 'done', index: entry.modifyIndex };
    } catch {
      return undefined;
    }
  }
}

export type RecordWriter = ReturnType<typeof createRecordWriter>;

function base64(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64');
}

function saying(body: unknown): string {
  const parsed = Answer.safeParse(body);
  return parsed.success ? parsed.data.Errors.map(({ What }) => What).join('; ') : 'another member wrote first';
}
