import { AppError } from '#core/errors.ts';
import { sleep } from '#core/sleep.ts';
import { signal } from '#test/pool/processes.ts';
import type { Random } from '#test/random.ts';
import { EXPECT, type Fault, type Wound } from '../fault.ts';
import type { Member, ProcessKind, World } from '../world.ts';

/** Single processes of a member die or sleep; the host and its network are well. */

type Role = 'master' | 'slave';

interface Base {
  role: Role;
  kinds: readonly ProcessKind[];
  expect: string;
  weight: number;
}

const AFTER = { writable: { from: 'fault', seconds: 40 }, whole: 120 } as const;

function named(member: Member): string {
  return `${member.id} on ${member.host.name}`;
}

async function pidsOf(world: World, member: Member, kinds: readonly ProcessKind[]): Promise<number[]> {
  const pids = (await Promise.all(kinds.map((kind) => world.pids(member, kind)))).flat();
  if (pids.length < kinds.length) throw new AppError('unavailable', `${member.id} has only ${pids.length} of ${kinds.join(', ')}`);
  return pids;
}

/** Ended at once; who starts them again is the product's business. */
function killed({ role, kinds, expect, weight }: Base): Fault {
  return {
    ...AFTER,
    ...{ name: `kill -9 ${kinds.join(' and ')} of the ${role}`, expect, lasts: [1, 3], weight },
    async inject(world) {
      const member = (await world.roles())[role];
      for (const pid of await pidsOf(world, member, kinds)) signal(pid, 'SIGKILL');
      return { what: named(member), heal: async () => undefined };
    },
  };
}

/** Stopped, and woken at the healing: what it was about to do it does then. */
function stopped({ role, kinds, expect, weight }: Base): Fault {
  return {
    ...AFTER,
    ...{ name: `SIGSTOP ${kinds.join(' and ')} of the ${role}`, expect, lasts: [4, 15], weight },
    async inject(world) {
      const member = (await world.roles())[role];
      const pids = await pidsOf(world, member, kinds);
      for (const pid of pids) signal(pid, 'SIGSTOP');
      return {
        what: named(member),
        async heal() {
          for (const pid of pids) signal(pid, 'SIGCONT');
        },
      };
    },
  };
}

/** The container as a whole, as `docker pause` does. */
function paused(role: Role, expect: string): Fault {
  return {
    ...AFTER,
    ...{ name: `the ${role}'s container is paused`, expect, lasts: [4, 15], weight: 3 },
    async inject(world) {
      const member = (await world.roles())[role];
      await world.docker(member.host, 'pause', member.id);
      return { what: named(member), heal: async () => void (await world.docker(member.host, 'unpause', member.id)) };
    },
  };
}

/** Asked to end, as `docker stop` and a shutdown of the host do. */
function asked(role: Role, expect: string): Fault {
  return {
    ...AFTER,
    ...{ name: `the ${role}'s container is asked to stop`, expect, lasts: [3, 8], weight: 3 },
    async inject(world) {
      const member = (await world.roles())[role];
      const done = world.docker(member.host, 'stop', '--time', '60', member.id).catch(() => undefined);
      return {
        what: named(member),
        async heal() {
          await done;
          await world.docker(member.host, 'start', member.id);
        },
      };
    },
  };
}

/**
 * Commits hang, as the slave sleeps; then something happens to the master.
 *
 * @param strike @returns what has to be done once the slave is awake again
 */
async function whileCommitsHang(world: World, random: Random, strike: (master: Member) => Promise<() => Promise<void>>): Promise<Wound> {
  const { master, slave } = await world.roles();
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

export const PROCESS_FAULTS: readonly Fault[] = [
  killed({ role: 'master', kinds: ['engine'], expect: EXPECT.fails_over, weight: 10 }),
  killed({ role: 'slave', kinds: ['engine'], expect: EXPECT.async, weight: 6 }),
  killed({ role: 'master', kinds: ['sidecar'], expect: EXPECT.goes_on, weight: 5 }),
  killed({ role: 'slave', kinds: ['sidecar'], expect: EXPECT.goes_on, weight: 4 }),
  killed({ role: 'master', kinds: ['engine', 'sidecar'], expect: EXPECT.fails_over, weight: 6 }),
  killed({ role: 'slave', kinds: ['engine', 'sidecar'], expect: EXPECT.async, weight: 4 }),
  killed({ role: 'master', kinds: ['supervisor'], expect: EXPECT.fails_over, weight: 4 }),
  killed({ role: 'slave', kinds: ['supervisor'], expect: EXPECT.async, weight: 3 }),
  stopped({ role: 'master', kinds: ['engine'], expect: EXPECT.fails_over, weight: 6 }),
  stopped({ role: 'slave', kinds: ['engine'], expect: EXPECT.async, weight: 5 }),
  stopped({
    role: 'master',
    kinds: ['sidecar'],
    expect: `the supervisor ends the engine that nobody watches: ${EXPECT.fails_over}`,
    weight: 5,
  }),
  stopped({ role: 'slave', kinds: ['sidecar'], expect: `the supervisor ends the engine that nobody watches: ${EXPECT.async}`, weight: 4 }),
  stopped({ role: 'master', kinds: ['supervisor'], expect: EXPECT.either, weight: 2 }),
  stopped({
    role: 'master',
    kinds: ['supervisor', 'sidecar'],
    expect: `${EXPECT.fails_over}; what the old master was asked meanwhile is never acknowledged`,
    weight: 4,
  }),
  paused('master', EXPECT.fails_over),
  paused('slave', EXPECT.async),
  asked('master', EXPECT.fails_over),
  asked('slave', EXPECT.async),
  askedWhileCommitsHang,
  killedWhileCommitsHang,
];
