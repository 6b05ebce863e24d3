import { type BackupFigures, figuresOf } from '#backup/figures.ts';
import { createJobs, type Job as JobOf, repeat } from '#backup/jobs.ts';
import { expectAccount, type Place, placeOf, VOLUME } from '#backup/place.ts';
import { createBackupRecords } from '#backup/records.ts';
import { probeStore } from '#backup/stores/probe.ts';
import type { BackupStore } from '#backup/stores/store.ts';
import { unionStore } from '#backup/stores/union.ts';
import { openStore, type StoreCredentials } from '#backup/stores/url.ts';
import { AppError, messageOf } from '#core/errors.ts';
import { dbKeys } from '#xdb/store.ts';
import { chooseFrom, windowsOf } from '../choose.ts';
import type { RestoreWindow } from '../restore-plan.ts';
import { type ArchiveStatus, BackupRecord, type RestoreChoice, type RestoreWish } from '../schema.ts';
import { createArchiving } from './archiving.ts';
import type { BackupServiceDeps } from './deps.ts';
import { keepToPlan } from './keeping.ts';
import type { Situation } from './situation.ts';
import { doDelete, doFull, doVerify, type Job } from './work.ts';

export interface BackupService {
  start(): void;
  stop(): Promise<void>;
  archive(): ArchiveStatus;
  figures(): BackupFigures;
  /** What this member is doing. */
  job(): string | undefined;
  /** @throws AppError `not_found`, `invalid` outside of what can be restored, naming it */
  choose(wish: RestoreWish): Promise<RestoreChoice>;
  windows(): Promise<(RestoreWindow & { store: string })[]>;
  /** Whether this member can use a store. @throws AppError of the store; `invalid` when the address is wrong */
  probe(address: string, account: StoreCredentials | undefined): Promise<void>;
  /** This member's own backups, for other members. @throws AppError `unavailable` while they are not known */
  own(): BackupStore;
}

/** Commits of about so many milliseconds, and of the time that storing takes, are lost with a host on which alone they are. */
const ARCHIVE_MS = 3000;
/** Of one database; more are known only where its store or credentials change all the time. */
const MAX_PLACES = 10;

/** Backups of one member: it archives the binlog, does what records ask it for, and keeps to the plan. */
export function createBackupService(deps: BackupServiceDeps): BackupService {
  const { db, member, consul, credentials, situation, peers, paths, log, now = () => new Date() } = deps;
  const records = createBackupRecords(consul, BackupRecord, dbKeys(db));
  const archiving = createArchiving(deps, placeNow);
  /** By all that they are made from; the archiver goes on as long as its place is the same one. */
  const places = new Map<string, Place>();
  let archived: Promise<unknown> = Promise.resolve();
  const jobs = createJobs<BackupRecord, Situation>({
    ...{ member, records, situation, log, now },
    placeOf: placeNow,
    scheduled: (fields) => ({ ...fields, db }),
    work: {
      full: (job) => doFull(deps, jobOf(job)),
      verify: (job) => doVerify(deps, jobOf(job), readable(job.place).store),
      delete: (job) => doDelete(deps, jobOf(job)),
    },
    keep: ({ spec }, place, known, busy) => keepToPlan(deps, { place, known, records, keep: spec.backup.keep, busy }),
  });

  function jobOf({ present, ...job }: JobOf<BackupRecord, Situation>): Job {
    return { ...job, records, engineVersion: present.engineVersion };
  }

  /** @throws AppError `invalid` when what the specification says of the store cannot be used, `unavailable` while its account is on the way */
  function placeNow({ spec }: Pick<Situation, 'spec'>, address = spec.backup.store): Place {
    const secrets = credentials();
    expectAccount(spec, secrets);
    const key = JSON.stringify([spec.created, address, spec.backup.store, secrets?.store, secrets?.formerStores, secrets?.backupKeys]);
    const found = places.get(key) ?? placeOf(spec, secrets, { volume: paths.volume, address });
    if (!places.has(key)) {
      if (places.size >= MAX_PLACES) places.clear();
      places.set(key, found);
    }
    return found;
  }

  /** @throws AppError `unavailable` while nothing is known of the database */
  function expectSpec(): Pick<Situation, 'spec'> {
    const spec = deps.spec();
    if (spec === undefined) throw new AppError('unavailable', 'this member does not know its database yet');
    return { spec };
  }

  /** The place with everything that can be read from here. */
  function readable(place: Place): Place {
    if (!place.perMember) return place;
    const missing = (store: BackupStore, error: unknown) =>
      log.warn({ store: store.name, err: messageOf(error) }, 'backups of another member cannot be read');
    return { ...place, store: unionStore(place.store, peers, missing) };
  }

  return {
    start() {
      const turn = () => archiving.turn(jobs.known(), jobs.signal);
      archived = repeat({ everyMs: ARCHIVE_MS, turn, onError: archiving.failed, log, signal: jobs.signal });
      jobs.start();
    },
    async stop() {
      await Promise.all([jobs.stop(), archived]);
    },
    archive: archiving.status,
    figures: () => figuresOf(jobs.known()),
    job: jobs.running,
    choose: (wish) => chooseFrom(jobs.places(expectSpec()).map(readable), wish),
    windows: () => windowsOf(jobs.places(expectSpec()).map(readable)),
    async probe(address, account) {
      const store = openStore(address, { volume: paths.volume, ...(account === undefined ? {} : { credentials: account }) });
      await probeStore(store, db);
    },
    own: () => placeNow(expectSpec(), VOLUME).store,
  };
}
