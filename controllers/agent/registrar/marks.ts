import { z } from 'zod';
import { readIfThere, writeFileAtomic } from '#core/files.ts';

/**
 * Containers that are to be listed as draining. Two kinds: asked for (kept on disk: an agent that restarts in the middle of a drain must not undo
 * it), and seen (the engine was told to stop the container; forgotten after a while in case it was not a stop after all).
 */
export interface DrainMarks {
  drain(container: string): Promise<void>;
  undrain(container: string): Promise<void>;
  /** The container got the signal that asks it to stop. */
  sawStop(container: string): void;
  /** The container ended. */
  ended(container: string): void;
  /** Forgets containers that no longer exist. */
  prune(existing: ReadonlySet<string>): Promise<void>;
  all(): ReadonlySet<string>;
}

const Marks = z.object({ v: z.literal(1), containers: z.array(z.string()) });

/** SIGINT, SIGQUIT and SIGTERM: what images name as the signal to stop with. */
export const STOP_SIGNALS = new Set([2, 3, 15]);

/** Milliseconds that a container may take to stop and still be listed as draining. */
const SEEN_FOR_MS = 120_000;

export async function openDrainMarks(path: string, now: () => number = Date.now): Promise<DrainMarks> {
  const asked = new Set(await readMarks(path));
  const seen = new Map<string, number>();
  let writing: Promise<unknown> = Promise.resolve();
  const save = (): Promise<void> => {
    const written = writing.then(() => writeFileAtomic(path, JSON.stringify({ v: 1, containers: [...asked] })));
    writing = written.catch(() => undefined);
    return written;
  };
  return {
    async drain(container) {
      if (asked.has(container)) return;
      asked.add(container);
      await save();
    },
    async undrain(container) {
      seen.delete(container);
      if (asked.delete(container)) await save();
    },
    sawStop(container) {
      seen.set(container, now() + SEEN_FOR_MS);
    },
    ended(container) {
      seen.delete(container);
    },
    async prune(existing) {
      const gone = [...asked].filter((container) => !existing.has(container));
      for (const container of gone) asked.delete(container);
      for (const [container, until] of seen) if (until < now() || !existing.has(container)) seen.delete(container);
      if (gone.length > 0) await save();
    },
    all: () => new Set([...asked, ...seen.keys()]),
  };
}

/** A damaged file is no reason not to start: what it held is a drain that somebody waits for, and who asks again. */
async function readMarks(path: string): Promise<string[]> {
  const text = await readIfThere(path);
  if (text === undefined) return [];
  try {
    return Marks.parse(JSON.parse(text)).containers;
  } catch {
    return [];
  }
}
