import { AppError, messageOf } from '#core/errors.ts';
import { sleep, waitFor } from '#core/sleep.ts';
import { type Attempt, now } from '#test/history/journal.ts';
import { ackTimes, writable } from '#test/history/writable.ts';
import type { Random } from '#test/random.ts';
import type { Clients } from './clients.ts';
import type { Fault, Wound } from './fault.ts';
import type { FaultResult } from './results.ts';

/** How a service says it is. */
export interface Look {
  epoch: number;
  /** All members run and have the role they should. */
  isWhole: boolean;
  sentence: string;
}

/** A fault that was, in ms of the journals' clock. */
export interface Hurt<F> {
  fault: F;
  wound: Wound;
  /** Before it was begun, when it was done, when it was healed. */
  from: number;
  injectedAt: number;
  healedAt: number;
}

export interface Judgement {
  violations: { kind: string }[];
  acked: number;
  /** All of it in words. */
  sentence: string;
  /** Acknowledged and missing, as the promise says it may be. */
  excused: number;
}

/** Holds what clients were told against what members have. */
export interface Judge<F> {
  /** Told of each fault before it is judged: some permit what otherwise is wrong. */
  hurt(hurt: Hurt<F>): void;
  /** Clients are at rest. @param scope since the last window began, or from the beginning */
  check(scope: 'window' | 'everything'): Promise<Judgement>;
  /** What was written before this round is right, and held against how it is now from here on. */
  nextWindow(round: number): Promise<void>;
}

export interface Runner<F> {
  /** Waits until the service is whole and clients write. @throws AppError `timeout` with what is missing */
  settle(seconds: number): Promise<Look>;
  /** One fault from beginning to verdict. Never throws for what the service did: that is in `failures`. */
  run(fault: F, number: number, random: Random): Promise<FaultResult>;
  /** Everything that was ever written, once more. @throws AppError when it cannot be read */
  checkAll(): Promise<Judgement>;
}

export interface RunnerParts<W, F> {
  world: W;
  look(): Promise<Look>;
  clients: Clients;
  judge: Judge<F>;
  say(text: string): void;
}

/** So many rounds are read one by one at each check; those before are held against what they were when they were checked. */
const WINDOW = 10;

export function createRunner<W, F extends Fault<W>>({ world, look, clients, judge, say }: RunnerParts<W, F>): Runner<F> {
  /** Missing as it may be, of the rounds that are read one by one. */
  let knownExcused = 0;

  async function settle(seconds: number): Promise<Look> {
    const from = now();
    let missing = '';
    const whole = await waitFor(
      async () => {
        try {
          const seen = await look();
          missing = seen.sentence;
          if (!seen.isWhole) return undefined;
          await clients.revive();
          const { lastAckAt, reasons } = await clients.seen();
          missing = `no client's write was acknowledged; they heard: ${reasons.join(' | ')}`;
          return lastAckAt > from ? seen : undefined;
        } catch (error) {
          missing = messageOf(error);
          return undefined;
        }
      },
      { timeoutMs: seconds * 1000, intervalMs: 500 },
    );
    if (whole === undefined) throw new AppError('timeout', `not whole within ${seconds} s: ${missing}`);
    return whole;
  }

  async function verdict(scope: 'window' | 'everything'): Promise<Judgement> {
    await clients.pause();
    try {
      let result: Judgement | undefined;
      // Roles may change in the moment in which they are asked for: what is wrong must be wrong twice.
      for (let tries = 0; tries < 3; tries++) {
        if (tries > 0) await sleep(3000);
        result = await judge.check(scope);
        if (result.violations.length === 0) break;
      }
      return result!;
    } finally {
      await clients.resume();
    }
  }

  /** What was written until now has been checked, and is held against this from now on. */
  async function nextWindow(round: number): Promise<void> {
    await clients.renew(round);
    await settle(120);
    await judge.nextWindow(round);
    knownExcused = 0;
  }

  return {
    settle,

    async run(fault, number, random) {
      const failures: string[] = [];
      const before = await settle(120);
      await clients.round(number);
      const lasts = random.between(fault.lasts[0] * 10, fault.lasts[1] * 10) * 100;
      say(`#${number} ${fault.name}: expected: ${fault.expect}`);
      const from = now();
      let [injectedAt, wound]: [number, Wound] = [from, { what: 'nothing', heal: async () => undefined }];
      try {
        wound = await fault.inject(world, random);
        injectedAt = now();
        await sleep(lasts);
      } catch (error) {
        failures.push(`it could not be done: ${messageOf(error)}`);
      }
      const healedAt = now();
      try {
        await wound.heal();
      } catch (error) {
        failures.push(`healing it failed: ${messageOf(error)}`);
      }
      let after = before;
      try {
        after = await settle(fault.whole);
      } catch (error) {
        failures.push(messageOf(error));
      }
      const wholeAt = now();
      judge.hurt({ fault, wound, from, injectedAt, healedAt });
      let result: Judgement | undefined;
      try {
        result = await verdict('window');
        if (result.violations.length > 0) failures.push(result.sentence);
      } catch (error) {
        failures.push(`nothing could be checked: ${messageOf(error)}`);
      }
      const acks = ackTimes(clients.attempts());
      const [whole, healed] = [writable(acks, { from, to: wholeAt }), writable(acks, { from: healedAt, to: wholeAt })];
      const waited = fault.writable.from === 'fault' ? whole : healed;
      if (waited.longestMs > fault.writable.seconds * 1000)
        failures.push(
          `nothing was acknowledged for ${Math.round(waited.longestMs / 1000)} s, counted from the ${fault.writable.from}; ${fault.writable.seconds} s are allowed`,
        );
      const own = clients.attempts().filter(({ round }) => round === number);
      const count = (outcome: Attempt['outcome']) => own.filter((one) => one.outcome === outcome).length;
      const newlyExcused = Math.max(0, (result?.excused ?? 0) - knownExcused);
      knownExcused += newlyExcused;
      // What is wrong once is not to be found again after each further fault.
      const isWrong = result !== undefined && result.violations.length > 0;
      if (isWrong || (number % WINDOW === 0 && failures.length === 0)) await nextWindow(number + 1);
      return {
        ...{ number, name: fault.name, expect: fault.expect, what: wound.what, lastedMs: Math.round(healedAt - from) },
        ...{
          stallMs: Math.round(whole.longestMs),
          stallAfterHealMs: Math.round(healed.longestMs),
          wholeMs: Math.round(wholeAt - healedAt),
        },
        ...{ from: fault.writable.from },
        ...{ epochs: [before.epoch, after.epoch] as const, failures },
        ...{ counts: { acked: count('acked'), refused: count('refused'), unknown: count('unknown'), excused: newlyExcused } },
        found: [...new Set((result?.violations ?? []).map(({ kind }) => kind))],
      };
    },

    checkAll: () => verdict('everything'),
  };
}
