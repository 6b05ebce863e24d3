import { assignments, nextJob } from '#backup/assign.ts';
import { type BackupFigures, figuresOf, stale } from '#backup/figures.ts';
import { lastDue, scheduledId } from '#backup/schedule.ts';
import { probeStore } from '#backup/stores/probe.ts';
import type { BackupStore } from '#backup/stores/store.ts';
import { unionStore } from '#backup/stores/union.ts';
import { openStore, type StoreCredentials } from '#backup/stores/url.ts';
import { AppError, messageOf } from '#core/errors.ts';
import { sleep } from '#core/sleep.ts';
import { chooseFrom, windowsOf } from '../choose.ts';
import type { RestoreWindow } from '../restore-plan.ts';
import type { ArchiveStatus, BackupRecord, RestoreChoice, RestoreWish } from '../schema.ts';
import { createArchiving } from './archiving.ts';
import type { BackupServiceDeps } from './deps.ts';
import { keepToPlan } from './keeping.ts';
import { type Place, placeOf, VOLUME } from './place.ts';
import { createBackupRecords } from './records.ts';
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
const JOBS_MS = 2000;
const KEEPING_MS = 30 * 60_000;
/** Of one database; more are known only where its store or credentials change all the time. */
const MAX_PLACES = 10;

/** Backups of one member: it archives the binlog, does what records ask it for, and keeps to the plan. */
export function createBackupService(deps: BackupServiceDeps): BackupService {
  const { db, member, consul, credentials, situation, peers, paths, log, now = () => new Date() } = deps;
  const records = createBackupRecords(consul, db);
  const stopping = new AbortController();
  const archiving = createArchiving(deps, placeNow);
  /** Since when members have not been there, monotonic milliseconds. */
  const absent = new Map<string, number>();
  /** By all that they are made from; the archiver goes on as long as its place is the same one. */
  const places = new Map<string, Place>();
  let known: BackupRecord[] = [];
  let running: { id: string; what: string; sentence: string } | undefined;
  const kept = { at: Number.NEGATIVE_INFINITY, done: '' };
  let checkedAt = 0;
  let verifiedAt = 0;
  let loops: Promise<unknown> = Promise.resolve();

  /** @throws AppError `invalid` when what the specification says of the store cannot be used */
  function placeNow({ spec }: Pick<Situation, 'spec'>, address = spec.backup.store): Place {
    const secrets = credentials();
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

  /** Where backups go now, and where others were left. */
  function allPlaces(present: Pick<Situation, 'spec'>): Place[] {
    const now = present.spec.backup.store;
    const former = known.flatMap(({ state, store }) => (state === 'done' && store !== now ? [store] : []));
    return [now, ...new Set(former)].flatMap((address) => {
      try {
        return [placeNow(present, address)];
      } catch (error) {
        if (address === now) throw error;
        log.warn({ store: address, err: messageOf(error) }, 'a store of earlier backups cannot be used');
        return [];
      }
    });
  }

  /** The place with everything that can be read from here. */
  function readable(place: Place): Place {
    if (!place.perMember) return place;
    const missing = (store: BackupStore, error: unknown) =>
      log.warn({ store: store.name, err: messageOf(error) }, 'backups of another member cannot be read');
    return { ...place, store: unionStore(place.store, peers, missing) };
  }

  async function jobsTurn(): Promise<void> {
    known = (await records.list()).map(({ value }) => value);
    const present = situation();
    if (present === undefined) return;
    await askForWhatIsDue(present);
    if (present.leads) await askForVerification(present);
    if (present.leads) await assign(present);
    await settleOwn();
    const next = running === undefined ? nextJob(known, member) : undefined;
    if (next !== undefined) begin(next.job, next.record, present);
    // Whoever made it: a backup more may make another one too many.
    const done = known.flatMap(({ id, state }) => (state === 'done' ? [id] : [])).join();
    if (!present.faithful || (performance.now() - kept.at < KEEPING_MS && kept.done === done)) return;
    kept.at = performance.now();
    if (present.leads) for (const id of stale(known)) await records.remove(id);
    for (const place of allPlaces(present).filter(({ perMember }) => perMember || present.leads)) {
      await keepToPlan(deps, { place, known, records, keep: present.spec.backup.keep, busy: running?.id });
    }
    // Only now: what could not be done is tried again.
    kept.done = done;
  }

  /** Every member does this; the record can be made only once. */
  async function askForWhatIsDue({ spec }: Situation): Promise<void> {
    const { schedule } = spec.backup;
    const time = now();
    if (schedule === undefined || Date.parse(spec.pausedUntil ?? '') > time.getTime()) return;
    const made = known.filter(({ by }) => by === 'schedule').map(({ created }) => Date.parse(created));
    const due = lastDue(schedule, new Date(Math.max(checkedAt, Date.parse(spec.created ?? '') || 0, ...made)), time);
    checkedAt = time.getTime();
    if (due === undefined) return;
    const id = scheduledId(db, due);
    const { shown } = placeNow({ spec });
    await records.create({
      v: 1,
      id,
      db,
      kind: 'full',
      by: 'schedule',
      state: 'asked',
      created: due.toISOString(),
      bytes: 0,
      store: shown,
    });
  }

  /** Of the newest backup, by the leader: it alone sees to it that somebody does it. */
  async function askForVerification({ spec }: Situation): Promise<void> {
    const { verify: schedule } = spec.backup;
    const newest = known.findLast(({ state, deleting }) => state === 'done' && deleting === undefined);
    const time = now();
    if (schedule === undefined || newest === undefined || Date.parse(spec.pausedUntil ?? '') > time.getTime()) return;
    const before = known.map(({ verify }) => Date.parse(verify?.time ?? '') || 0);
    const due = lastDue(schedule, new Date(Math.max(verifiedAt, Date.parse(spec.created ?? '') || 0, ...before)), time);
    verifiedAt = time.getTime();
    if (due === undefined) return;
    await records.change(newest.id, (record) =>
      record.verify?.state === 'asked' || record.verify?.state === 'running'
        ? undefined
        : { ...record, verify: { state: 'asked', time: time.toISOString() } },
    );
  }

  async function assign(present: Situation): Promise<void> {
    const time = performance.now();
    for (const { member: id } of known) {
      if (id === undefined) continue;
      if (present.present.includes(id)) absent.delete(id);
      else if (!absent.has(id)) absent.set(id, time);
    }
    const absentMs = (id: string) => time - (absent.get(id) ?? time);
    for (const step of assignments(known, present, { me: member, absentMs })) {
      log.info({ backup: step.id, sentence: step.sentence }, 'backups');
      if (step.do === 'forget') await records.remove(step.id);
      else if (step.do === 'give') await records.change(step.id, (record) => ({ ...record, member: step.member }));
      else if (step.do === 'fail') await records.change(step.id, (record) => ({ ...record, state: 'failed', error: step.error }));
      else await records.change(step.id, (record) => verifyFailed(record, step.error));
    }
  }

  /** What an earlier life of this sidecar had begun. */
  async function settleOwn(): Promise<void> {
    const error = 'the sidecar was started anew meanwhile';
    for (const { id, member: by, state, verify } of known) {
      if (by !== member || running?.id === id) continue;
      if (state === 'running') await records.change(id, (record) => ({ ...record, state: 'failed', error }));
      if (verify?.state === 'running') await records.change(id, (record) => verifyFailed(record, error));
    }
  }

  function begin(what: 'full' | 'verify' | 'delete', record: BackupRecord, present: Situation): void {
    const { id } = record;
    const place = placeNow(present, what === 'full' ? present.spec.backup.store : record.store);
    running = { id, what, sentence: 'it begins' };
    const job: Job = {
      ...{ record, records, place, engineVersion: present.engineVersion, signal: stopping.signal },
      progress(sentence) {
        if (running !== undefined) running.sentence = sentence;
      },
    };
    const doing =
      what === 'full' ? doFull(deps, job) : what === 'verify' ? doVerify(deps, job, readable(place).store) : doDelete(deps, job);
    void doing
      .catch((error: unknown) => log.warn({ backup: id, job: what, err: messageOf(error) }, 'a job of backups failed'))
      .finally(() => {
        running = undefined;
      });
  }

  async function repeat(everyMs: number, turn: () => Promise<void>, onError: (sentence: string) => void): Promise<void> {
    let complaint = '';
    while (!stopping.signal.aborted) {
      try {
        await turn();
        complaint = '';
      } catch (error) {
        const text = messageOf(error);
        onError(text);
        if (text !== complaint && !stopping.signal.aborted) log.warn({ err: text }, 'backups');
        complaint = text;
      }
      await sleep(everyMs, stopping.signal);
    }
  }

  return {
    start() {
      const archive = repeat(ARCHIVE_MS, () => archiving.turn(known, stopping.signal), archiving.failed);
      loops = Promise.all([archive, repeat(JOBS_MS, jobsTurn, () => undefined)]);
    },
    async stop() {
      stopping.abort();
      await loops;
    },
    archive: archiving.status,
    figures: () => figuresOf(known),
    job: () => running && `${running.what} ${running.id}: ${running.sentence}`,
    choose: (wish) => chooseFrom(allPlaces(expectSpec()).map(readable), wish),
    windows: () => windowsOf(allPlaces(expectSpec()).map(readable)),
    async probe(address, account) {
      const store = openStore(address, { volume: paths.volume, ...(account === undefined ? {} : { credentials: account }) });
      await probeStore(store, db);
    },
    own: () => placeNow(expectSpec(), VOLUME).store,
  };
}

function verifyFailed(record: BackupRecord, sentence: string): BackupRecord | undefined {
  return record.verify && { ...record, verify: { ...record.verify, state: 'failed', sentence } };
}
