import type { Random } from '../random.ts';
import { type Attempt, attemptKey } from './journal.ts';
import type { Chain, Found, MemberState } from './state.ts';

export interface Simulated {
  attempts: Attempt[];
  states: MemberState[];
}

/**
 * A history as a database that keeps its promise may make it, for the checker's own tests: epochs follow one another with a pause in between, each on one of
 * two servers; what a client is told late or never is there or not.
 */
export function simulate(random: Random, { workers = 3, transactions = 20, epochs = 3 } = {}): Simulated {
  const schedule: { epoch: number; server: number; from: number; to: number }[] = [];
  let start = 0;
  for (let epoch = 1; epoch <= epochs; epoch++) {
    const to = epoch === epochs ? Number.POSITIVE_INFINITY : start + random.between(30, 200);
    schedule.push({ epoch, server: (epoch % 2) + 1, from: start, to });
    start = to + random.between(1, 40);
  }
  const at = (time: number) => schedule.find(({ from, to }) => time >= from && time < to);
  const committed: { attempt: Attempt; at: number; server: number }[] = [];
  const attempts: Attempt[] = [];
  for (let worker = 1; worker <= workers; worker++) {
    let time = 0;
    for (let seq = 1; seq <= transactions; seq++) {
      const beganAt = time + 1 + random.next() * 10;
      const commitAt = beganAt + 1 + random.next() * 20;
      const [then, now] = [at(beganAt), at(commitAt)];
      const chain = random.chance(0.7);
      const outcome = then === undefined || then !== now || random.chance(0.1) ? random.pick(['refused', 'unknown'] as const) : 'acked';
      const attempt: Attempt = {
        ...{ client: 'c1', worker, seq, rows: random.between(1, 5), round: 1, chain, beganAt, outcome },
        ...{ endedAt: commitAt + random.next() * 60, server: undefined, epoch: undefined, previous: undefined, gtid: undefined },
        why: outcome === 'acked' ? undefined : 'simulated',
      };
      // An unknown one may be there, too.
      if (now !== undefined && then === now && (outcome === 'acked' || (outcome === 'unknown' && random.chance(0.5))))
        committed.push({ attempt, at: commitAt, server: now.server });
      if (outcome === 'acked' && chain) Object.assign(attempt, { server: now!.server, epoch: now!.epoch });
      attempts.push(attempt);
      time = attempt.endedAt!;
      if (random.chance(0.05)) attempt.endedAt = outcome === 'unknown' ? undefined : attempt.endedAt;
    }
  }
  committed.sort((a, b) => a.at - b.at);
  const found: Found[] = [];
  const chains = new Map<number, Chain>();
  for (const [position, { attempt, server, at: time }] of committed.entries()) {
    const { client, worker, seq, rows, chain } = attempt;
    if (attempt.outcome === 'acked') attempt.gtid = `0-${server}-${position + 1}`;
    const own = chain ? { server, epoch: at(time)!.epoch } : { server: undefined, epoch: undefined };
    found.push({ client, worker, seq, rows, distinct: rows, parts: rows, ...own, key: chain });
    if (!chain) continue;
    const before = chains.get(worker);
    if (attempt.outcome === 'acked') attempt.previous = before?.seq ?? 0;
    chains.set(worker, { client, worker, seq, n: (before?.n ?? 0) + 1 });
  }
  const state = (member: string): MemberState =>
    structuredClone({
      ...{ member, checksums: { history_rows: '1', history_keys: '2', history_chains: '3' }, found, chains: [...chains.values()] },
      rounds: [{ round: 0, rows: 7, sum: '77' }],
    });
  return { attempts, states: [state('db-1'), state('db-2')] };
}

/** Changes the same transaction on all members. */
export function onAll({ states }: Simulated, id: string, change: (one: Found) => Found | undefined): void {
  for (const state of states) state.found = state.found.flatMap((one) => (attemptKey(one) === id ? (change(one) ?? []) : one));
}
