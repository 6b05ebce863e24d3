import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { AppError } from '#core/errors.ts';
import { readIfThere, writeFileAtomic } from '#core/files.ts';
import { FENCE_HEADER } from '#pool/agent-api.ts';

export interface Fence {
  /**
   * To be called at the beginning of each changing call, and again when it waited for its turn.
   *
   * @param value the header as it came
   * @returns the fence, to be given to {@link Fence.hold} later
   * @throws AppError `invalid` without a usable fence, `fenced` when a later leader has spoken
   */
  admit(value: string | string[] | undefined): Promise<number>;
  /** @throws AppError `fenced` when a later leader has spoken since `fence` was admitted */
  hold(fence: number): void;
  highest(): number;
}

/**
 * Remembers the highest fence on disk before the call that carried it is obeyed: a leader that was frozen and wakes up is refused also by an
 * agent that was restarted in between.
 */
export async function openFence(path: string): Promise<Fence> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  let highest = parseFence(await readIfThere(path), path);
  let writing: Promise<void> = Promise.resolve();

  function hold(fence: number): void {
    if (fence >= highest) return;
    throw new AppError('fenced', `the fence ${fence} is lower than ${highest}: another control replica leads by now`, {
      hint: 'this replica is no longer the leader; ask again through the API',
    });
  }

  return {
    async admit(value) {
      const fence = typeof value === 'string' && /^[1-9]\d{0,15}$/.test(value) ? Number(value) : undefined;
      if (fence === undefined || !Number.isSafeInteger(fence)) {
        throw new AppError('invalid', `a call that changes something needs the header ${FENCE_HEADER}: <lock index of the leader>`);
      }
      hold(fence);
      if (fence > highest) {
        const previous = highest;
        highest = fence;
        const written = writing.then(() => writeFileAtomic(path, `${fence}\n`));
        writing = written.catch(() => undefined);
        try {
          await written;
        } catch (error) {
          if (highest === fence) highest = previous;
          throw error;
        }
      } else {
        await writing;
      }
      hold(fence);
      return fence;
    },
    hold,
    highest: () => highest,
  };
}

/** A file that cannot be read as a number is not guessed at: with a fence forgotten, an old leader would be obeyed. */
function parseFence(text: string | undefined, path: string): number {
  if (text === undefined) return 0;
  if (/^\d{1,16}\n?$/.test(text)) return Number(text);
  throw new AppError('invalid', `${path} does not hold a fence`, {
    hint: `compare with the LockIndex of xcaas/control/leader, then write that number into ${path}`,
  });
}
