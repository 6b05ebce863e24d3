import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import type { ConsulClient } from '#core/consul/client.ts';
import { consulError } from '#core/consul/transport.ts';
import { AppError, hasCode } from '#core/errors.ts';
import { sleep } from '#core/sleep.ts';

export type PoolConsul = Pick<ConsulClient, 'kv' | 'request'>;

/** One change of a transaction. `index` as in `kv.cas`: 0 = must not exist. */
export type KvChange =
  | { verb: 'cas'; key: string; value: string; index: number }
  | { verb: 'delete'; key: string }
  | { verb: 'delete-cas'; key: string; index: number }
  | { verb: 'delete-tree'; key: string };

/** Consul takes 64 operations in one transaction. */
export const MAX_CHANGES = 64;

/**
 * All changes or none.
 *
 * @returns false when a `cas` lost
 * @throws AppError `unavailable` | `timeout` when it is not known whether they were made: read again before acting
 */
export async function applyChanges(consul: PoolConsul, changes: readonly KvChange[]): Promise<boolean> {
  if (changes.length > MAX_CHANGES) throw new AppError('internal', `${changes.length} changes do not fit into one transaction`);
  const body = changes.map((change) => ({
    KV: {
      Verb: change.verb,
      Key: change.key,
      ...('value' in change ? { Value: Buffer.from(change.value).toString('base64') } : {}),
      ...('index' in change ? { Index: change.index } : {}),
    },
  }));
  const answer = await consul.request('PUT', '/v1/txn', { body });
  if (answer.status === 200) return true;
  if (answer.status === 409 && isLostCas(answer.body)) return false;
  throw consulError(answer, 'a transaction');
}

/** A transaction is also answered with 409 when the token lacks a right. */
function isLostCas(body: unknown): boolean {
  const parsed = Failures.safeParse(body);
  return parsed.success && parsed.data.Errors.every(({ What }) => /index is stale|current modify index/i.test(What));
}

const Failures = z.object({ Errors: z.array(z.object({ What: z.string() })).min(1) });

/**
 * Which members live where is decided from all placements at once, so all that change them or what they rest on (reserving, removing a
 * host) write this key in the same transaction: of two at a time one loses and looks again.
 */
export const PLACEMENT_GUARD = 'xcaas/control/placements';

const MAX_ATTEMPTS = 20;
/** Times that an answer may be missing before the caller hears of it; each one has cost a deadline. */
const MAX_UNKNOWN = 2;

/**
 * Reads, decides and writes as if alone. `decide` must read what it decides on (with `consistent`) each time it is called; when it
 * returns no changes, nothing is written.
 *
 * @throws AppError `cas_lost` when others kept writing, and what `decide` throws
 */
export async function guarded<T>(consul: PoolConsul, decide: () => Promise<{ changes: readonly KvChange[]; result: T }>): Promise<T> {
  let unknown = 0;
  for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt += 1) {
    // The guard first: whoever writes after this read makes our transaction fail, whatever was read in between.
    const guard = await consul.kv.get(PLACEMENT_GUARD, { consistent: true });
    const { changes, result } = await decide();
    if (changes.length === 0) return result;
    // A value of its own each time: Consul leaves the index alone when a key is written with the value it has.
    const bump: KvChange = {
      verb: 'cas',
      key: PLACEMENT_GUARD,
      value: JSON.stringify({ v: 1, turn: randomUUID() }),
      index: guard?.modifyIndex ?? 0,
    };
    try {
      if (await applyChanges(consul, [bump, ...changes])) return result;
    } catch (error) {
      // Not known whether it was done. Looking again settles it: if it was, `decide` finds it; if it comes late, it loses to our next bump.
      unknown += 1;
      if (!(hasCode(error, 'timeout') || hasCode(error, 'unavailable')) || unknown > MAX_UNKNOWN) throw error;
    }
    await sleep(Math.random() * 20 * attempt);
  }
  throw new AppError('cas_lost', 'the placements are being changed by somebody else all the time', { hint: 'repeat the command' });
}
