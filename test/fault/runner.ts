import { AppError, messageOf } from '#core/errors.ts';
import { sleep, waitFor } from '#core/sleep.ts';
import { check, describeVerdict, type Verdict } from '#test/history/check.ts';
import { type Attempt, now } from '#test/history/journal.ts';
import { type MemberState, readState } from '#test/history/state.ts';
import { ackTimes, type Gap, writable } from '#test/history/writable.ts';
import type { Random } from '#test/random.ts';
import type { Clients } from './clients.ts';
import type { Fault, Wound } from './fault.ts';
import type { FaultResult } from './results.ts';
import type { DbJson, World } from './world.ts';

export interface Runner {
  /** Waits until master and slave are whole and clients write. @throws AppError `timeout` with what is missing */
  settle(seconds: number): Promise<DbJson>;
  /** One fault from beginning to verdict. Never throws for what the database did: that is in `failures`. */
  run(fault: Fault, number: number, random: Random): Promise<FaultResult>;
  /** Everything that was ever written, once more. @throws AppError when it cannot be read */
  checkAll(): Promise<Verdict>;
}

/** So many rounds are read row by row at each check; those before are held against what they were when they were checked. */
const WINDOW = 10;

export function createRunner({ world, clients, say }: { world: World; clients: Clients; say: (text: string) => void }): Runner {
  const excused: Gap[] = [];
  /** The first round that is read row by row. */
  let since = 0;
  let verified: MemberState['rounds'] = [];
  /** Missing within the stated exception, of the rounds that are read row by row. */
  let knownExcused = 0;

  async function settle(seconds: number): Promise<DbJson> {
    const from = now();
    let missing = '';
    const whole = await waitFor(
      async () => {
        try {
          const status = await world.status();
          missing = `${status.status}: ${status.sentence}`;
          if (!isWhole(status)) return undefined;
          await clients.revive();
          const { lastAckAt, reasons } = await clients.seen();
          missing = `no client's commit was acknowledged; they heard: ${reasons.join(' | ')}`;
          return lastAckAt > from ? status : undefined;
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

  /** Both members, when both hold the same position; the clients are at rest. */
  async function readBoth(from: number): Promise<MemberState[]> {
    const { master, slave } = await world.roles();
    const [[position] = []] = await world.sql(master)('SELECT @@gtid_binlog_pos');
    const [[reached] = []] = await world.sql(slave)(`SELECT MASTER_GTID_WAIT('${position}', 60)`);
    if (reached !== '0') throw new AppError('timeout', `${slave.id} did not reach ${position} within 60 s`);
    const [[readOnly] = []] = await world.sql(slave)('SELECT @@read_only');
    if (readOnly !== '1') throw new AppError('internal', `${slave.id} follows and takes writes`);
    return Promise.all([master, slave].map((member) => readState(member.id, world.sql(member), from)));
  }

  async function verdict(from: number): Promise<Verdict & { rounds: MemberState['rounds'] }> {
    await clients.pause();
    try {
      let result: (Verdict & { rounds: MemberState['rounds'] }) | undefined;
      // Roles may change in the moment in which they are asked for: what is wrong must be wrong twice.
      for (let tries = 0; tries < 3; tries++) {
        if (tries > 0) await sleep(3000);
        const states = await readBoth(from);
        const attempts = (from === 0 ? clients.everything() : clients.attempts()).filter(({ round }) => round >= from);
        result = { ...check({ attempts, states, verified: from === 0 ? [] : verified, excused }), rounds: states[0]!.rounds };
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
    since = round;
    await settle(120);
    verified = (await readBoth(round))[0]!.rounds;
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
      let wound: Wound = { what: 'nothing', heal: async () => undefined };
      try {
        wound = await fault.inject(world, random);
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
      for (const gap of wound.excused ?? []) excused.push(gap);
      let result: Awaited<ReturnType<typeof verdict>> | undefined;
      try {
        result = await verdict(since);
        if (result.violations.length > 0) failures.push(describeVerdict(result));
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
      if (number % WINDOW === 0 && failures.length === 0) {
        await nextWindow(number + 1);
        knownExcused = 0;
      }
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

    checkAll: () => verdict(0),
  };
}

/** A master, a slave that is in sync, both running. */
export function isWhole({ status, master, sync, members }: DbJson): boolean {
  if (status !== 'READY' || master === null || sync === null || master === sync) return false;
  const role = (id: string) => members.find((member) => member.id === id && member.state === 'running')?.role;
  return role(master) === 'master' && role(sync) === 'slave';
}
