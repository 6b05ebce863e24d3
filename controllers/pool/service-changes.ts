import { AppError } from '#core/errors.ts';
import { goesAt } from '#pool/service-destroyed.ts';

/** Longest that failover and maintenance may rest; somebody always forgets to resume. */
export const MAX_PAUSE_SECONDS = 7 * 86_400;

/** @throws AppError `invalid` */
export function pauseUntil(now: Date, seconds: number): string {
  if (seconds < 1 || seconds > MAX_PAUSE_SECONDS)
    throw new AppError('invalid', `a pause of ${seconds} s cannot be`, {
      hint: `give --for between 1s and ${MAX_PAUSE_SECONDS / 86_400}d`,
    });
  return new Date(now.getTime() + seconds * 1000).toISOString();
}

interface Destroyable {
  destroyed?: { time: string; keepData: boolean; purge: boolean } | undefined;
}

/** Pure: a specification that is destroyed, or is so again: it may only let its data go sooner. @throws AppError `usage` */
export function withDestroyed<Spec extends Destroyable>(
  spec: Spec,
  { keepData, purge }: { keepData: boolean; purge: boolean },
  now: Date,
): Spec {
  refuseBoth({ keepData, purge });
  const before = spec.destroyed;
  return {
    ...spec,
    destroyed: { time: before?.time ?? now.toISOString(), keepData: keepData || (!purge && (before?.keepData ?? false)), purge },
  };
}

/** @throws AppError `usage` */
export function refuseBoth({ keepData, purge }: { keepData: boolean; purge: boolean }): void {
  if (keepData && purge) throw new AppError('usage', '--keep-data and --purge exclude each other');
}

/** What is said of one that is being destroyed. */
export function destroyedEvent(name: string, { keepData, purge }: { keepData: boolean; purge: boolean }): string {
  const what = purge ? 'with its data' : keepData ? 'its data are kept' : 'its data are kept for a while';
  return `${name} is to be removed, ${what}`;
}

/** True once the data of one that was destroyed are being removed. */
export function isLetGo({ destroyed }: Destroyable, now: Date): boolean {
  const end = destroyed === undefined ? undefined : goesAt(destroyed);
  return end !== undefined && end <= now;
}
