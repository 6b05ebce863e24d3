import { type Attempt, attemptKey } from '../history/journal.ts';
import type { Gap } from '../history/writable.ts';
import { groupBy } from './group.ts';
import type { CacheState } from './state.ts';

export type CacheViolationKind =
  | 'lost'
  | 'torn'
  | 'twice'
  | 'order'
  | 'invented'
  | 'refused_present'
  | 'two_masters'
  | 'no_master'
  | 'changed_later'
  | 'members_differ';

export interface CacheViolation {
  kind: CacheViolationKind;
  about: string;
  sentence: string;
}

/** Who led by a record: an epoch, and the run of the engine. */
export interface Lead {
  epoch: number;
  member: string;
  run: string;
}

export interface CacheEvidence {
  /** Everything that the clients of this window tried. */
  attempts: readonly Attempt[];
  /** The master first. */
  states: readonly CacheState[];
  /** What earlier rounds held when they were checked. */
  verified?: readonly CacheState['rounds'][number][];
  /** All that was ever on record; none where no record says who leads, as in a cluster: then that is not held against anything. */
  leads?: readonly Lead[] | undefined;
  /** Times in which a write may have been acknowledged and be missing, by the stated bound. */
  mayLose?: readonly Gap[];
  /** The stated exception: times in which a member that was frozen whole had woken, and its supervisor may not have ended its engine yet. */
  waking?: readonly Gap[];
}

export interface CacheVerdict {
  violations: CacheViolation[];
  acked: number;
  refused: number;
  unknown: { there: number; missing: number };
  /** Acknowledged and missing, within the bound. */
  excused: number;
  /** Longest time for which a master was seen to acknowledge writes begun after a newer one's first acknowledgement, ms. */
  besideMs: number;
}

type Report = (kind: CacheViolationKind, about: string, sentence: string) => void;

/** Holds what clients saw against what the members have. Everything that may be said about a history without knowing how it came about. */
export function check({ attempts, states, verified = [], leads, mayLose = [], waking = [] }: CacheEvidence): CacheVerdict {
  const violations: CacheViolation[] = [];
  const report: Report = (kind, about, sentence) => void violations.push({ kind, about, sentence });
  const [master, ...others] = states;
  if (master === undefined) throw new Error('a verdict needs the state of a member');
  const present = checkKept(attempts, master, report);
  let excused = 0;
  for (const attempt of attempts) {
    const id = attemptKey(attempt);
    if (attempt.outcome === 'refused' && present.has(id))
      report('refused_present', id, `its client was told that it failed (${attempt.why}), and it is there`);
    if (attempt.outcome !== 'acked' || present.has(id)) continue;
    const at = attempt.endedAt ?? 0;
    if (isWithin(at, mayLose)) excused += 1;
    else report('lost', id, `acknowledged by ${named(attempt.run, leads)}${beyond(at, mayLose)} and not there`);
  }
  const besideMs = leads === undefined ? 0 : checkMasters(attempts, leads, waking, report);
  checkRounds(master, verified, report);
  for (const other of others)
    if (other.digest !== master.digest)
      report('members_differ', other.member, `its keys have the digest ${other.digest}, those of ${master.member} ${master.digest}`);
  const count = (outcome: Attempt['outcome']) => attempts.filter((one) => one.outcome === outcome);
  const unknown = count('unknown');
  const there = unknown.filter((one) => present.has(attemptKey(one))).length;
  return {
    ...{ violations, acked: count('acked').length, refused: count('refused').length, excused, besideMs },
    unknown: { there, missing: unknown.length - there },
  };
}

const isWithin = (at: number, gaps: readonly Gap[]) => gaps.some(({ from, to }) => at >= from && at <= to);

/** @returns what is there, as `client/worker/seq` */
function checkKept(attempts: readonly Attempt[], { kept }: CacheState, report: Report): Set<string> {
  const tried = new Map(attempts.map((one) => [`${one.round}/${attemptKey(one)}`, one]));
  const present = new Set<string>();
  for (const { round, client, worker, numbers, count } of kept) {
    const own = new Set<number>();
    let last = 0;
    for (const seq of numbers) {
      const id = attemptKey({ client, worker, seq });
      const attempt = tried.get(`${round}/${id}`);
      if (own.has(seq)) report('twice', id, `it is there more than once in round ${round}`);
      // What nobody answered may be done late: it is sent again by the kernel when the network is healed, though its client has given up.
      else if (seq < last && attempt?.outcome === 'acked') report('order', id, `it stands after ${last}`);
      if (attempt === undefined) report('invented', id, `nobody ever tried it in round ${round}`);
      own.add(seq);
      present.add(id);
      if (attempt?.outcome === 'acked') last = Math.max(last, seq);
    }
    if (count !== numbers.length)
      report('torn', `${client}/${worker} in round ${round}`, `${numbers.length} numbers, and a count of ${count}`);
  }
  return present;
}

