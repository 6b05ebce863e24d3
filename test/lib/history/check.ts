import { type Attempt, attemptKey } from './journal.ts';
import type { Chain, Found, MemberState } from './state.ts';
import { TABLES } from './tables.ts';
import type { Gap } from './writable.ts';

export type ViolationKind =
  | 'lost'
  | 'torn'
  | 'twice'
  | 'invented'
  | 'refused_present'
  | 'chain'
  | 'two_writers'
  | 'epoch_back'
  | 'gtid_twice'
  | 'changed_later'
  | 'members_differ';

export interface Violation {
  kind: ViolationKind;
  /** `client/worker/seq`, or what it is about. */
  about: string;
  sentence: string;
}

export interface Evidence {
  /** Everything that the clients of this window tried. */
  attempts: readonly Attempt[];
  /** The master first. */
  states: readonly MemberState[];
  /** What earlier rounds held when they were checked. */
  verified?: readonly MemberState['rounds'][number][];
  /** Times in which somebody KILLed sessions that waited for their acknowledgement: the promise's stated exception. */
  excused?: readonly Gap[];
}

export interface Verdict {
  violations: Violation[];
  acked: number;
  refused: number;
  /** Outcomes the clients do not know, by what became of them. */
  unknown: { there: number; missing: number };
  /** Acknowledged and missing, within the stated exception. */
  excused: number;
}

/** Holds what clients saw against what the members have. Everything that may be said about a history without knowing how it came about. */
export function check({ attempts, states, verified = [], excused = [] }: Evidence): Verdict {
  const violations: Violation[] = [];
  const report = (kind: ViolationKind, about: string, sentence: string) => void violations.push({ kind, about, sentence });
  const [master, ...others] = states;
  if (master === undefined) throw new Error('a verdict needs the state of a member');
  const found = new Map(master.found.map((one) => [attemptKey(one), one]));
  const tried = new Map(attempts.map((one) => [attemptKey(one), one]));
  const lost = checkPresence({ attempts, tried, found, excused }, report);
  checkChains({ attempts, found, lost: lost.keys, chains: master.chains }, report);
  checkEpochs(attempts, master.found, report);
  checkGtids(attempts, report);
  checkRounds(master, verified, report);
  for (const other of others) compare(master, other, report);
  const count = (outcome: Attempt['outcome']) => attempts.filter((one) => one.outcome === outcome);
  const unknown = count('unknown');
  const there = unknown.filter((one) => found.has(attemptKey(one))).length;
  return {
    violations,
    acked: count('acked').length,
    refused: count('refused').length,
    unknown: { there, missing: unknown.length - there },
    excused: lost.excused,
  };
}

type Report = (kind: ViolationKind, about: string, sentence: string) => void;

interface Presence {
  attempts: readonly Attempt[];
  tried: ReadonlyMap<string, Attempt>;
  found: ReadonlyMap<string, Found>;
  excused: readonly Gap[];
}

/** @returns what was acknowledged and is missing */
function checkPresence({ attempts, tried, found, excused }: Presence, report: Report): { keys: Set<string>; excused: number } {
  const keys = new Set<string>();
  let within = 0;
  for (const attempt of attempts) {
    const id = attemptKey(attempt);
    const there = found.get(id);
    if (there === undefined) {
      if (attempt.outcome !== 'acked') continue;
      keys.add(id);
      const at = attempt.endedAt ?? 0;
      if (excused.some(({ from, to }) => at >= from && at <= to)) within++;
      else report('lost', id, `acknowledged${by(attempt)} and not there`);
      continue;
    }
    if (attempt.outcome === 'refused')
      report('refused_present', id, `its client was told that it failed (${attempt.why}), and it is there`);
    if (there.rows > there.distinct) report('twice', id, `${there.rows} rows of ${there.distinct} parts`);
    const whole = there.distinct === attempt.rows && there.parts === attempt.rows && (there.key || !attempt.chain);
    if (!whole) report('torn', id, `${there.distinct} of ${attempt.rows} rows${attempt.chain && !there.key ? ', without its key' : ''}`);
  }
  for (const id of found.keys()) if (!tried.has(id)) report('invented', id, 'nobody ever tried it');
  return { keys, excused: within };
}

