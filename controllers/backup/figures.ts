import type { BackupRecordBase } from './schema.ts';

/** Of all backups of a service, for metrics. */
export interface BackupFigures {
  count: number;
  /** `finished`: milliseconds since 1970. */
  newest: { finished: number; bytes: number } | undefined;
  lastFailed: boolean;
  damaged: number;
}

/** Pure. @param known oldest first */
export function figuresOf(known: readonly BackupRecordBase[]): BackupFigures {
  const there = known.filter(({ deleting }) => deleting === undefined);
  const done = there.filter(({ state }) => state === 'done');
  const newest = done.at(-1);
  return {
    count: done.length,
    newest: newest?.finished === undefined ? undefined : { finished: Date.parse(newest.finished), bytes: newest.bytes },
    lastFailed: there.findLast(({ state }) => state === 'done' || state === 'failed')?.state === 'failed',
    damaged: done.filter(({ verify }) => verify?.state === 'done' && verify.ok === false).length,
  };
}

const KEPT_FAILURES = 5;

/** Of backups that could not be made, the last few are told of; those are forgotten that came before. **Pure.** @returns their ids */
export function stale(known: readonly BackupRecordBase[]): string[] {
  const failed = known.filter(({ state, deleting }) => state === 'failed' && deleting === undefined).map(({ id }) => id);
  return failed.toSorted().slice(0, Math.max(0, failed.length - KEPT_FAILURES));
}
