import type { Context } from '#cli/command.ts';
import { createAgeOf } from '#core/age-of.ts';
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

/** Milliseconds for which a service with data has to be DEGRADED to be taken at its word: while members come up, one look may find less than the next. */
const REST_MS = 3000;

/** A service with data as its API shows it. */
export interface ServiceSeen extends Waited {
  members: readonly { id: string; changing: boolean }[];
}

/**
 * Waits until a service with data is as it was asked for: every member has the last change, and it is no worse than before. One that was not whole before need not be READY, but
 * DEGRADED for longer than a moment. One whose maintenance rests is not waited for.
 *
 * @param before how it was before the change: READY then is READY again
 * @param settled what must be so besides
 * @param isWhole what every change has to come back to
 */
export async function waitSettled<V extends ServiceSeen>(
  context: Context,
  name: string,
  look: () => Promise<V>,
  {
    before,
    settled,
    isWhole = () => true,
  }: { before?: { status: string } | undefined; settled: (seen: V) => boolean; isWhole?: (seen: V) => boolean },
): Promise<V> {
  const degradedFor = createAgeOf();
  return waitReady(context, name, async () => {
    const seen = await look();
    const rests = seen.status === 'PAUSED';
    const changing = seen.members.filter((member) => member.changing).map((member) => member.id);
    const isWorse = before?.status === 'READY' && seen.status === 'DEGRADED';
    const isDone = seen.status === 'FAILED' || (settled(seen) && ((changing.length === 0 && isWhole(seen) && !isWorse) || rests));
    const isDegraded = isDone && seen.status === 'DEGRADED';
    const ageMs = degradedFor(isDegraded ? seen.status : undefined);
    if (isDone && (!isDegraded || ageMs >= REST_MS)) return rests ? { ...seen, status: 'READY' } : seen;
    const sentence = changing.length > 0 ? `${changing.join(', ')} has yet to be changed; ${seen.sentence}` : seen.sentence;
    return { ...seen, status: 'PENDING', sentence };
  });
}
