import { createBell } from '#core/bell.ts';
import { messageOf } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import { within } from '#member/within.ts';
import type { Engine, EngineSession, Heartbeat } from '#xdb/engine/engine.ts';

/**
 * A row written each second while this member takes writes: it tells followers how far behind they are, measures how long a commit takes, and releases a commit whose
 * acknowledgement was lost (any later one does). It has a connection of its own and hangs with everybody else.
 */
export interface HeartbeatWriter {
  /** What is to be written from now on; undefined: nothing. */
  set(beat: (Heartbeat & { instance: string }) | undefined): void;
  /** E1: writes one now. @returns whether it was written within `timeoutMs` */
  beatNow(beat: Heartbeat & { instance: string }, timeoutMs: number): Promise<boolean>;
  /** Nothing is written any more, nor under way, once this has returned true. To be undone by {@link resume}. */
  pause(timeoutMs: number): Promise<boolean>;
  resume(): void;
  /** Milliseconds that the last one took, undefined before the first. */
  lastMs(): number | undefined;
  /** The last one that was committed, acknowledgement included: where, in which epoch, and when it was begun, in milliseconds. */
  through(): { instance: string; epoch: number; beganAt: number } | undefined;
  stop(): Promise<void>;
}

export interface HeartbeatOptions {
  engine: Pick<Engine, 'connect'>;
  log: Logger;
  everyMs?: number;
  timeoutMs?: number;
}

export function createHeartbeat({ engine, log, everyMs = 1000, timeoutMs = 5000 }: HeartbeatOptions): HeartbeatWriter {
  const stopping = new AbortController();
  let wanted: (Heartbeat & { instance: string }) | undefined;
  let session: EngineSession | undefined;
  let paused = false;
  let lastMs: number | undefined;
  let through: ReturnType<HeartbeatWriter['through']>;
  let underWay: Promise<boolean> | undefined;
  const bell = createBell(stopping.signal);
  let complaint = '';

  function drop(): void {
    session?.close();
    session = undefined;
  }

  async function write(beat: Heartbeat & { instance: string }, limitMs: number): Promise<boolean> {
    try {
      if (session?.instance !== beat.instance) drop();
      session ??= await within(engine.connect({ timeoutMs: 1000 }), 1500, 'a connection for the heartbeat', (late) => late.close());
      if (session.instance !== beat.instance) return false;
      const beganAt = performance.now();
      lastMs = (await session.heartbeat({ epoch: beat.epoch, member: beat.member }, limitMs)).ms;
      through = { instance: beat.instance, epoch: beat.epoch, beganAt };
      complaint = '';
      return true;
    } catch (error) {
      drop();
      const text = messageOf(error);
      if (text !== complaint) log.warn({ err: text }, 'the heartbeat could not be written');
      complaint = text;
      return false;
    }
  }

  /** One at a time. */
  async function single(beat: Heartbeat & { instance: string }, limitMs: number): Promise<boolean> {
    while (underWay !== undefined) await underWay;
    const mine = write(beat, limitMs).finally(() => {
      underWay = undefined;
    });
    underWay = mine;
    return mine;
  }

  const running = (async () => {
    while (!stopping.signal.aborted) {
      if (wanted !== undefined && !paused) await single(wanted, timeoutMs);
      await bell.wait(everyMs);
    }
  })();

  return {
    set(beat) {
      const changed = beat?.instance !== wanted?.instance || beat?.epoch !== wanted?.epoch;
      wanted = beat;
      if (beat === undefined) lastMs = undefined;
      if (changed && beat !== undefined) bell.ring();
    },
    async beatNow(beat, limitMs) {
      return within(single(beat, limitMs), limitMs + 500, 'the first heartbeat').catch(() => false);
    },
    async pause(limitMs) {
      paused = true;
      if (underWay === undefined) return true;
      return within(underWay, limitMs, 'the heartbeat').then(
        () => true,
        () => false,
      );
    },
    resume() {
      paused = false;
    },
    lastMs: () => lastMs,
    through: () => through,
    async stop() {
      stopping.abort();
      drop();
      await running;
    },
  };
}
