import { messageOf } from '#core/errors.ts';
import { now } from '#test/history/journal.ts';
import { EXPECT, type Fault } from '../fault.ts';
import type { Member, World } from '../world.ts';

/** What people do to a database: orders, and impatience. */

/** Asks for another master and does not wait. @returns what came of it */
function switchover(world: World): Promise<string> {
  return world.pool
    .json<{ blockedMs?: number }>(['db', 'switchover', world.db, '--timeout', '30'], { timeoutMs: 60_000 })
    .then((done) => `done, ${JSON.stringify(done)}`)
    .catch((error: unknown) => `refused: ${messageOf(error)}`);
}

const planned: Fault = {
  name: 'switchover',
  expect: 'the slave leads; writes are blocked for about a second',
  ...{ lasts: [2, 5], weight: 6, whole: 120, writable: { from: 'fault', seconds: 30 } },
  async inject(world) {
    const { slave } = await world.roles();
    const outcome = await switchover(world);
    return {
      what: `to ${slave.id}: ${outcome}`,
      async heal() {
        if (outcome.startsWith('refused')) throw new Error(`a switchover of a whole pair was ${outcome}`);
      },
    };
  },
};

/** Another fault within the second that a switchover takes. */
export function duringSwitchover(fault: Fault): Fault {
  return {
    ...fault,
    name: `switchover, and in the middle of it: ${fault.name}`,
    expect: `the switchover (roles below are those before it) is done or undone as a whole; then as without it: ${fault.expect}`,
    writable: { ...fault.writable, seconds: fault.writable.seconds + 30 },
    weight: 2,
    async inject(world, random) {
      // Who is hurt is chosen before: in the middle nobody is master and slave.
      const roles = await world.roles();
      const asked = switchover(world);
      await new Promise((resolve) => setTimeout(resolve, random.between(200, 2500)));
      const wound = await fault.inject({ ...world, roles: async () => roles }, random).catch((error: unknown) => ({
        what: `nothing: ${messageOf(error)}`,
        heal: async () => undefined,
      }));
      return {
        ...wound,
        what: `${wound.what}; the switchover: ${await Promise.race([asked, new Promise<string>((resolve) => setTimeout(resolve, 3000, 'under way'))])}`,
        async heal() {
          await wound.heal();
          await asked;
        },
      };
    },
  };
}

/** Interrupts every statement of users, again and again. */
async function storm(world: World, master: Member, until: () => boolean): Promise<number> {
  const sql = world.sql(master, 'information_schema');
  let killed = 0;
  while (!until()) {
    const ids = await sql(`SELECT id FROM processlist WHERE command <> 'Sleep' AND db = '${world.db}'`).catch(() => []);
    if (ids.length === 0) continue;
    killed += ids.length;
    await sql(ids.map(([id]) => `KILL ${killed % 2 === 0 ? 'QUERY' : 'CONNECTION'} ${id}`).join('; ')).catch(() => undefined);
  }
  return killed;
}

function killStorm(what: string, { weight, asleep }: { weight: number; asleep: boolean }): Fault {
  return {
    name: `sessions of users are KILLed again and again${what}`,
    expect: asleep
      ? `the stated exception: what was KILLed may have been acknowledged by the master alone; it is not lost, for the master lives; ${EXPECT.async}`
      : 'sessions that are cut connect again; nothing acknowledged is lost',
    ...{ lasts: [3, 8], weight, whole: 120, writable: { from: 'heal', seconds: 40 } },
    async inject(world) {
      const { master, slave } = await world.roles();
      if (asleep) await world.signal(slave, 'engine', 'SIGSTOP');
      const from = now();
      let over = false;
      const end = performance.now() + 4000;
      const done = storm(world, master, () => over || performance.now() > end);
      const excused = [{ from, to: Number.POSITIVE_INFINITY }];
      return {
        what: `${master.id} on ${master.host.name}`,
        excused,
        async heal() {
          over = true;
          await done;
          excused[0]!.to = now() + 1000;
          if (asleep) await world.signal(slave, 'engine', 'SIGCONT');
        },
      };
    },
  };
}

export const ORDER_FAULTS: readonly Fault[] = [
  planned,
  killStorm('', { weight: 2, asleep: false }),
  killStorm(' while the slave sleeps', { weight: 4, asleep: true }),
];
