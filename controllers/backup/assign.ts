import { VOLUME } from './place.ts';
import type { BackupRecordBase } from './schema.ts';

/** What is known of a service at a moment. */
export interface AssignWorld {
  spec: { members: readonly { id: string }[] };
  /** Who has everything beside the one that leads. */
  sync: string | undefined;
  /** Members whose sidecars live. */
  present: readonly string[];
}

/** What the leader's sidecar changes about the records of backups, so that somebody does each: **pure**. */
export type Assignment = { id: string; sentence: string } & (
  | { do: 'give'; member: string }
  | { do: 'fail'; error: string }
  | { do: 'fail_verify'; error: string }
  | { do: 'forget' }
);

/**
 * A full backup is made by the slave, so that the master is left alone; by the leader where there is no slave. What a member had begun and cannot end, because
 * it is not there any more, has failed.
 *
 * What lies on the volume of one member cannot be verified or deleted by another.
 *
 * @param absentMs how long a member has not been there, 0 when it is
 */
export function assignments(
  records: readonly BackupRecordBase[],
  { spec, sync, present }: AssignWorld,
  { me, absentMs }: { me: string; absentMs: (member: string) => number },
): Assignment[] {
  const worker = sync !== undefined && present.includes(sync) ? sync : me;
  const gone = (member: string) => absentMs(member) > ABSENT_MS;
  const isMember = (member: string) => spec.members.some(({ id }) => id === member);
  return records.flatMap((record): Assignment[] => {
    const { id, state, member, verify, deleting } = record;
    const perMember = record.store === VOLUME;
    if (state === 'asked' && (member === undefined || gone(member))) {
      return [{ id, do: 'give', member: worker, sentence: `${worker} makes the backup ${id}` }];
    }
    if (state === 'running' && member !== undefined && gone(member)) {
      return [{ id, do: 'fail', error: `${member} went away while it made it`, sentence: `the backup ${id} failed: ${member} went away` }];
    }
    if (member === undefined || state === 'running') return [];
    if (perMember && !isMember(member)) {
      return [{ id, do: 'forget', sentence: `the backup ${id} was on the volume of ${member}, which is no more` }];
    }
    if (!gone(member)) return [];
    // A store that all reach: somebody else verifies or deletes it.
    if (!perMember && (deleting !== undefined || verify?.state === 'asked')) {
      return [{ id, do: 'give', member: worker, sentence: `${worker} sees to the backup ${id}` }];
    }
    if (verify?.state === 'running') {
      return [
        {
          id,
          do: 'fail_verify',
          error: `${member} went away meanwhile`,
          sentence: `the verification of ${id} failed: ${member} went away`,
        },
      ];
    }
    return [];
  });
}

/** A member that restarts is not gone, in milliseconds. */
export const ABSENT_MS = 120_000;

/** What this member is to do next: what was asked for first, deletions before all. **Pure.** */
export function nextJob<R extends BackupRecordBase>(
  records: readonly R[],
  me: string,
): { job: 'full' | 'verify' | 'delete'; record: R } | undefined {
  const mine = records.filter(({ member }) => member === me);
  const doomed = mine.find(({ deleting, state }) => deleting !== undefined && state !== 'running');
  if (doomed !== undefined) return { job: 'delete', record: doomed };
  const asked = mine.find(({ state }) => state === 'asked');
  if (asked !== undefined) return { job: 'full', record: asked };
  const doubted = mine.find(({ state, verify }) => state === 'done' && verify?.state === 'asked');
  return doubted === undefined ? undefined : { job: 'verify', record: doubted };
}
