import type { Refusal } from '#pool/pass.ts';
import type { ServiceStep } from '#pool/service-plan.ts';
import type { BirthRecord } from '#pool/service-schema.ts';
import { type SeenSecrets, type SeenService, sidecarOf } from '#pool/service-world.ts';
import type { BackupRecord } from '#xdb/backup/schema.ts';
import type { DataRecord, DbStatus, MemberStatus, MoveOrder, SyncRecord } from '#xdb/schema.ts';

/** What the controller saw of one database, and small questions about it. All pure. */
export interface Observed extends SeenService {
  /** Modify index of the specification. */
  specIndex: number;
  sync: SyncRecord | undefined;
  birth: BirthRecord | undefined;
  data: Readonly<Record<string, DataRecord>>;
  /** What sidecars say whose sessions live. */
  sidecars: MemberStatus[];
  move: MoveOrder | undefined;
  secrets: SeenSecrets;
  /** Oldest first. */
  backups: readonly BackupRecord[];
  /** The status that was written last. */
  previous: DbStatus | undefined;
  /** Who leads the database of ours that this one follows. */
  upstreamLeader?: string | undefined;
  /** What could not be done in the turn before this one, and why. */
  refused?: Refusal | undefined;
}

export type Step =
  | ServiceStep
  /** Of the engine alone, by the sidecar. */
  | { do: 'restart'; member: string; host: string; reason: string };

/** The member that takes writes now, by the record and by its own word. */
export function writableLeader(observed: Observed): string | undefined {
  const { sync } = observed;
  if (sync === undefined || sync.state !== 'open') return undefined;
  const said = sidecarOf(sync.leader.id, observed);
  return said?.role === 'master' && said.state === 'running' && said.readOnly !== true ? sync.leader.id : undefined;
}

/** A slave that a switchover could go to at once. */
export function follows(member: string, observed: Observed): boolean {
  const said = sidecarOf(member, observed);
  return said?.state === 'running' && said.role !== 'master' && said.role !== 'none';
}

/** The one slave that holds everything, when it follows too. */
export function livingSlave(observed: Observed): string | undefined {
  const slave = observed.sync?.sync?.id;
  return slave !== undefined && follows(slave, observed) ? slave : undefined;
}

/** Holds all that the leader has, or is on the point of it: it lives, and was compared in this epoch. */
export function isReady(member: string, observed: Observed): boolean {
  const { sync, data } = observed;
  if (sync === undefined) return false;
  return sync.sync?.id === member || (data[member]?.ready === sync.epoch && follows(member, observed));
}

/** Has its copy and is let in as soon as another member is the sync slave no more. */
export function isCopied(member: string, observed: Observed): boolean {
  const named = observed.sync?.sync?.id;
  if (named === undefined || named === member || observed.data[member] === undefined) return false;
  return sidecarOf(member, observed)?.state === 'catching_up';
}

/** An order that was given and is neither done nor failed. */
export function isMoving(move: MoveOrder | undefined): move is MoveOrder {
  return move !== undefined && (move.state === 'asked' || move.state === 'blocked');
}
