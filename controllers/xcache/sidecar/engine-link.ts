import { messageOf } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import type { EngineProcess } from '#member/supervisor.ts';
import type { EngineFacts } from '#xcache/engine/info.ts';
import { type EngineSession, isBusy } from '#xcache/engine/session.ts';

/** What was seen of this member's engine in one look. */
export type EngineLook =
  | { state: 'down' | 'starting' }
  | { state: 'unreachable'; ageMs: number }
  | { state: 'running'; facts: EngineFacts; session: EngineSession };

export interface EngineLink {
  look(process: EngineProcess): Promise<EngineLook>;
  drop(): void;
}

/** One that says nothing for so long after its start is none: a large file takes its time, but the engine answers while it loads. Milliseconds. */
const SILENT_START_MS = 60_000;

/** The one connection that decisions are made and executed on. */
export function createEngineLink(connect: () => Promise<EngineSession>, log: Logger): EngineLink {
  let session: EngineSession | undefined;
  let answeredPid: number | undefined;
  /** Beginning of the first look that was not answered, of this process. */
  let silent: { pid: number; since: number } | undefined;
  let complaint = '';

  const drop = () => {
    session?.close();
    session = undefined;
  };

  return {
    drop,
    async look(process) {
      const began = performance.now();
      const silentMs = (pid: number) => {
        if (silent?.pid !== pid) silent = { pid, since: began };
        return performance.now() - silent.since;
      };
      if (process.state === 'none') {
        drop();
        answeredPid = undefined;
        silent = undefined;
        return { state: 'down' };
      }
      if (process.state === 'killed') {
        drop();
        return { state: 'unreachable', ageMs: silentMs(process.pid) };
      }
      try {
        session ??= await connect();
        const facts = await session.facts();
        answeredPid = process.pid;
        complaint = '';
        silent = undefined;
        return facts.loading ? { state: 'starting' } : { state: 'running', facts, session };
      } catch (error) {
        drop();
        // It answers, and cannot say more: it lives.
        if (isBusy(error)) return { state: 'unreachable', ageMs: 0 };
        const ageMs = silentMs(process.pid);
        const isStarting = answeredPid !== process.pid && process.startedHere;
        const text = messageOf(error);
        if (text !== complaint && !isStarting) log.warn({ err: text, pid: process.pid }, 'the engine does not answer');
        complaint = text;
        return isStarting && ageMs < SILENT_START_MS ? { state: 'starting' } : { state: 'unreachable', ageMs };
      }
    },
  };
}