/**
 * At no time do two take writes: who begins a write after a newer master's first acknowledgement is answered by that one or a newer one. Each acknowledgement is given the lowest epoch that it
 * can have been given in: a master may come back, but only in an epoch of its own.
 */
function checkMasters(attempts: readonly Attempt[], leads: readonly Lead[], waking: readonly Gap[], report: Report): number {
  const epochs = groupBy(
    [...leads].sort((a, b) => a.epoch - b.epoch),
    ({ run }) => run,
  );
  const acked = attempts.filter((one) => one.outcome === 'acked' && one.endedAt !== undefined && one.run !== undefined);
  /** Acknowledgements by when they came, each with its epoch once that is known. */
  const ends: { at: number; epoch: number }[] = [];
  const beside = new Map<string, { first: Attempt; last: Attempt; count: number; since: number; newer: number }>();
  const strangers = new Map<string, number>();
  /** The newest epoch that is known to have begun, of all acknowledgements until a time. */
  let newest = { epoch: 0, at: 0 };
  for (const one of [...acked].sort((a, b) => a.beganAt - b.beganAt)) {
    const run = one.run!;
    for (let i = ends.length - 1; i >= 0; i--) {
      const end = ends[i]!;
      if (end.at >= one.beganAt) continue;
      ends.splice(i, 1);
      if (end.epoch > newest.epoch || (end.epoch === newest.epoch && end.at < newest.at)) newest = end;
    }
    const own = epochs.get(run);
    if (own === undefined) {
      strangers.set(run, (strangers.get(run) ?? 0) + 1);
      continue;
    }
    const epoch = own.find((lead) => lead.epoch >= newest.epoch)?.epoch;
    if (epoch !== undefined) {
      ends.push({ at: one.endedAt!, epoch });
      continue;
    }
    if (isWithin(one.endedAt!, waking)) continue;
    const known = beside.get(`${run}/${newest.epoch}`);
    if (known === undefined)
      beside.set(`${run}/${newest.epoch}`, { first: one, last: one, count: 1, since: newest.at, newer: newest.epoch });
    else Object.assign(known, { last: one, count: known.count + 1 });
  }
  for (const [run, count] of strangers)
    report('no_master', named(run, leads), `${count} writes were acknowledged by it, and no record ever named it`);
  let longest = 0;
  for (const { first, last, count, since, newer } of beside.values()) {
    const ms = last.endedAt! - since;
    longest = Math.max(longest, ms);
    const other = leads.find(({ epoch }) => epoch === newer);
    report(
      'two_masters',
      attemptKey(first),
      `${named(first.run, leads)} acknowledged ${count} writes that were begun after ${other?.member} had acknowledged one in epoch ${newer}, until ${Math.round(ms)} ms after that`,
    );
  }
  return longest;
}

function checkRounds({ member, rounds }: CacheState, verified: NonNullable<CacheEvidence['verified']>, report: Report): void {
  const present = new Map(rounds.map((round) => [round.round, round]));
  for (const { round, numbers, digest } of verified) {
    const is = present.get(round) ?? { numbers: 0, digest: '' };
    if (is.digest !== digest)
      report(
        'changed_later',
        `round ${round}`,
        `${member} has ${is.numbers} numbers of it; when it was checked there were ${numbers}, or others`,
      );
  }
}

function named(run: string | undefined, leads: readonly Lead[] = []): string {
  const own = leads.filter((lead) => lead.run === run);
  return own.length === 0 ? `the engine ${run}` : `${own[0]!.member} (epoch ${own.map(({ epoch }) => epoch).join(', ')})`;
}

/** How far outside of the nearest time in which it might be lost. */
function beyond(at: number, mayLose: readonly Gap[]): string {
  const off = mayLose.map(({ from, to }) => (at < from ? { ms: from - at, word: 'before' } : { ms: at - to, word: 'after' }));
  const [nearest] = off.sort((a, b) => a.ms - b.ms);
  return nearest === undefined ? '' : ` ${Math.round(nearest.ms)} ms ${nearest.word} the time in which it may be lost`;
}

const NAMED = 5;

/** A verdict in a line. */
export function describeVerdict({ violations, acked, refused, unknown, excused }: CacheVerdict): string {
  const counts = `${acked} acknowledged, ${refused} refused, ${unknown.there + unknown.missing} unknown (${unknown.there} there)`;
  const bound = excused === 0 ? '' : `, ${excused} lost within the bound`;
  if (violations.length === 0) return `${counts}${bound}; nothing is wrong`;
  const kinds = groupBy(violations, ({ kind }) => kind);
  const named = [...kinds.values()]
    .flatMap((list) => list.slice(0, NAMED))
    .map(({ kind, about, sentence }) => `${kind} ${about}: ${sentence}`);
  return `${counts}${bound}; ${[...kinds].map(([kind, list]) => `${list.length} ${kind}`).join(', ')}\n  ${named.join('\n  ')}`;
}
