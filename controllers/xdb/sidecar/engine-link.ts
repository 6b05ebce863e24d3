import { createAgeOf } from '#core/age-of.ts';
import { AppError, messageOf } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import type { EngineProcess } from '#member/supervisor.ts';
import { within } from '#member/within.ts';
import type { Engine, EngineFacts, EngineSession } from '#xdb/engine/engine.ts';

/** What was seen of the engine in one look. */
export type EngineLook =
  | { state: 'down'; ageMs: number }
  | { state: 'starting' }
  | { state: 'unreachable'; ageMs: number }
  | { state: 'running'; session: EngineSession; facts: EngineFacts };

/** The one connection that the flow of the protocol uses (A2). */
export interface EngineLink {
  look(process: EngineProcess): Promise<EngineLook>;
  /** The present connection. @throws AppError `unavailable` when there is none to that instance */
  session(instance: string): EngineSession;
  /** Another connection in place of the present one, whose commands may still run. @throws AppError `unavailable` */
  renew(): Promise<EngineSession>;
  drop(): void;
}

const CONNECT_MS = 1000;
const FACTS_MS = 1500;
/** A start that replays a large log takes its time; one that says nothing for so long is none, in milliseconds. */
const STARTING_MS = 30 * 60_000;

export function createEngineLink(engine: Pick<Engine, 'connect'>, log: Logger, now: () => number = () => performance.now()): EngineLink {
  let session: EngineSession | undefined;
  /** Process whose engine has answered at least once. */
  let answeredPid: number | undefined;
  const downAge = createAgeOf(now);
  const silentAge = createAgeOf(now);
  let complaint = '';

  function drop(): void {
    session?.close();
    session = undefined;
  }

  async function connected(): Promise<EngineSession> {
    session ??= await within(engine.connect({ timeoutMs: CONNECT_MS }), CONNECT_MS + 500, 'a connection to the engine', (late) =>
      late.close(),
    );
    return session;
  }

  return {
    async look(process) {
      if (process.state === 'none') {
        drop();
        answeredPid = undefined;
        silentAge(undefined);
        return { state: 'down', ageMs: downAge('down') };
      }
      downAge(undefined);
      if (process.state === 'killed') {
        drop();
        return { state: 'unreachable', ageMs: silentAge(`killed ${process.pid}`) };
      }
      try {
        const present = await connected();
        const facts = await within(present.facts(), FACTS_MS, 'the facts of the engine');
        if (facts.instance !== present.instance) throw new AppError('engine', 'another instance of the engine answers');
        answeredPid = process.pid;
        complaint = '';
        silentAge(undefined);
        return { state: 'running', session: present, facts };
      } catch (error) {
        drop();
        const text = messageOf(error);
        // While it starts nothing else is to be expected.
        const isStarting = answeredPid !== process.pid && process.startedHere;
        if (text !== complaint && !isStarting) log.warn({ err: text, pid: process.pid }, 'the engine does not answer');
        complaint = text;
        const ageMs = silentAge(`silent ${process.pid}`);
        return isStarting && ageMs < STARTING_MS ? { state: 'starting' } : { state: 'unreachable', ageMs };
      }
    },
    session(instance) {
      if (session?.instance !== instance) throw new AppError('unavailable', 'the connection to this instance of the engine is gone');
      return session;
    },
    async renew() {
      drop();
      return connected();
    },
    drop,
  };
}
