import { sleep } from '#core/sleep.ts';

/**
 * Pure but for the clock it is given: how much of the time slots are on their way. Moving them takes engines and network away from clients, and nobody waits for its end as they do for their
 * commands: after each part there is a rest that is so many times as long as the part took. Measured on two cores with 16 clients at full speed: see the README.
 */
export const REST = 3;

/** Of moves that an engine does by itself: a part is one move. */
export interface Pace {
  /** One has begun. */
  begin(): void;
  /** @param moving whether one is under way. @returns whether the next one waits */
  resting(moving: boolean): boolean;
  /** Nobody looks any more: how long one that is under way takes will not be known. */
  forget(): void;
}

export function createPace(now: () => number = () => performance.now()): Pace {
  let began: number | undefined;
  let until = Number.NEGATIVE_INFINITY;
  return {
    begin() {
      began ??= now();
    },
    resting(moving) {
      if (began !== undefined && !moving) {
        until = now() + REST * (now() - began);
        began = undefined;
      }
      return now() < until;
    },
    forget() {
      began = undefined;
    },
  };
}

/** Work that is done piece by piece rests after so many milliseconds of it. */
const PIECE_MS = 100;

/** Of moves that are done from here, key by key. @returns call it after each piece: returns at once, or when it may go on */
export function createBreather(signal: AbortSignal, now: () => number = () => performance.now()): () => Promise<void> {
  let began = now();
  return async () => {
    const worked = now() - began;
    if (worked < PIECE_MS) return;
    await sleep(REST * worked, signal);
    began = now();
  };
}
