import type { Logger } from '#core/log.ts';
import { createSayer } from '#member/sentence.ts';
import type { MemberSession } from '#member/session.ts';
import type { ArchiveStatus } from '#xdb/backup/schema.ts';
import type { MemberStatus } from '#xdb/schema.ts';
import type { CloneProgress } from './clone-client.ts';
import type { MemberDisk } from './disk.ts';
import type { DiskGuard } from './disk-guard.ts';
import type { ParametersKeeper } from './parameters.ts';
import { statusOf } from './status.ts';
import type { Turn } from './turn.ts';

/** What this member says of itself: its record, its log, and its last sentences. */
export interface Reporter {
  /** What was seen and decided last. */
  last(): Turn | undefined;
  decided(turn: Turn): void;
  /** A copy of the data that is under way. */
  cloning(progress: CloneProgress | undefined): void;
  /** Why a copy could not be made; undefined once one was. @param lasting trying again will not help */
  failed(why: string | undefined, lasting?: boolean): void;
  isCloning(): boolean;
  /** Something beside the protocol has changed. */
  tell(): void;
  status(): MemberStatus | undefined;
  sentences(): readonly string[];
}

export interface ReporterOptions {
  member: string;
  node: string;
  address(): string;
  disk: Pick<MemberDisk, 'now'>;
  diskGuard: Pick<DiskGuard, 'use'>;
  parameters: Pick<ParametersKeeper, 'pendingRestart'>;
  session: Pick<MemberSession<MemberStatus>, 'set'>;
  archive(): ArchiveStatus;
  log: Logger;
}

const KEPT_SENTENCES = 300;

export function createReporter(options: ReporterOptions): Reporter {
  const { member, node, disk, diskGuard, parameters, session, log } = options;
  const say = createSayer();
  const sentences: string[] = [];
  let last: Turn | undefined;
  let status: MemberStatus | undefined;
  let cloning: CloneProgress | undefined;
  /** Why the data could not be made. */
  let failure: { why: string; lasting: boolean } | undefined;

  function tell(): void {
    if (last === undefined) return;
    const { view, local, facts, step } = last;
    const sentence = say(`${step.reason}${sayCloning(cloning)}${failure === undefined ? '' : `; the last try: ${failure.why}`}`);
    status = statusOf({
      ...{ member, node, address: options.address(), local, facts, step, sentence },
      ready: view?.protocol.data[member]?.value.ready ?? null,
      sync: view?.protocol.sync?.value,
      upstream: view?.protocol.upstream !== undefined,
      replica: view?.protocol.replicas.includes(member) ?? false,
      spec: view?.spec,
      startedSerial: disk.now().startedSerial,
      cloning: cloning !== undefined,
      failed: failure?.lasting ?? false,
      disk: diskGuard.use(),
      pendingRestart: parameters.pendingRestart(),
      archive: options.archive(),
      time: new Date(),
    });
    session.set(status);
    if (sentences.at(-1)?.endsWith(` ${sentence}`)) return;
    // Steps are logged with how they ended.
    if (step.do === 'wait') log.info({ rule: step.rule, sentence }, 'waits');
    sentences.push(`${new Date().toISOString()} ${sentence}`);
    if (sentences.length > KEPT_SENTENCES) sentences.shift();
  }

  return {
    last: () => last,
    decided(turn) {
      last = turn;
      tell();
    },
    cloning(progress) {
      cloning = progress;
      tell();
    },
    failed(why, lasting = false) {
      failure = why === undefined ? undefined : { why, lasting };
      tell();
    },
    isCloning: () => cloning !== undefined,
    tell,
    status: () => status,
    sentences: () => sentences,
  };
}

function sayCloning(cloning: CloneProgress | undefined): string {
  if (cloning === undefined) return '';
  return ` (${cloning.doing ?? `${Math.floor(cloning.bytes / 2 ** 20)} MiB so far`})`;
}
