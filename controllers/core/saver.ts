import { messageOf } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';

/** Brings the newest of something to disk: the first of a burst at once, then the newest now and then. */
export interface Saver<T> {
  save(value: T): void;
  /** Why the newest is not on disk. */
  trouble(): string | undefined;
  /** Nothing is written any more. */
  stop(): void;
}

export interface SaverOptions<T> {
  /** What is saved, for messages. */
  what: string;
  write(value: T): Promise<void>;
  log: Logger;
  /** Shortest time between two writes, in milliseconds; ten times that after a failure. */
  everyMs?: number;
}

export function createSaver<T>({ what, write, log, everyMs = 1000 }: SaverOptions<T>): Saver<T> {
  let next: { value: T } | undefined;
  let timer: NodeJS.Timeout | undefined;
  let trouble: string | undefined;
  let writing = false;
  let stopped = false;

  async function turn(): Promise<void> {
    if (writing || stopped || next === undefined) return;
    writing = true;
    const taken = next;
    next = undefined;
    try {
      await write(taken.value);
      trouble = undefined;
    } catch (error) {
      trouble = `${what} could not be saved: ${messageOf(error)}`;
      log.warn({ what, err: messageOf(error) }, 'what is live could not be saved');
      next ??= taken;
    }
    writing = false;
    if (stopped) return;
    timer = setTimeout(
      () => {
        timer = undefined;
        void turn();
      },
      trouble === undefined ? everyMs : 10 * everyMs,
    );
  }

  return {
    save(value) {
      next = { value };
      if (timer === undefined) void turn();
    },
    trouble: () => trouble,
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };
}
