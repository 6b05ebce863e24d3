import { MAX_TIMER_MS } from './sleep.ts';

/** What a loop waits by between two turns: so long, or until somebody has something for it. */
export interface Bell {
  /** Ends the wait that is under way, else the next one: what comes during a turn is not slept over. */
  ring(): void;
  /** Waits `ms` milliseconds at the most. One waits at a time. Never throws. */
  wait(ms: number): Promise<void>;
}

/** @param signal ends the wait that is under way, and every later one at once */
export function createBell(signal: AbortSignal): Bell {
  let rung = false;
  let end: (() => void) | undefined;
  signal.addEventListener('abort', () => end?.(), { once: true });
  return {
    ring() {
      rung = true;
      end?.();
    },
    wait(ms) {
      return new Promise((resolve) => {
        const timer = setTimeout(() => end?.(), Math.min(ms, MAX_TIMER_MS));
        end = () => {
          clearTimeout(timer);
          end = undefined;
          rung = false;
          resolve();
        };
        if (rung || signal.aborted) end();
      });
    },
  };
}
