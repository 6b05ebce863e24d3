import type { ArchiveStatus } from '#xdb/backup/schema.ts';
import type { EngineFacts } from '#xdb/engine/engine.ts';
import type { Local, Step } from '#xdb/protocol/types.ts';
import type { DbSpec, MemberStatus, SyncRecord } from '#xdb/schema.ts';
import { XDB_PORTS } from './config.ts';
import type { DiskUse } from './disk-guard.ts';

export interface StatusInput {
  member: string;
  node: string;
  address: string;
  local: Local;
  facts: EngineFacts | undefined;
  sync: SyncRecord | undefined;
  /** Epoch in which this member's own record calls it ready. */
  ready: number | null;
  replica: boolean;
  /** The database is a slave of another one, and this member, if it leads, follows that. */
  upstream: boolean;
  spec: { value: DbSpec; index: number } | undefined;
  startedSerial: number;
  cloning: boolean;
  /** There are no data, and another try will not make them. */
  failed?: boolean;
  step: Step;
  sentence: string;
  disk: DiskUse | undefined;
  pendingRestart: readonly string[];
  archive?: ArchiveStatus;
  time: Date;
}

/** Pure: what this member says of itself. */
export function statusOf(input: StatusInput): MemberStatus {
  const { facts, local, sync, disk, archive } = input;
  const { engine } = local;
  return {
    v: 1,
    member: input.member,
    node: input.node,
    address: input.address,
    enginePort: XDB_PORTS.engine,
    role: roleOf(input),
    state: stateOf(input),
    sentence: input.sentence,
    rule: input.step.rule,
    ...(facts === undefined ? {} : { version: facts.version, gtid: facts.binlogGtid, readOnly: facts.readOnly }),
    lagSeconds: engine.state === 'running' && (input.upstream || sync?.leader.id !== input.member) ? engine.slave.lagSeconds : null,
    specIndex: input.spec?.index ?? 0,
    restartSerial: input.startedSerial,
    pendingRestart: [...input.pendingRestart],
    epoch: sync?.epoch ?? 0,
    rev: sync?.rev ?? 0,
    ...(disk === undefined ? {} : { disk }),
    ...(archive === undefined ? {} : { archive: archiveOf(archive) }),
    time: input.time.toISOString(),
  };
}

function archiveOf({ member: _, ...rest }: ArchiveStatus): NonNullable<MemberStatus['archive']> {
  return rest;
}

function roleOf({ member, sync, replica, local }: StatusInput): MemberStatus['role'] {
  if (sync === undefined || local.disk.gen === undefined) return 'none';
  if (sync.leader.id === member) return 'master';
  return replica ? 'replica' : 'slave';
}

function stateOf({ local, sync, member, cloning, failed, step, ready, upstream }: StatusInput): MemberStatus['state'] {
  const { engine } = local;
  if (failed) return 'failed';
  if (cloning || step.do === 'clone') return 'cloning';
  if (step.do === 'wait' && step.alarm !== undefined) return engine.state === 'running' ? 'failed' : 'stays_down';
  if (engine.state === 'down') return step.do === 'start' || step.do === 'initialise' ? 'starting' : 'down';
  if (engine.state !== 'running') return engine.state === 'starting' ? 'starting' : 'down';
  if (sync === undefined) return 'starting';
  if (sync.leader.id === member && upstream) {
    return sync.state === 'open' && engine.slave.outside && engine.slave.io === 'running' && engine.slave.sql === 'running'
      ? 'running'
      : 'catching_up';
  }
  if (sync.leader.id === member) return sync.state === 'open' && !engine.readOnly ? 'running' : 'starting';
  return engine.slave.io === 'running' && engine.slave.sql === 'running' && ready === sync.epoch ? 'running' : 'catching_up';
}

/** What of a status is worth a write by itself. */
export function stillOf(status: MemberStatus): string {
  const { time, gtid, lagSeconds, disk, archive, ...rest } = status;
  return JSON.stringify({ ...rest, disk: disk?.state, archive: archive && [archive.active, archive.sentence, archive.failingSince] });
}
