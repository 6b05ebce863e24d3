import type { DbRecords } from '#xdb/observe.ts';

/** What `db status` says of backups. */
export interface BackupSummary {
  store: string;
  schedule: string | null;
  keep: number;
  verify: string | null;
  backups: number;
  newest: { id: string; finished: string | null; bytes: number; verified: boolean | null } | null;
  /** Why the last one could not be made; null when it could. */
  failed: string | null;
  /** Of the member that archives best: what was committed after `time` is in no backup yet. */
  archive: { member: string; active: boolean; sentence: string; gtid: string | null; time: string | null; behindBytes: number } | null;
}

/** Pure. */
export function backupSummary({ spec, backups, sidecars }: Pick<DbRecords, 'spec' | 'backups' | 'sidecars'>): BackupSummary {
  const { store, schedule, keep, verify } = spec.value.backup;
  const known = backups.filter(({ deleting }) => deleting === undefined).toSorted((a, b) => a.id.localeCompare(b.id));
  const done = known.filter(({ state }) => state === 'done');
  const newest = done.at(-1);
  const last = known.findLast(({ state }) => state === 'done' || state === 'failed');
  return {
    ...{ store, keep, schedule: schedule ?? null, verify: verify ?? null, backups: done.length },
    newest:
      newest === undefined
        ? null
        : { id: newest.id, finished: newest.finished ?? null, bytes: newest.bytes, verified: newest.verify?.ok ?? null },
    failed: last?.state === 'failed' ? (last.error ?? 'it is not known why') : null,
    archive: archiveOf(sidecars),
  };
}

function archiveOf(sidecars: DbRecords['sidecars']): BackupSummary['archive'] {
  const said = sidecars.flatMap(({ member, archive }) => (archive === undefined ? [] : [{ member, ...archive }]));
  const best = said.toSorted((a, b) => Number(b.active) - Number(a.active) || (b.time ?? '').localeCompare(a.time ?? ''))[0];
  if (best === undefined) return null;
  const { member, active, sentence, gtid, time, behindBytes } = best;
  return { member, active, sentence, gtid: gtid ?? null, time: time ?? null, behindBytes };
}
