import { join } from 'node:path';
import type { Place } from '#backup/place.ts';
import { type Archiver, createArchiver } from '../archive.ts';
import { DOMAIN } from '../choose.ts';
import { formatPosition, parsePosition } from '../position.ts';
import type { ArchiveStatus, BackupRecord } from '../schema.ts';
import type { BackupServiceDeps } from './deps.ts';
import type { Situation } from './situation.ts';

export interface Archiving {
  /** @throws AppError of the store or the binlog; the next turn begins anew */
  turn(records: readonly BackupRecord[], signal: AbortSignal): Promise<void>;
  failed(sentence: string): void;
  status(): ArchiveStatus;
}

/** Backups whose data are in that place. */
export function usable(records: readonly BackupRecord[], { shown }: Pick<Place, 'shown'>): BackupRecord[] {
  return records.filter(({ state, deleting, store }) => state === 'done' && deleting === undefined && store === shown);
}

/** Lets the archiver work when it is this member's job. */
export function createArchiving(
  { member, situation, paths, log, now = () => new Date() }: BackupServiceDeps,
  placeOf: (present: Situation) => Place,
): Archiving {
  const index = join(paths.data, 'binlog.index');
  let current: { place: Place; archiver: Archiver } | undefined;
  let status: ArchiveStatus = { member, active: false, sentence: 'it has not begun', behindBytes: 0 };

  function reasonNotTo(present: Situation | undefined, records: readonly BackupRecord[]): string | undefined {
    if (present === undefined) return 'the engine does not run';
    if (!present.faithful) return 'this member does not follow its leader yet';
    const place = placeOf(present);
    if (!place.perMember && !present.leads) return 'the leader archives';
    // Without a full backup binlogs restore nothing, and would fill the store.
    return usable(records, place).length === 0 ? 'there is no full backup yet' : undefined;
  }

  return {
    async turn(records, signal) {
      const present = situation();
      const why = reasonNotTo(present, records);
      if (present === undefined || why !== undefined) {
        await current?.archiver.turn(undefined, signal);
        const { failingSince: _, ...before } = status;
        status = { ...before, active: false, sentence: why ?? '', behindBytes: 0 };
        return;
      }
      const place = placeOf(present);
      if (current?.place !== place) {
        current = { place, archiver: createArchiver({ store: place.store, pack: place.pack, index, domain: DOMAIN, member, log }) };
      }
      const since = Math.min(...usable(records, place).map(({ gtid = '' }) => (gtid.includes(',') ? 0 : parsePosition(gtid).seq)));
      const { epoch, instance } = present;
      const { position, timestamp, behindBytes, gapBefore } = await current.archiver.turn({ epoch, instance, since }, signal);
      const gap = gapBefore === undefined ? '' : `; what was before ${formatPosition(gapBefore, DOMAIN)} was not archived in time`;
      status = {
        ...{ member, active: true, sentence: `it follows the binlog${gap}`, behindBytes },
        ...(position === undefined ? {} : { gtid: formatPosition(position, DOMAIN) }),
        ...(timestamp === undefined ? {} : { time: new Date(timestamp * 1000).toISOString() }),
      };
    },
    failed(sentence) {
      status = { ...status, active: false, sentence, failingSince: status.failingSince ?? now().toISOString() };
    },
    status: () => status,
  };
}
