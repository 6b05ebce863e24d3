import { VOLUME } from './place.ts';
import type { BackupRecordBase } from './schema.ts';

/** A backup as the API shows it, whatever the service. */
export interface BackupViewBase {
  id: string;
  state: 'asked' | 'running' | 'done' | 'failed' | 'deleting';
  by: BackupRecordBase['by'];
  created: string;
  finished: string | null;
  bytes: number;
  encrypted: boolean | null;
  member: string | null;
  store: string;
  engineVersion: string | null;
  error: string | null;
  verify: { state: 'asked' | 'running' | 'done' | 'failed'; ok: boolean | null; time: string; sentence: string } | null;
  sentence: string;
}

/** Pure. */
export function backupViewOf(record: BackupRecordBase): BackupViewBase {
  const { id, by, created, finished, bytes, encrypted, member, store, engineVersion, error, verify, deleting } = record;
  return {
    ...{ id, by, created, bytes, store },
    state: deleting === undefined ? record.state : 'deleting',
    finished: finished ?? null,
    encrypted: encrypted ?? null,
    member: member ?? null,
    engineVersion: engineVersion ?? null,
    error: error ?? null,
    verify:
      verify === undefined ? null : { state: verify.state, ok: verify.ok ?? null, time: verify.time, sentence: verify.sentence ?? '' },
    sentence: backupSentence(record),
  };
}

export function backupSentence({ id, state, member, error, bytes, verify, deleting, store }: BackupRecordBase): string {
  const where = store === VOLUME && member !== undefined ? `the volume of ${member}` : store;
  if (deleting !== undefined) return `the backup ${id} is being deleted`;
  if (state === 'asked') return `the backup ${id} is asked for${member === undefined ? '' : ` of ${member}`}`;
  if (state === 'running') return `${member} makes the backup ${id}: ${bytes} bytes are stored`;
  if (state === 'failed') return `the backup ${id} failed: ${error ?? 'it is not known why'}`;
  if (verify?.state === 'asked') return `the backup ${id} is to be verified`;
  if (verify?.state === 'running') return `${member} verifies the backup ${id}`;
  if (verify?.state === 'failed') return `the backup ${id} could not be verified: ${verify.sentence ?? ''}`;
  if (verify?.state === 'done') return `the backup ${id} is ${verify.ok === true ? 'sound' : 'damaged'}: ${verify.sentence ?? ''}`;
  return `the backup ${id} is on ${where}, ${bytes} bytes`;
}
