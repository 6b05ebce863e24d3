import { Socket } from 'node:net';
import process from 'node:process';
import { messageOf, toAppError } from '#core/errors.ts';
import { createLogger, type Logger } from '#core/log.ts';
import { createSupervisor, type Supervisor } from './supervisor.ts';

/** Where the supervisor speaks. */
const SUPERVISOR_FD = 3;

/** What a sidecar needs of the program that it is. */
export interface MemberProgram {
  log: Logger;
  /** The token for Consul has changed: the next process begins with the new one. */
  onStale(): void;
  /** The member is to be no more. */
  onLeave(): void;
}

interface Stoppable {
  /** @param keep what the next process of this member takes over: session, record, lock */
  stop(keep?: boolean): Promise<void>;
}

export interface MemberOptions {
  /** Of the program, in its log. */
  name: string;
  /** Whether a signal means that another process of this member follows. */
  keepOnSignal: boolean;
  /** What stopping may take before the process ends all the same. */
  stopMs: number;
}

/** Runs a member's sidecar as a program. It may end at any moment: the engines go on, whoever supervises it starts it again, and the new one goes on from what it finds. */
export async function runMember(
  { name, keepOnSignal, stopMs }: MemberOptions,
  start: (program: MemberProgram) => Promise<Stoppable>,
): Promise<void> {
  // For this program (its image's Dockerfile), not for those that it starts.
  for (const key of Object.keys(process.env)) if (key.startsWith('MALLOC_')) delete process.env[key];
  const log = createLogger({ name });
  let sidecar: Stoppable | undefined;
  let ending = false;

  async function end(code: number, keep: boolean): Promise<void> {
    if (ending) return;
    ending = true;
    // Whatever hangs must not keep the member from ending.
    setTimeout(() => process.exit(code), stopMs).unref();
    await sidecar?.stop(keep).catch((error: unknown) => log.warn({ err: messageOf(error) }, 'the sidecar could not stop cleanly'));
    process.exit(code);
  }

  function crash(what: string, thrown: unknown): void {
    log.fatal({ err: thrown, code: toAppError(thrown).code }, what);
    void end(1, true);
  }

  process.on('SIGTERM', () => void end(0, keepOnSignal));
  process.on('SIGINT', () => void end(0, keepOnSignal));
  process.on('uncaughtException', (error) => crash('uncaught exception', error));
  process.on('unhandledRejection', (error) => crash('unhandled rejection', error));

  try {
    sidecar = await start({
      log,
      onStale() {
        log.info('the token for Consul has changed; starting again with the new one');
        void end(0, true);
      },
      onLeave: () => void end(0, false),
    });
  } catch (error) {
    crash('the sidecar could not start', error);
  }
}

/** A sidecar beside one engine, under the supervisor of images/common, which says when the member ends: a signal to the sidecar alone is somebody's mistake. */
export const SUPERVISED = { keepOnSignal: true, stopMs: 2000 };

/** The supervisor that started this process. Without it nobody keeps the engine from outliving its sidecar: the process ends. */
export function ownSupervisor(log: Logger, onEvent: () => void): Supervisor {
  return createSupervisor({
    channel: new Socket({ fd: SUPERVISOR_FD }),
    log,
    onEvent,
    onGone() {
      log.fatal('the supervisor is gone');
      process.exit(1);
    },
  });
}