const by = ({ server, epoch }: Attempt) =>
  server === undefined ? '' : ` by server ${server}${epoch === undefined ? '' : ` in epoch ${epoch}`}`;

interface Chains {
  attempts: readonly Attempt[];
  found: ReadonlyMap<string, Found>;
  lost: ReadonlySet<string>;
  chains: readonly Chain[];
}

/** Every transaction of a chain read the one that is there before it; the chain's end and count are those of what is there. */
function checkChains({ attempts, found, lost, chains }: Chains, report: Report): void {
  const workers = new Map<string, Attempt[]>();
  for (const attempt of attempts) {
    if (!attempt.chain) continue;
    const id = `${attempt.client}/${attempt.worker}`;
    const list = workers.get(id);
    if (list) list.push(attempt);
    else workers.set(id, [attempt]);
  }
  const ends = new Map(chains.map((chain) => [`${chain.client}/${chain.worker}`, chain]));
  for (const [worker, list] of workers) {
    list.sort((a, b) => a.seq - b.seq);
    let last = 0;
    let present = 0;
    for (const attempt of list) {
      const id = attemptKey(attempt);
      if (attempt.previous !== undefined && attempt.previous !== last && !lost.has(`${worker}/${attempt.previous}`))
        report('chain', id, `it read ${attempt.previous} before it, and ${last} is there before it`);
      if (!found.has(id)) continue;
      last = attempt.seq;
      present++;
    }
    const end = ends.get(worker) ?? { seq: 0, n: 0 };
    if (end.seq !== last) report('chain', worker, `the chain ends with ${end.seq}, its last transaction is ${last}`);
    else if (end.n !== present) report('chain', worker, `the chain counts ${end.n} transactions, ${present} are there`);
  }
}

function checkEpochs(attempts: readonly Attempt[], found: readonly Found[], report: Report): void {
  const writers = new Map<number, Map<number, string>>();
  const wrote = (epoch: number | undefined, server: number | undefined, id: string) => {
    if (epoch === undefined || server === undefined) return;
    const known = writers.get(epoch) ?? new Map<number, string>();
    if (!known.has(server)) known.set(server, id);
    writers.set(epoch, known);
  };
  const acked = attempts.filter((one) => one.outcome === 'acked' && one.epoch !== undefined && one.endedAt !== undefined);
  for (const one of acked) wrote(one.epoch, one.server, attemptKey(one));
  for (const one of found) wrote(one.epoch, one.server, attemptKey(one));
  for (const [epoch, servers] of writers) {
    if (servers.size < 2) continue;
    const each = [...servers].map(([server, id]) => `${server} (${id})`).join(', ');
    report('two_writers', `epoch ${epoch}`, `${servers.size} servers wrote in it: ${each}`);
  }
  // By the clock: what began after a newer epoch's commit was acknowledged, and was acknowledged itself.
  const ends = acked.map((one) => ({ at: one.endedAt!, epoch: one.epoch!, id: attemptKey(one) })).sort((a, b) => a.at - b.at);
  const begins = [...acked].sort((a, b) => a.beganAt - b.beganAt);
  let newest: (typeof ends)[number] | undefined;
  let next = 0;
  for (const one of begins) {
    while (next < ends.length && ends[next]!.at < one.beganAt) {
      const end = ends[next++]!;
      if (newest === undefined || end.epoch > newest.epoch) newest = end;
    }
    if (newest !== undefined && one.epoch! < newest.epoch)
      report('epoch_back', attemptKey(one), `in epoch ${one.epoch}, begun after ${newest.id} was acknowledged in epoch ${newest.epoch}`);
  }
}

