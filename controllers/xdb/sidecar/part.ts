import type { EngineFacts } from '#xdb/engine/engine.ts';
import type { SyncRecord } from '#xdb/schema.ts';
import type { Turn } from './turn.ts';

/** Pure: what this member is by a turn, for everything that is no step of the protocol. */
export interface Part {
  sync: SyncRecord | undefined;
  /** The record names this member, with the data that are here. */
  leads: boolean;
  /** It leads, the record is open, and its engine answers. */
  heads: { sync: SyncRecord; facts: EngineFacts } | undefined;
  /** It heads, and takes writes. */
  writes: { sync: SyncRecord; facts: EngineFacts } | undefined;
}

export function partOf(turn: Pick<Turn, 'view' | 'local' | 'facts'> | undefined): Part {
  const sync = turn?.view?.protocol.sync?.value;
  if (turn === undefined || sync === undefined) return { sync, leads: false, heads: undefined, writes: undefined };
  const { local, facts } = turn;
  const leads = sync.leader.id === local.me && sync.leader.gen === local.disk.gen;
  const heads = leads && sync.state === 'open' && facts !== undefined ? { sync, facts } : undefined;
  return { sync, leads, heads, writes: heads?.facts.readOnly === false ? heads : undefined };
}
