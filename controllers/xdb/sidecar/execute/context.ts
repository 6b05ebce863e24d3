import type { ConsulClient } from '#core/consul/client.ts';
import type { Logger } from '#core/log.ts';
import type { CredentialsSource } from '#member/credentials.ts';
import type { MemberSession } from '#member/session.ts';
import type { Supervisor } from '#member/supervisor.ts';
import type { Engine, EngineSession } from '#xdb/engine/engine.ts';
import type { Outcome, Step } from '#xdb/protocol/types.ts';
import type { Credentials, MemberStatus } from '#xdb/schema.ts';
import type { CloneProgress, createRecipient } from '../clone-client.ts';
import type { SidecarConfig } from '../config.ts';
import type { MemberDisk } from '../disk.ts';
import type { EngineLink } from '../engine-link.ts';
import type { Failpoints } from '../failpoint.ts';
import type { HeartbeatWriter } from '../heartbeat.ts';
import type { RecordsView } from '../records.ts';
import type { createOriginRestorer } from '../restore-origin.ts';
import type { RecordWriter } from '../transaction.ts';
import type { createUpstreamCopier } from '../upstream.ts';

/** What steps are done with: made once. */
export interface Tools {
  config: SidecarConfig;
  engine: Engine;
  link: EngineLink;
  supervisor: Supervisor;
  disk: MemberDisk;
  session: MemberSession<MemberStatus>;
  heartbeat: HeartbeatWriter;
  write: RecordWriter;
  takeClone: ReturnType<typeof createRecipient>;
  /** Birth from a backup of another database. */
  restoreOrigin: ReturnType<typeof createOriginRestorer>;
  /** Birth as a slave of another database. */
  copyUpstream: ReturnType<typeof createUpstreamCopier>;
  consul: ConsulClient;
  credentials: CredentialsSource<Credentials>;
  failpoints: Failpoints;
  log: Logger;
  /** A copy that is under way, for the status. */
  onClone(progress: CloneProgress | undefined): void;
  /** Why a database could not be made of another one's data, for the status; undefined once it was. */
  onFailedCopy(why: string | undefined, lasting?: boolean): void;
  /** The member is to end: the process exits. */
  onLeave(): void;
}

/** What one step is done by: seen in the same turn as it was decided. */
export interface Moment {
  view: RecordsView | undefined;
  /** Of the engine that the step was decided for; undefined while none answers. */
  instance: string | undefined;
  /** Where members are, also those whose sessions have ended a moment ago. */
  addressOf(member: string): string | undefined;
  /** Aborts when the record that a long step rests on has changed. */
  signal: AbortSignal;
}

export type StepOf<D extends Step['do']> = Extract<Step, { do: D }>;

/** Does one step. What it throws becomes an outcome in `execute.ts`. */
export type Executor<D extends Step['do']> = (step: StepOf<D>, tools: Tools, moment: Moment) => Promise<Outcome>;

export const DONE: Outcome = { is: 'done' };
export const FAILED: Outcome = { is: 'failed' };
export const UNKNOWN: Outcome = { is: 'unknown' };

/** The connection that the step was decided on, no other (A2). @throws AppError `unavailable` when it is gone */
export function sessionOf({ link }: Tools, { instance }: Moment): EngineSession {
  return link.session(instance ?? '');
}
