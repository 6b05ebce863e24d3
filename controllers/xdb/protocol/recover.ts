import { AppError } from '#core/errors.ts';
import type { MemberData, NamedInRecord, SyncRecord } from '#xdb/schema.ts';

/** What a member remembers of the record on its own disk. */
export interface Remembered {
  gen: string | null;
  wasMaster: boolean;
  rev: number;
  epoch: number;
  named: NamedInRecord | null;
  /** K2: it is the slave that the record names, and does not take over by itself. */
  refuses?: boolean;
}

/** A member of the specification, replicas too: they have seen the record as others have. `undefined`: it does not answer. */
export type Memories = Readonly<Record<string, Remembered | undefined>>;

export type Recovered = Omit<SyncRecord, 'v' | 'nonce'>;

/**
 * K1: the record that takes the place of one that Consul has lost, or has an older one of: the newest that any member has seen, in an epoch of its own, without a slave. Who
 * led by it leads; its data hold everything that was acknowledged (I1). The slave is named again by B, as after any fallback. Where the data that led are gone, those of the
 * slave that it named hold everything too, unless a newer record was seen by nobody who answers: that only an operator can know.
 *
 * Pure.
 *
 * @param present as it is in Consul
 * @param lost members that an operator says are gone for good
 * @throws AppError `conflict` when nothing is lost, when somebody does not answer who may know of a newer record, or when no data are complete
 */
export function recover(name: string, present: SyncRecord | undefined, memories: Memories, lost: ReadonlySet<string>): Recovered {
  const all = Object.entries(memories);
  const known = all.flatMap(([id, memory]) => (memory === undefined ? [] : [{ id, ...memory }]));
  const found = known.find(({ id }) => lost.has(id));
  if (found !== undefined) throw new AppError('conflict', `${found.id} answers: it is not lost`, { hint: `leave --lost ${found.id} away` });
  const refuser = known.find(({ id, refuses }) => refuses && id === present?.sync?.id);
  // K2: the record is not lost, its leader is.
  if (refuser === undefined || present === undefined || !lost.has(present.leader.id)) refuseWhatIsNotLost(name, present, known);
  const silent = all.filter(([id, memory]) => memory === undefined && !lost.has(id)).map(([id]) => id);
  if (silent.length > 0) {
    throw new AppError('conflict', `${silent.join(' and ')} did not answer, and may have seen a newer record than the others`, {
      hint: `start it, or if it is gone for good: db recover ${name} ${silent.map((id) => `--lost ${id}`).join(' ')}`,
    });
  }
  const [newest] = known.toSorted((a, b) => b.epoch - a.epoch || b.rev - a.rev);
  if (newest === undefined || newest.named === null) {
    throw new AppError('conflict', `no member of ${name} remembers whom the newest record named`, {
      hint: 'see "U5 by hand" in docs/xdb-protocol.md',
    });
  }
  const has = (data: MemberData | null) => data !== null && known.some(({ id, gen }) => id === data.id && gen === data.gen);
  const { leader, sync, prev, state } = newest.named;
  const next = {
    ...{ sync: null, cand: null },
    epoch: Math.max(...known.map(({ epoch }) => epoch), present?.epoch ?? 0) + 1,
    rev: Math.max(...known.map(({ rev }) => rev), present?.rev ?? 0) + 1,
  };
  if (has(leader)) return { ...next, leader, prev, state };
  // Nobody has written yet: who led before holds everything, and has applied it (T).
  if (state === 'promoting' && prev !== null && has(prev)) return { ...next, leader: prev, prev: null, state: 'open' };
  // It received everything; applying it is part of its promotion (P2–P5).
  if (state === 'open' && sync !== null && has(sync)) return { ...next, leader: sync, prev: leader, state: 'promoting' };
  throw new AppError('conflict', `the data of ${leader.id} that led ${name} are gone, and nobody else is known to hold everything`, {
    hint: `db restore NEW --from ${name}`,
  });
}

function refuseWhatIsNotLost(name: string, present: SyncRecord | undefined, known: readonly ({ id: string } & Remembered)[]): void {
  if (present === undefined) {
    if (known.some(({ rev }) => rev > 0)) return;
    throw new AppError('conflict', `no member of ${name} has ever seen a record: it is being made`, { hint: `db status ${name}` });
  }
  if (known.some(({ rev, epoch }) => rev > present.rev || epoch > present.epoch)) return;
  throw new AppError('conflict', `the record of ${name} is not lost: no member has seen a newer one`, { hint: `db status ${name}` });
}
