import type { BackupRecord } from '../schema.ts';

/** Of all backups of a database, for metrics. */
export interface BackupFigures {
  count: number;
  /** `finished`: milliseconds since 1970. */
  newest: { finished: number; bytes: number } | undefined;
  lastFailed: boolean;
  damaged: number;
}

/** Pure. @param known oldest first */
export function figuresOf(known: readonly BackupRecord[]): BackupFigures {
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
