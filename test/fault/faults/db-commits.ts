import { sleep } from '#core/sleep.ts';
import { now } from '#test/history/journal.ts';
import { signal } from '#test/pool/processes.ts';
import type { Random } from '#test/random.ts';
import type { World } from '../db-world.ts';
import { EXPECT, type Fault, type Wound } from '../fault.ts';
import type { Member, ServiceWorld } from '../world.ts';
import { dropInMember, inMember, tcp, WHOLE } from './network.ts';
import { AFTER, named, pidsOf } from './processes.ts';

/** What only a database's commits can meet: acknowledgements that do not come, and impatience. */

/** The engine's own port, see images/xdb/README.md. */
const ENGINE_PORT = 3305;

/**
 * Commits hang, as the slave sleeps; then something happens to the master.
 *
 * @param strike @returns what has to be done once the slave is awake again
 */
async function whileCommitsHang(
  world: ServiceWorld,
  random: Random,
  strike: (master: Member) => Promise<() => Promise<void>>,
): Promise<Wound> {
  const { master, follower: slave } = await world.roles();
  const sleeping = await pidsOf(world, slave, ['engine']);
  for (const pid of sleeping) signal(pid, 'SIGSTOP');
  await sleep(random.between(300, 1500));
  const mend = await strike(master);
  return {
    what: `${named(master)}, with the engine of ${slave.id} asleep`,
    async heal() {
      for (const pid of sleeping) signal(pid, 'SIGCONT');
      await mend();
    },
  };
}

/** SIGTERM to a master whose commits wait for an acknowledgement that does not come. */
const askedWhileCommitsHang: Fault = {
  ...AFTER,
  name: "SIGTERM to the master's container while commits hang",
  expect: 'no hanging commit is acknowledged by the shutdown; writes go on once the slave is awake',
  lasts: [3, 6],
  writable: { from: 'heal', seconds: 60 },
  weight: 4,
  inject: (world, random) =>
    whileCommitsHang(world, random, async (master) => {
      const done = world.docker(master.host, 'stop', '--time', '60', master.id).catch(() => undefined);
      return async () => {
        await done;
        await world.docker(master.host, 'start', master.id);
      };
    }),
};

/** The slave sleeps for less than the time a commit may wait, and the master is gone for good before it wakes: no acknowledgement may have been given. */
const killedWhileCommitsHang: Fault = {
  ...AFTER,
  name: 'kill -9 engine of the master while commits hang',
  expect: 'no hanging commit was acknowledged; writes go on once the slave is awake',
  lasts: [1, 3],
  writable: { from: 'heal', seconds: 40 },
  weight: 4,
  inject: (world, random) =>
    whileCommitsHang(world, random, async (master) => {
      for (const pid of await pidsOf(world, master, ['engine'])) signal(pid, 'SIGKILL');
      return async () => undefined;
    }),
};

/** No slave is in sync any more, and then the master is lost: what was acknowledged meanwhile is on its disk only. */
const lostAfterFallback: Fault = {
  name: "the slave does not hear the master for 8 s, then the master's host loses its power",
  expect: 'the record names no slave, so nobody takes over: writes wait until the host is back, and nothing acknowledged is lost',
  ...{ lasts: [10, 15], weight: 3, whole: WHOLE, writable: { from: 'heal', seconds: 120 } },
  async inject(world) {
    const { master } = await world.roles();
    const deaf = await dropInMember(world, 'slave', (from) => tcp(from, '--sport', String(ENGINE_PORT)));
    await new Promise((resolve) => setTimeout(resolve, 8000));
    master.host.kill();
    return {
      what: `${deaf.what}; ${master.host.name}`,
      async heal() {
        await deaf.heal();
        await world.boot(master.host);
      },
    };
  },
};

/** Interrupts every statement of users, again and again. */
async function storm(world: World, master: Member, until: () => boolean): Promise<number> {
  const sql = world.sql(master, 'information_schema');
  let killed = 0;
  while (!until()) {
    const ids = await sql(`SELECT id FROM processlist WHERE command <> 'Sleep' AND db = '${world.name}'`).catch(() => []);
    if (ids.length === 0) continue;
    killed += ids.length;
    await sql(ids.map(([id]) => `KILL ${killed % 2 === 0 ? 'QUERY' : 'CONNECTION'} ${id}`).join('; ')).catch(() => undefined);
  }
  return killed;
}

function killStorm(what: string, { weight, asleep }: { weight: number; asleep: boolean }): Fault<World> {
  return {
    name: `sessions of users are KILLed again and again${what}`,
    expect: asleep
      ? `the stated exception: what was KILLed may have been acknowledged by the master alone; it is not lost, for the master lives; ${EXPECT.async}`
      : 'sessions that are cut connect again; nothing acknowledged is lost',
    ...{ lasts: [3, 8], weight, whole: 120, writable: { from: 'heal', seconds: 40 } },
    async inject(world) {
      const { master, follower: slave } = await world.roles();
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

export const COMMIT_FAULTS: readonly Fault<World>[] = [
  askedWhileCommitsHang,
  killedWhileCommitsHang,
  inMember('acknowledgements are lost, everything else arrives', 'master', EXPECT.async, (from) =>
    // The slave's side of the connection carries nothing but acknowledgements; TCP's own are shorter than this.
    tcp(from, '--dport', String(ENGINE_PORT), '-m', 'length', '--length', '80:65535'),
  ),
  inMember("the master's engine hears nothing from the slave", 'master', EXPECT.async, (from) => tcp(from, '--dport', String(ENGINE_PORT))),
  inMember("the slave hears nothing from the master's engine", 'slave', EXPECT.async, (from) => tcp(from, '--sport', String(ENGINE_PORT))),
  lostAfterFallback,
  killStorm('', { weight: 2, asleep: false }),
  killStorm(' while the slave sleeps', { weight: 4, asleep: true }),
];
