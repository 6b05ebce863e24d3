import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createRandom, type Random } from '../random.ts';
import { check, describeVerdict, type Evidence, type ViolationKind } from './check.ts';
import { type Attempt, attemptKey } from './journal.ts';
import { onAll, type Simulated, simulate } from './simulate.ts';

const seeds = fc.integer({ min: 0, max: 2 ** 31 });
const verified = [{ round: 0, rows: 7, sum: '77' }];
const kinds = (evidence: Evidence) => new Set(check(evidence).violations.map(({ kind }) => kind));

describe('the checker', () => {
  it('finds nothing in a history that a database may make which keeps its promise', () => {
    fc.assert(
      fc.property(seeds, (seed) => {
        const { attempts, states } = simulate(createRandom(seed), { transactions: 12 });
        expect(check({ attempts, states, verified }).violations).toEqual([]);
      }),
      { numRuns: 150 },
    );
  });

  /** Each does one wrong thing to a right history. @returns false when this history offers no place for it */
  const wrongs: Record<string, { kind: ViolationKind; plant(sim: Simulated, random: Random): boolean }> = {
    'an acknowledged transaction is gone': { kind: 'lost', plant: one(acked, (sim, { id }) => onAll(sim, id, () => undefined)) },
    'one row of a transaction is gone': {
      kind: 'torn',
      plant: one(
        (sim) => present(sim).filter(({ attempt }) => attempt.rows > 1),
        (sim, { id }) => onAll(sim, id, (found) => ({ ...found, rows: found.rows - 1, distinct: found.distinct - 1 })),
      ),
    },
    'the key of a transaction is gone': {
      kind: 'torn',
      plant: one(
        (sim) => present(sim).filter(({ attempt }) => attempt.chain),
        (sim, { id }) => onAll(sim, id, (found) => ({ ...found, key: false })),
      ),
    },
    'a transaction was applied twice': {
      kind: 'twice',
      plant: one(present, (sim, { id }) => onAll(sim, id, (found) => ({ ...found, rows: found.rows * 2 }))),
    },
    'a transaction is there that nobody tried': {
      kind: 'invented',
      plant(sim) {
        for (const state of sim.states) {
          state.found.push({
            client: 'c1',
            worker: 1,
            seq: 999,
            rows: 1,
            distinct: 1,
            parts: 1,
            server: undefined,
            epoch: undefined,
            key: false,
          });
        }
        return true;
      },
    },
    'a transaction is there of a client that never was': {
      kind: 'invented',
      plant: one(present, (sim, { id }) => onAll(sim, id, (found) => ({ ...found, client: 'other' }))),
    },
    'a transaction is there whose client was told no': {
      kind: 'refused_present',
      plant: one(present, (_, { attempt }) => {
        attempt.outcome = 'refused';
      }),
    },
    'a transaction did not see the one before it': {
      kind: 'chain',
      plant: one(
        (sim) => acked(sim).filter(({ attempt }) => (attempt.previous ?? 0) > 0),
        (_, { attempt }) => {
          attempt.previous = attempt.previous! - 1;
        },
      ),
    },
    'an update of the chain was done twice': {
      kind: 'chain',
      plant(sim) {
        if (sim.states[0]!.chains.length === 0) return false;
        for (const state of sim.states) state.chains[0]!.n++;
        return true;
      },
    },
    'a chain is older than its transactions': {
      kind: 'chain',
      plant(sim) {
        if (sim.states[0]!.chains.length === 0) return false;
        for (const state of sim.states) state.chains[0]!.seq--;
        return true;
      },
    },
    'a second server acknowledges in an epoch': {
      kind: 'two_writers',
      plant: one(crowded, (_, { attempt }) => {
        attempt.server = 3;
      }),
    },
    'rows of one epoch are of two servers': {
      kind: 'two_writers',
      plant: one(crowded, (sim, { id }) => onAll(sim, id, (found) => ({ ...found, server: 3 }))),
    },
    'the log says that another server wrote it': {
      kind: 'two_writers',
      plant: one(
        (sim) => acked(sim).filter(({ attempt }) => attempt.server !== undefined),
        (_, { attempt }) => {
          attempt.gtid = attempt.gtid!.replace(/^0-\d+-/, '0-9-');
        },
      ),
    },
    'an old master acknowledges what began after the new one had acknowledged': {
      kind: 'epoch_back',
      plant: one(
        (sim) => acked(sim).filter(({ attempt }) => attempt.epoch !== undefined && attempt.epoch < newestEpoch(sim)),
        (sim, { attempt }) => {
          attempt.beganAt = Math.max(...sim.attempts.map(({ endedAt }) => endedAt ?? 0)) + 1;
          attempt.endedAt = attempt.beganAt + 1;
        },
      ),
    },
    'in the log an old epoch follows a newer one': {
      kind: 'epoch_back',
      plant: one(
        (sim) => acked(sim).filter(({ attempt }) => attempt.epoch !== undefined && attempt.epoch === newestEpoch(sim) - 1),
        (sim, { attempt }) => {
          if (!acked(sim).some((other) => other.attempt.epoch === newestEpoch(sim))) return false;
          attempt.gtid = attempt.gtid!.replace(/\d+$/, '9999');
          return undefined;
        },
      ),
    },
    'two transactions have one place in the log': {
      kind: 'gtid_twice',
      plant: one(
        (sim) => acked(sim).filter(({ attempt }) => attempt.gtid !== undefined),
        (sim, { attempt }) => {
          const other = acked(sim).find(
            (one) => one.attempt !== attempt && one.attempt.gtid!.split('-')[1] === attempt.gtid!.split('-')[1],
          );
          if (other === undefined) return false;
          attempt.gtid = other.attempt.gtid;
          return undefined;
        },
      ),
    },
    'rows that were there at an earlier check are gone': {
      kind: 'changed_later',
      plant(sim) {
        sim.states[0]!.rounds = [{ round: 0, rows: 6, sum: '66' }];
        return true;
      },
    },
    'an earlier round is gone as a whole': {
      kind: 'changed_later',
      plant(sim) {
        sim.states[0]!.rounds = [];
        return true;
      },
    },
    'members have different checksums': {
      kind: 'members_differ',
      plant(sim) {
        sim.states[1]!.checksums.history_rows = '9';
        return true;
      },
    },
    'a transaction is on one member only': {
      kind: 'members_differ',
      plant(sim, random) {
        const at = random.between(0, sim.states[1]!.found.length - 1);
        return sim.states[random.between(0, 1)]!.found.splice(at, 1).length > 0;
      },
    },
  };

  for (const [what, { kind, plant }] of Object.entries(wrongs)) {
    it(`finds it when ${what}`, () => {
      let planted = 0;
      fc.assert(
        fc.property(seeds, (seed) => {
          const random = createRandom(seed);
          const sim = simulate(random, { transactions: 12 });
          if (!plant(sim, random)) return;
          planted++;
          const verdict = check({ attempts: sim.attempts, states: sim.states, verified });
          expect(verdict.violations.map((violation) => violation.kind)).toContain(kind);
          expect(describeVerdict(verdict)).toContain(kind);
        }),
        { numRuns: 40 },
      );
      expect(planted).toBeGreaterThan(10);
    });
  }

  it('excuses what was acknowledged while waiting sessions were KILLed, and nothing else', () => {
    fc.assert(
      fc.property(seeds, (seed) => {
        const random = createRandom(seed);
        const sim = simulate(random, { transactions: 12 });
        const victims = acked(sim);
        if (victims.length === 0) return;
        const { id, attempt } = random.pick(victims);
        onAll(sim, id, () => undefined);
        const at = attempt.endedAt!;
        const evidence = { attempts: sim.attempts, states: sim.states };
        expect(check({ ...evidence, excused: [{ from: at - 0.001, to: at }] })).toMatchObject({ excused: 1 });
        expect(kinds({ ...evidence, excused: [{ from: at - 0.001, to: at }] }).has('lost')).toBe(false);
        expect(kinds({ ...evidence, excused: [{ from: at + 0.001, to: at + 10 }] }).has('lost')).toBe(true);
      }),
      { numRuns: 40 },
    );
  });

  it('says what it saw in a line', () => {
    const { attempts, states } = simulate(createRandom(1));
    expect(describeVerdict(check({ attempts, states }))).toMatch(
      /^\d+ acknowledged, \d+ refused, \d+ unknown \(\d+ there\); nothing is wrong$/,
    );
  });
});

