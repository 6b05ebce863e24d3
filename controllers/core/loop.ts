import { createBackoff } from '#core/backoff.ts';
import { type AppError, toAppError } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import { sleep } from '#core/sleep.ts';

export interface LoopOptions {
  name: string;
  log: Logger;
  /** Milliseconds between full passes when nothing was marked dirty. */
  intervalMs: number;
  /** One pass: look, plan, do. @returns one sentence: what was found and decided */
  cycle(signal: AbortSignal): Promise<string>;
  now?: () => number;
}

export interface LoopState {
  sentence: string;
  /** Milliseconds since the epoch of the end of the last pass. */
  at: number;
  error: AppError | undefined;
}

export interface Loop {
  start(): void;
  /** Waits for the pass that runs. */
  stop(): Promise<void>;
  /** Something may have changed: a pass begins as soon as the running one has ended. Many marks are one pass. */
  markDirty(): void;
  /** Runs an action of a user between two passes; never at the same time as one. */
  runExclusive<T>(action: () => Promise<T>): Promise<T>;
  last(): LoopState | undefined;
  /** True when a pass ended, with or without an error, within three intervals: the loop turns. */
  alive(): boolean;
}

/** Least wait after a pass that failed, in milliseconds, however many marks there are: a pass that fails and marks itself must not spin. */
const FAILED_PAUSE_MS = 100;

/**
 * Turns `cycle` until stopped.
 *
 * Invariants: at most one pass or exclusive action at any moment; a mark set during a pass is honoured by a further pass; an error ends the pass,
 * never the loop, and the next one comes after a backoff that is never longer than the interval, or, when something was marked, after a short pause.
 */
export function createLoop({ name, log, intervalMs, cycle, now = Date.now }: LoopOptions): Loop {
  const stopping = new AbortController();
  const backoff = createBackoff(Math.min(500, intervalMs), intervalMs);
  let tail: Promise<unknown> = Promise.resolve();
  let running: Promise<void> | undefined;
  let wake = new AbortController();
  let dirty = false;
  let state: LoopState | undefined;

  function exclusive<T>(action: () => Promise<T>): Promise<T> {
    const result = tail.then(action);
    tail = result.catch(() => undefined);
    return result;
  }

  /** @returns milliseconds until the next pass when nothing is marked */
  async function pass(): Promise<number> {
    dirty = false;
    try {
      const sentence = await cycle(stopping.signal);
      if (sentence !== state?.sentence) log.info({ loop: name, sentence }, 'cycle');
      state = { sentence, at: now(), error: undefined };
      backoff.reset();
      return intervalMs;
    } catch (thrown) {
      const error = toAppError(thrown);
      const sentence = `${name} failed: ${error.message}`;
      if (sentence !== state?.sentence)
        log.warn({ loop: name, sentence, code: error.code, err: error.user ? undefined : error }, 'cycle failed');
      state = { sentence, at: now(), error };
      return backoff.next();
    }
  }

  async function turn(): Promise<void> {
    while (!stopping.signal.aborted) {
      const waitMs = await exclusive(pass);
      if (state?.error !== undefined) await sleep(Math.min(waitMs, FAILED_PAUSE_MS), stopping.signal);
      if (dirty) continue;
      wake = new AbortController();
      if (!stopping.signal.aborted) await sleep(waitMs, wake.signal);
    }
  }

  return {
    start() {
      running ??= turn();
    },
    async stop() {
      stopping.abort();
      wake.abort();
      await running;
      await tail;
    },
    markDirty() {
      dirty = true;
      wake.abort();
    },
    runExclusive: exclusive,
    last: () => state,
    alive: () => state !== undefined && now() - state.at < 3 * intervalMs,
  };
}
