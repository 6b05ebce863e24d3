import { describe, expect, it } from 'vitest';
import { type ConsulAnswer, consulAnswer } from '#core/consul/transport.ts';
import { AppError } from '#core/errors.ts';
import type { RecordWrite } from '#xdb/protocol/types.ts';
import { createFailpoints } from './failpoint.ts';
import { createRecordWriter, type WriteBasis } from './transaction.ts';

interface Operation {
  KV: { Verb: string; Key: string; Value?: string; Index?: number; Session?: string };
}

const json = (status: number, body: unknown) => consulAnswer(status, { 'content-type': 'application/json' }, JSON.stringify(body));
const recordOf = (operation: Operation | undefined) =>
  JSON.parse(Buffer.from(operation?.KV.Value ?? '', 'base64').toString()) as Record<string, unknown>;

/** @param txn answer to the transaction @param stored what a read of the record gives then, by what was sent */
function against(txn: () => ConsulAnswer, stored: (sent: Record<string, unknown>) => ConsulAnswer = () => json(404, '')) {
  const sent: Operation[][] = [];
  const write = createRecordWriter({
    db: 'adb',
    member: 'adb-2',
    failpoints: createFailpoints(''),
    consul: {
      async request(method, path, options = {}) {
        if (method === 'PUT' && path === '/v1/txn') {
          sent.push(options.body as Operation[]);
          return txn();
        }
        expect(options.query).toMatchObject({ consistent: true });
        return stored(recordOf(sent.at(-1)?.[0]));
      },
    },
  });
  return { write, sent };
}

const step: RecordWrite = {
  next: { leader: { id: 'adb-2', gen: 'g2' }, sync: null, cand: null, prev: { id: 'adb-1', gen: 'g1' }, state: 'promoting', epoch: 4 },
  at: 77,
};
const basis: WriteBasis = { rule: 'P1', rev: 9, session: 'my-session', ownData: { v: 1, gen: 'g2', boot: 'b', ready: 3 } };
const done = () => json(200, { Results: [{ KV: { Key: 'xcaas/db/adb/sync', ModifyIndex: 80 } }], Errors: null });
const lost = () => {
  throw new AppError('timeout', 'no answer');
};
const kv = (value: unknown, index: number) =>
  json(200, [{ Key: 'xcaas/db/adb/sync', Value: Buffer.from(JSON.stringify(value)).toString('base64'), ModifyIndex: index, LockIndex: 0 }]);

describe('createRecordWriter', () => {
  it('writes at the index that was read, with the next revision and a nonce that is new each time', async () => {
    const { write, sent } = against(done);
    expect(await write(step, basis)).toEqual({ result: 'done', index: 80 });
    await write(step, basis);
    expect(sent[0]?.map(({ KV }) => KV)).toMatchObject([{ Verb: 'cas', Key: 'xcaas/db/adb/sync', Index: 77 }]);
    expect(recordOf(sent[0]?.[0])).toMatchObject({ ...step.next, rev: 10 });
    expect(recordOf(sent[0]?.[0]).nonce).not.toBe(recordOf(sent[1]?.[0]).nonce);
  });

  it('takes the lock, whoever has it, and checks the candidate in the same transaction', async () => {
    const { write, sent } = against(done);
    await write({ ...step, takeLock: true, checkData: { member: 'adb-1', index: 5 }, birth: 3, withdrawReady: { at: 12 } }, basis);
    expect(sent[0]?.map(({ KV }) => `${KV.Verb} ${KV.Key} ${KV.Index ?? KV.Session ?? ''}`.trim())).toEqual([
      'cas xcaas/db/adb/sync 77',
      'check-index xcaas/db/adb/data/adb-1 5',
      'delete xcaas/db/adb/leader',
      'lock xcaas/db/adb/leader my-session',
      'cas xcaas/db/adb/data/adb-2 12',
      'cas xcaas/db/adb/birth 3',
    ]);
    expect(recordOf(sent[0]?.[4])).toEqual({ v: 1, gen: 'g2', boot: 'b', ready: null });
    expect(recordOf(sent[0]?.[5])).toEqual({ v: 1, member: 'adb-2', done: true });
  });

  it('without a session nothing is asked that needs one', async () => {
    const { write, sent } = against(done);
    expect(await write({ ...step, takeLock: true }, { ...basis, session: undefined })).toMatchObject({ result: 'failed' });
    expect(sent).toEqual([]);
  });

  it('what Consul has rolled back has failed', async () => {
    const { write } = against(() => json(409, { Results: null, Errors: [{ OpIndex: 0, What: 'index is stale' }] }));
    expect(await write(step, basis)).toEqual({ result: 'failed', why: 'index is stale' });
  });

  describe('A3: an answer that did not come', () => {
    it('counts as done when this very nonce is read back', async () => {
      const { write } = against(lost, (sent) => kv(sent, 91));
      expect(await write(step, basis)).toEqual({ result: 'done', index: 91 });
    });

    it('does not count when the same content is there by another nonce', async () => {
      const { write } = against(lost, (sent) => kv({ ...sent, nonce: 'of somebody else' }, 91));
      expect(await write(step, basis)).toMatchObject({ result: 'unknown' });
    });

    it('is unknown while the record cannot be read, or is as before', async () => {
      expect(await against(lost, lost).write(step, basis)).toMatchObject({ result: 'unknown' });
      expect(await against(lost, () => json(404, '')).write(step, basis)).toMatchObject({ result: 'unknown' });
      expect(await against(() => json(500, 'No cluster leader')).write(step, basis)).toMatchObject({ result: 'unknown' });
    });
  });
});