interface Place {
  id: string;
  attempt: Attempt;
}

function one(places: (sim: Simulated) => Place[], plant: (sim: Simulated, place: Place) => unknown) {
  return (sim: Simulated, random: Random) => {
    const all = places(sim);
    return all.length > 0 && plant(sim, random.pick(all)) !== false;
  };
}

function acked(sim: Simulated): Place[] {
  return sim.attempts.filter(({ outcome }) => outcome === 'acked').map((attempt) => ({ id: attemptKey(attempt), attempt }));
}

function present(sim: Simulated): Place[] {
  const there = new Set(sim.states[0]!.found.map(attemptKey));
  return sim.attempts.map((attempt) => ({ id: attemptKey(attempt), attempt })).filter(({ id }) => there.has(id));
}

/** Acknowledged ones of epochs in which others wrote, too. */
function crowded(sim: Simulated): Place[] {
  const all = acked(sim).filter(({ attempt }) => attempt.epoch !== undefined);
  return all.filter(({ id, attempt }) => all.some((other) => other.id !== id && other.attempt.epoch === attempt.epoch));
}

function newestEpoch(sim: Simulated): number {
  return Math.max(0, ...sim.attempts.filter(({ outcome }) => outcome === 'acked').map(({ epoch }) => epoch ?? 0));
}