/** By the log: each position once, and epochs in order along it. */
function checkGtids(attempts: readonly Attempt[], report: Report): void {
  const placed = attempts.flatMap((attempt) => {
    const [, domain, server, seq] = /^(\d+)-(\d+)-(\d+)$/.exec(attempt.gtid ?? '') ?? [];
    return attempt.outcome === 'acked' && seq !== undefined ? [{ attempt, domain: domain!, server: Number(server), seq: BigInt(seq) }] : [];
  });
  placed.sort((a, b) => a.domain.localeCompare(b.domain) || (a.seq < b.seq ? -1 : a.seq > b.seq ? 1 : 0));
  for (const [at, one] of placed.entries()) {
    const id = attemptKey(one.attempt);
    if (one.attempt.server !== undefined && one.attempt.server !== one.server)
      report('two_writers', id, `server ${one.attempt.server} ran it, and its place in the log, ${one.attempt.gtid}, is of another`);
    const before = placed[at - 1];
    if (before === undefined || before.domain !== one.domain) continue;
    if (before.seq === one.seq)
      report('gtid_twice', id, `${one.attempt.gtid} is also ${attemptKey(before.attempt)} (${before.attempt.gtid})`);
  }
  // Only against other servers: one that gets its own place back may finish in a new epoch what it began in an old one.
  const newest = new Map<string, (typeof placed)[number]>();
  for (const one of placed) {
    const epoch = one.attempt.epoch;
    if (epoch === undefined) continue;
    const later = [...newest.values()].find(
      (other) => other.domain === one.domain && other.server !== one.server && other.attempt.epoch! > epoch,
    );
    if (later !== undefined)
      report(
        'epoch_back',
        attemptKey(one.attempt),
        `${one.attempt.gtid} is of epoch ${epoch}, ${later.attempt.gtid} before it of ${later.attempt.epoch}`,
      );
    const own = `${one.domain}-${one.server}`;
    if (epoch >= (newest.get(own)?.attempt.epoch ?? 0)) newest.set(own, one);
  }
}

function checkRounds({ member, rounds }: MemberState, verified: NonNullable<Evidence['verified']>, report: Report): void {
  const present = new Map(rounds.map((round) => [round.round, round]));
  for (const { round, rows, sum } of verified) {
    const is = present.get(round) ?? { rows: 0, sum: '' };
    if (is.rows !== rows || is.sum !== sum)
      report(
        'changed_later',
        `round ${round}`,
        `${member} has ${is.rows} rows of it (sum ${is.sum}); when it was checked there were ${rows} (sum ${sum})`,
      );
  }
}

/** Further differences than this are counted, not named. */
const NAMED = 5;

function compare(a: MemberState, b: MemberState, report: Report): void {
  for (const table of Object.values(TABLES)) {
    const [left, right] = [a.checksums[table], b.checksums[table]];
    if (left !== right) report('members_differ', table, `checksum ${left} on ${a.member}, ${right} on ${b.member}`);
  }
  const right = new Map(b.found.map((one) => [attemptKey(one), JSON.stringify(one)]));
  const only: string[] = [];
  for (const one of a.found) {
    const id = attemptKey(one);
    const there = right.get(id);
    right.delete(id);
    if (there === undefined) only.push(`${id} is on ${a.member} only`);
    else if (there !== JSON.stringify(one)) only.push(`${id} is ${JSON.stringify(one)} on ${a.member} and ${there} on ${b.member}`);
  }
  for (const id of right.keys()) only.push(`${id} is on ${b.member} only`);
  const more = only.length > NAMED ? ` and ${only.length - NAMED} more` : '';
  if (only.length > 0) report('members_differ', `${a.member}, ${b.member}`, `${only.slice(0, NAMED).join('; ')}${more}`);
}

/** A verdict in a line. */
export function describeVerdict({ violations, acked, refused, unknown, excused }: Verdict): string {
  const counts = `${acked} acknowledged, ${refused} refused, ${unknown.there + unknown.missing} unknown (${unknown.there} there)`;
  const exception = excused === 0 ? '' : `, ${excused} missing within the stated exception`;
  if (violations.length === 0) return `${counts}${exception}; nothing is wrong`;
  const kinds = new Map<string, number>();
  for (const { kind } of violations) kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
  const first = violations.slice(0, NAMED).map(({ kind, about, sentence }) => `${kind} ${about}: ${sentence}`);
  return `${counts}${exception}; ${[...kinds].map(([kind, n]) => `${n} ${kind}`).join(', ')}\n  ${first.join('\n  ')}`;
}
