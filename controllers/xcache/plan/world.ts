import type { Refusal } from '#pool/pass.ts';
import type { BirthRecord } from '#pool/service-schema.ts';
import { placementsOf, type SeenSecrets, type SeenService, sidecarOf } from '#pool/service-world.ts';
import type { CacheBackupRecord } from '#xcache/backup/schema.ts';
import type { CacheMemberStatus, CacheSpec, CacheStatus, ClusterRecord, LeadRecord, MoveOrder } from '#xcache/schema.ts';

/** What the controller saw of one cache, and small questions about it. All pure. */
export interface Observed extends SeenService {
  /** Modify index of the specification. */
  specIndex: number;
  lead: LeadRecord | undefined;
  cluster: ClusterRecord | undefined;
  birth: BirthRecord | undefined;
  /** What sidecars say whose sessions live. */
  sidecars: CacheMemberStatus[];
  move: MoveOrder | undefined;
  /** Oldest first. */
  backups?: readonly CacheBackupRecord[];
  secrets: SeenSecrets;
  /** The status that was written last. */
  previous: CacheStatus | undefined;
  /** What could not be done in the turn before this one, and why. */
  refused?: Refusal | undefined;
}

/** One master and its replicas: a cache that is no cluster is one shard. */
export interface Shard {
  shard: number;
  /** By the specification, oldest first. */
  members: string[];
  /** Takes writes now, by the record and by its own word. */
  master: string | undefined;
  /** Holds what the master holds, as closely as replication goes, and lives: it could take over. */
  insync: string[];
}

export function memberIds(spec: Pick<CacheSpec, 'members'>): string[] {
  return spec.members.map(({ id }) => id);
}

export function shardsOf(spec: CacheSpec, observed: Observed): Shard[] {
  const count = Math.max(spec.shards, ...spec.members.map(({ shard }) => shard + 1));
  return Array.from({ length: count }, (_, shard) => shardOf(spec, shard, observed));
}

function shardOf(spec: CacheSpec, shard: number, observed: Observed): Shard {
  const members = spec.members.filter((member) => member.shard === shard).map(({ id }) => id);
  const runs = (member: string) => sidecarOf(member, observed)?.state === 'running';
  if (spec.mode !== 'cluster') {
    const { lead } = observed;
    const copies = lead?.insync.map(({ id }) => id) ?? [];
    return { shard, members, master: writableMaster(observed), insync: copies.filter((id) => id !== lead?.master.id && runs(id)) };
  }
  // The engines decide who is the master; sidecars say what became of it.
  const slots = observed.cluster?.slots ?? {};
  const says = (member: string, role: CacheMemberStatus['role']) => runs(member) && sidecarOf(member, observed)?.role === role;
  const masters = members.filter((member) => says(member, 'master'));
  const master = masters.find((member) => (slots[member] ?? 0) > 0) ?? masters[0];
  return { shard, members, master, insync: members.filter((member) => member !== master && says(member, 'replica')) };
}

/** The member that takes writes now, by the record and by its own word. */
export function writableMaster(observed: Observed): string | undefined {
  const { lead } = observed;
  if (lead === undefined || lead.state !== 'open') return undefined;
  const said = sidecarOf(lead.master.id, observed);
  return said?.role === 'master' && said.state === 'running' ? lead.master.id : undefined;
}

/** An order that was given and is neither done nor failed. */
export function isMoving(move: MoveOrder | undefined): move is MoveOrder {
  return move?.state === 'asked';
}

/** Members that have a place, those among them that are none of the specification's any more. */
export function placedMembers(spec: Pick<CacheSpec, 'name'>, observed: Pick<Observed, 'everything'>): string[] {
  return placementsOf(spec, observed).map(({ member }) => member);
}
