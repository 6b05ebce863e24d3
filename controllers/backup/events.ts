import type { NewEvent } from '#pool/events.ts';
import type { BackupRecordBase } from './schema.ts';

/** What has become of a backup, in a word: a change of it is worth an event. **Pure.** */
export function becameOf({ state, verify, deleting }: BackupRecordBase): string {
  if (deleting !== undefined) return 'deleting';
  if (state !== 'done') return state;
  if (verify?.state === 'failed') return `unverified ${verify.time}`;
  if (verify?.state === 'done') return `${verify.ok === true ? 'sound' : 'damaged'} ${verify.time}`;
  return 'done';
}

/** Of all backups, for the status: what the controller has told of. */
export function backupsSeen(backups: readonly BackupRecordBase[]): Record<string, string> {
  return Object.fromEntries(backups.map((record) => [record.id, becameOf(record)]));
}

/**
 * Pure: what became different since the controller looked last.
 *
 * @param object `db/adb`
 * @param before the status that it wrote then
 */
export function backupEvents(
  object: string,
  before: { backups?: Record<string, string> | undefined } | undefined,
  backups: readonly BackupRecordBase[],
): NewEvent[] {
  // A status of before there were such events says nothing of what was told.
  if (before === undefined) return [];
  return backups.flatMap((record): NewEvent[] => {
    const { id, store, bytes, error, verify } = record;
    const now = becameOf(record);
    const was = before.backups?.[id];
    if (now === was) return [];
    const [word] = now.split(' ');
    const said = verify?.sentence ?? '';
    switch (word) {
      case 'done':
        // Verified again, it was done long before.
        return was === undefined || was === 'asked' || was === 'running'
          ? [{ object, kind: 'info', reason: 'backup_made', sentence: `the backup ${id} is made: ${bytes} bytes in ${store}` }]
          : [];
      case 'failed':
        return [
          { object, kind: 'warning', reason: 'backup_failed', sentence: `the backup ${id} failed: ${error ?? 'it is not known why'}` },
        ];
      case 'sound':
        return [{ object, kind: 'info', reason: 'backup_verified', sentence: `the backup ${id} is sound: ${said}` }];
      case 'damaged':
        return [{ object, kind: 'warning', reason: 'backup_damaged', sentence: `the backup ${id} is damaged: ${said}` }];
      case 'unverified':
        return [{ object, kind: 'warning', reason: 'backup_unverified', sentence: `the backup ${id} could not be verified: ${said}` }];
      default:
        return [];
    }
  });
}

/** What somebody has to see to: the last backup could not be made, or the newest that there is was found damaged. **Pure.** */
export function backupAlarm(backups: readonly BackupRecordBase[]): string | undefined {
  const settled = backups.filter(({ state, deleting }) => deleting === undefined && (state === 'done' || state === 'failed'));
  const last = settled.toSorted((a, b) => a.id.localeCompare(b.id)).at(-1);
  if (last?.state === 'failed') return `its last backup failed: ${last.error ?? 'it is not known why'}`;
  if (last?.verify?.state === 'done' && last.verify.ok === false)
    return `its newest backup ${last.id} is damaged: ${last.verify.sentence ?? ''}`;
  return undefined;
}
