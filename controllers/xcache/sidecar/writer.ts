import { randomUUID } from 'node:crypto';
import { type ConsulClient, parseKv } from '#core/consul/client.ts';
import { parseRecord } from '#core/consul/records.ts';
import { messageOf } from '#core/errors.ts';
import type { LeadBody } from '#xcache/protocol/types.ts';
import { LeadRecord } from '#xcache/schema.ts';
import { cacheKeys } from '#xcache/store.ts';

/** `unknown`: it may have happened, may happen later, or never. Nothing may be built on it but another look. */
export type WriteOutcome = { result: 'done' } | { result: 'failed' | 'unknown'; why: string };

export interface LeadWrite {
  next: LeadBody;
  /** Index of the record that it follows; 0 = there must be none. */
  at: number;
  /** Revision that it follows. */
  rev: number;
  /** The first one of all: index of the order, which is done with it. */
  birth?: number;
  member: string;
}

const TXN_TIMEOUT_MS = 1000;

/** Writes the record `lead`: compare-and-set, revision + 1, a new nonce. An answer that did not come is looked after by a consistent read for this very nonce. */
export function createLeadWriter(consul: Pick<ConsulClient, 'request'>, cache: string) {
  const keys = cacheKeys(cache);
  const base64 = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64');

  return async ({ next, at, rev, birth, member }: LeadWrite): Promise<WriteOutcome> => {
    const record: LeadRecord = { v: 1, ...next, rev: rev + 1, nonce: randomUUID() };
    const operations: { KV: Record<string, unknown> }[] = [{ KV: { Verb: 'cas', Key: keys.lead, Value: base64(record), Index: at } }];
    if (birth !== undefined)
      operations.push({ KV: { Verb: 'cas', Key: keys.birth, Value: base64({ v: 1, member, done: true }), Index: birth } });
    let why: string;
    try {
      const answer = await consul.request('PUT', '/v1/txn', { body: operations, timeoutMs: TXN_TIMEOUT_MS });
      if (answer.status === 200) return { result: 'done' };
      // Consul has judged, and nothing of the transaction was done.
      if (answer.status === 409) return { result: 'failed', why: 'another member wrote first' };
      if (answer.status === 400 || answer.status === 403) return { result: 'failed', why: answer.text.slice(0, 300) };
      why = `Consul answered ${answer.status}`;
    } catch (error) {
      why = messageOf(error);
    }
    return (await isThere(record.nonce)) ? { result: 'done' } : { result: 'unknown', why };
  };

  async function isThere(nonce: string): Promise<boolean> {
    try {
      const answer = await consul.request('GET', `/v1/kv/${keys.lead}`, { query: { consistent: true }, timeoutMs: TXN_TIMEOUT_MS });
      const entry = parseKv(answer, `the record ${keys.lead}`)[0];
      return entry !== undefined && parseRecord(LeadRecord, entry).nonce === nonce;
    } catch {
      return false;
    }
  }
}
export type LeadWriter = ReturnType<typeof createLeadWriter>;
