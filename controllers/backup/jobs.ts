import { messageOf } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import { sleep } from '#core/sleep.ts';
import { type AssignWorld, assignments, nextJob } from './assign.ts';
import { stale } from './figures.ts';
import type { Place } from './place.ts';
import type { BackupRecords } from './records.ts';
import { lastDue, scheduledId } from './schedule.ts';
import type { BackupPlan, BackupRecordBase } from './schema.ts';

/** What backups have to know of a service and of the member at a moment. */
export interface JobsSituation extends AssignWorld {
  spec: {
    name: string;
    created?: string | undefined;
    pausedUntil?: string | undefined;
    backup: BackupPlan;
    members: readonly { id: string }[];
  };
  /** This member leads. */
  leads: boolean;
  /** What it has is the leader's. */
  faithful: boolean;
}

/** One thing that is to be done with one backup. */
export interface Job<R, S> {
  record: R;
  place: Place;
  present: S;
  /** Says how far it is. */
  progress(sentence: string): void;
  signal: AbortSignal;
}

export interface JobsDeps<R extends BackupRecordBase, S extends JobsSituation> {
  member: string;
  records: BackupRecords<R>;
  /** Undefined while the member's engine or its records are not there. */
  situation(): S | undefined;
  /** @throws AppError `invalid` when the store cannot be used */
  placeOf(present: Pick<S, 'spec'>, address: string): Place;
  /** A record as the schedule asks for one. */
  scheduled(fields: BackupRecordBase): R;
  /** Each throws where it fails; what became of it is in the record. */
  work: Record<'full' | 'verify' | 'delete', (job: Job<R, S>) => Promise<void>>;
  /** Brings what is stored in one place and what the plan wants together. @param busy backup that this member works on */
  keep(present: S, place: Place, known: readonly R[], busy: string | undefined): Promise<void>;
  log: Logger;
  now?: (() => Date) | undefined;
}

export interface Jobs<R, S extends JobsSituation> {
  start(): void;
  stop(): Promise<void>;
  /** As they were last read, oldest first. */
  known(): readonly R[];
  /** What this member is doing. */
  running(): string | undefined;
  /** Aborts with {@link stop}. */
  readonly signal: AbortSignal;
  /** Where backups go now, and where others were left. @throws AppError where the first of them cannot be used */
  places(present: Pick<S, 'spec'>): Place[];
}

const JOBS_MS = 2000;
const KEEPING_MS = 30 * 60_000;

/** What records ask this member for, and what is due by the schedule; the leader sees to it that somebody does each. */
export function createJobs<R extends BackupRecordBase, S extends JobsSituation>(deps: JobsDeps<R, S>): Jobs<R, S> {
  const { member, records, situation, log, now = () => new Date() } = deps;
  const stopping = new AbortController();
  /** Since when members have not been there, monotonic milliseconds. */
  const absent = new Map<string, number>();
  let known: R[] = [];
  let running: { id: string; what: string; sentence: string } | undefined;
  const kept = { at: Number.NEGATIVE_INFINITY, done: '' };
  let checkedAt = 0;
  let verifiedAt = 0;
  let loop: Promise<unknown> = Promise.resolve();

  function places(present: Pick<S, 'spec'>): Place[] {
    const address = present.spec.backup.store;
    const former = known.flatMap(({ state, store }) => (state === 'done' && store !== address ? [store] : []));
    return [address, ...new Set(former)].flatMap((each) => {
      try {
        return [deps.placeOf(present, each)];
      } catch (error) {
        if (each === address) throw error;
        log.warn({ store: each, err: messageOf(error) }, 'a store of earlier backups cannot be used');
        return [];
      }
    });
  }

  async function turn(): Promise<void> {
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
    for (const place of places(present).filter(({ perMember }) => perMember || present.leads))
      await deps.keep(present, place, known, running?.id);
    // Only now: what could not be done is tried again.
    kept.done = done;
  }

  /** Every member does this; the record can be made only once. */
  async function askForWhatIsDue(present: S): Promise<void> {
    const { spec } = present;
    const { schedule } = spec.backup;
    const time = now();
    if (schedule === undefined || Date.parse(spec.pausedUntil ?? '') > time.getTime()) return;
    const made = known.filter(({ by }) => by === 'schedule').map(({ created }) => Date.parse(created));
    const due = lastDue(schedule, new Date(Math.max(checkedAt, Date.parse(spec.created ?? '') || 0, ...made)), time);
    checkedAt = time.getTime();
    if (due === undefined) return;
    const { shown } = deps.placeOf(present, spec.backup.store);
    await records.create(
      deps.scheduled({
        ...{ v: 1, id: scheduledId(spec.name, due), kind: 'full', by: 'schedule', state: 'asked', bytes: 0 },
        ...{ created: due.toISOString(), store: shown },
      }),
    );
  }

  /** Of the newest backup, by the leader: it alone sees to it that somebody does it. */
  async function askForVerification({ spec }: S): Promise<void> {
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

  async function assign(present: S): Promise<void> {
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

  function begin(what: 'full' | 'verify' | 'delete', record: R, present: S): void {
    const { id } = record;
    const place = deps.placeOf(present, what === 'full' ? present.spec.backup.store : record.store);
    running = { id, what, sentence: 'it begins' };
    const progress = (sentence: string) => {
      if (running !== undefined) running.sentence = sentence;
    };
    void deps.work[what]({ record, place, present, progress, signal: stopping.signal })
      .catch((error: unknown) => log.warn({ backup: id, job: what, err: messageOf(error) }, 'a job of backups failed'))
      .finally(() => {
        running = undefined;
      });
  }

  return {
    start() {
      loop = repeat({ everyMs: JOBS_MS, turn, log, signal: stopping.signal });
    },
    async stop() {
      stopping.abort();
      await loop;
    },
    known: () => known,
    running: () => running && `${running.what} ${running.id}: ${running.sentence}`,
    signal: stopping.signal,
    places,
  };
}

export interface RepeatOptions {
  everyMs: number;
  turn(): Promise<void>;
  onError?: (sentence: string) => void;
  log: Logger;
  signal: AbortSignal;
}

/** Turns one after another until it is stopped; the same complaint is logged once. */
export async function repeat({ everyMs, turn, onError, log, signal }: RepeatOptions): Promise<void> {
  let complaint = '';
  while (!signal.aborted) {
    try {
      await turn();
      complaint = '';
    } catch (error) {
      const text = messageOf(error);
      onError?.(text);
      if (text !== complaint && !signal.aborted) log.warn({ err: text }, 'backups');
      complaint = text;
    }
    await sleep(everyMs, signal);
  }
}

function verifyFailed<R extends BackupRecordBase>(record: R, sentence: string): R | undefined {
  return record.verify && { ...record, verify: { ...record.verify, state: 'failed', sentence } };
}
