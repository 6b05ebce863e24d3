import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import type { Stored } from '#core/consul/records.ts';
import { AppError, messageOf, toAppError } from '#core/errors.ts';
import { askMember, expectMember } from '#pool/service-living.ts';
import type { DbRecords } from '#xdb/observe.ts';
import type { DbDeps } from '#xdb/operations/deps.ts';
import { livingRecords } from '#xdb/operations/living.ts';
import { type Memories, type Recovered, recover } from '#xdb/protocol/recover.ts';
import { NamedInRecord, type SyncRecord } from '#xdb/schema.ts';
import { dbKeys } from '#xdb/store.ts';

/** What of a member's answer to `/decision` is its own memory. */
const Decision = z.object({
  disk: z.object({
    gen: z.string().nullable(),
    wasMaster: z.boolean(),
    rev: z.number().int(),
    epoch: z.number().int(),
    named: NamedInRecord.nullable().default(null),
  }),
  step: z.object({ rule: z.string() }),
});

export interface Recovery {
  name: string;
  /** What Consul has. */
  record: { epoch: number; rev: number; leader: string } | null;
  members: {
    id: string;
    answers: boolean;
    /** Why it does not. */
    problem?: string;
    epoch?: number;
    rev?: number;
    hasData?: boolean;
    wasMaster?: boolean;
    leader?: string;
    sync?: string | null;
  }[];
  /** What would be written; null where nothing would, and why not. */
  next: Recovered | null;
  refused: { message: string; hint?: string | undefined } | null;
}

const ASK_MS = 5000;

/** Members are asked once the record was read: who has seen a newer one by then has seen it because it was changed, and then nothing is written. */
async function look(deps: DbDeps, name: string, lost: readonly string[]) {
  const records = await livingRecords(deps, name);
  for (const member of lost) expectMember(records.spec.value, member);
  const present = await deps.store.syncs.get(dbKeys(name).sync, { consistent: true });
  const asked = await Promise.all(records.spec.value.members.map(async ({ id }) => [id, await rememberedBy(deps, records, id)] as const));
  const memories: Memories = Object.fromEntries(asked.map(([id, answer]) => [id, answer.disk]));
  return { present, asked, decide: () => recover(name, present?.value, memories, new Set(lost)) };
}

/** What a member has on its disk, or why it could not be asked. */
async function rememberedBy(deps: DbDeps, records: DbRecords, member: string) {
  try {
    const answer = await askMember(deps, records, member, { method: 'GET', path: '/decision', timeoutMs: ASK_MS });
    const { disk, step } = Decision.parse(answer);
    return { disk: { ...disk, refuses: step.rule === 'K2' } };
  } catch (error) {
    return { disk: undefined, problem: messageOf(error) };
  }
}

/** K1: what each member remembers of the record, and what would be made of it. Changes nothing. */
export async function viewRecovery(deps: DbDeps, name: string, lost: readonly string[] = []): Promise<Recovery> {
  const { present, asked, decide } = await look(deps, name, lost);
  return {
    name,
    record: present === undefined ? null : { epoch: present.value.epoch, rev: present.value.rev, leader: present.value.leader.id },
    members: asked.map(([id, { disk, problem }]) =>
      disk === undefined
        ? { id, answers: false, ...(problem === undefined ? {} : { problem }) }
        : {
            ...{ id, answers: true, epoch: disk.epoch, rev: disk.rev, hasData: disk.gen !== null, wasMaster: disk.wasMaster },
            ...(disk.named === null ? {} : { leader: disk.named.leader.id, sync: disk.named.sync?.id ?? null }),
          },
    ),
    ...outcome(decide),
  };
}

function outcome(decide: () => Recovered): Pick<Recovery, 'next' | 'refused'> {
  try {
    return { next: decide(), refused: null };
  } catch (thrown) {
    const { message, hint } = toAppError(thrown);
    return { next: null, refused: { message, hint } };
  }
}

/**
 * K1, U5: writes the record anew that Consul has lost, from what the members remember (`protocol/recover.ts`).
 *
 * @param lost members that are gone for good, as the operator says
 * @throws AppError `conflict` where it is not lost or cannot be known, `cas_lost` when it was changed meanwhile; then nothing was written
 */
export async function recoverDb(
  deps: DbDeps,
  name: string,
  lost: readonly string[] = [],
): Promise<{ name: string; leader: string; sentence: string }> {
  const { present, decide } = await look(deps, name, lost);
  const next = decide();
  await put(deps, name, next, present);
  const leader = next.leader.id;
  const without = lost.length === 0 ? '' : `; what ${lost.join(' and ')} alone had is not in it`;
  const sentence = `the record of ${name} was written anew: ${leader} ${next.state === 'open' ? 'leads' : 'is being promoted'} (epoch ${next.epoch})${without}`;
  await deps.events.record({ object: `db/${name}`, kind: 'warning', reason: 'recover', sentence });
  deps.markDirty(name);
  return { name, leader, sentence };
}

async function put({ store }: DbDeps, name: string, next: Recovered, present: Stored<SyncRecord> | undefined): Promise<void> {
  const key = dbKeys(name).sync;
  if (await store.syncs.cas(key, { v: 1, ...next, nonce: `recovered ${randomUUID()}` }, present?.modifyIndex ?? 0)) return;
  throw new AppError('cas_lost', `the record of ${name} was changed by somebody else just now`, { hint: `db status ${name}` });
}
