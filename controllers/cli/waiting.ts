import type { Context } from '#cli/command.ts';
import { AppError, isErrorCode } from '#core/errors.ts';
import { sleep } from '#core/sleep.ts';

export interface Waited {
  status: string;
  sentence: string;
  /** Why it FAILED. */
  code?: string | undefined;
}

/**
 * Follows an object until it is READY, showing each sentence it says on the way.
 *
 * @throws AppError `timeout` with the last sentence, `no_host` when it FAILED
 */
export async function waitReady<T extends Waited>(context: Context, name: string, look: () => Promise<T>): Promise<T> {
  const end = Date.now() + context.timeoutMs;
  for (;;) {
    const seen = await look();
    if (seen.status === 'READY' || seen.status === 'DEGRADED') return seen;
    if (seen.status === 'FAILED')
      throw new AppError(isErrorCode(seen.code) ? seen.code : 'no_host', seen.sentence, { hint: 'xcaas nodes' });
    if (Date.now() >= end) {
      throw new AppError('timeout', `${name} is ${seen.status} after ${context.timeoutMs / 1000} s: ${seen.sentence}`, {
        hint: 'it is worked on further; look again, or give more --timeout',
      });
    }
    context.out.progress(`${name}: ${seen.sentence}`);
    await sleep(300);
  }
}

/** Waits until nothing is there any more. @param look throws `not_found` then */
export async function waitGone(context: Context, name: string, look: () => Promise<{ sentence: string }>): Promise<void> {
  try {
    await waitReady(context, name, async () => ({ status: 'PENDING', sentence: (await look()).sentence }));
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== 'not_found') throw error;
  }
}
