import { EXPECT, type Fault } from '../fault.ts';
import type { World } from '../world.ts';

/** Whole hosts lose their power or hang. A host is off for at least 8 s, as the fastest machine needs to start again. */

type Place = 'master' | 'slave' | 'witness';
const WHOLE = 300;

async function hostOf(world: World, place: Place) {
  const { master, slave, witness } = await world.roles();
  return { master: master.host, slave: slave.host, witness }[place];
}

const WORDS: Record<Place, string> = { master: "the master's host", slave: "the slave's host", witness: 'the host without a member' };

function killed(place: Place, expect: string, weight: number): Fault {
  return {
    ...{ name: `${WORDS[place]} loses its power`, expect, lasts: [8, 20], weight, whole: WHOLE },
    writable: { from: 'fault', seconds: 60 },
    async inject(world) {
      const host = await hostOf(world, place);
      host.kill();
      return { what: host.name, heal: () => world.boot(host) };
    },
  };
}

function frozen(place: Place, expect: string, weight: number): Fault {
  return {
    ...{ name: `${WORDS[place]} is frozen`, expect, lasts: [5, 25], weight, whole: WHOLE },
    writable: { from: 'fault', seconds: 60 },
    async inject(world) {
      const host = await hostOf(world, place);
      host.freeze();
      return {
        what: host.name,
        async heal() {
          host.thaw();
        },
      };
    },
  };
}

/** Two hosts at once: the third has a member or not, and no majority of Consul either way. */
function two(places: readonly [Place, Place], expect: string): Fault {
  return {
    ...{ name: `${WORDS[places[0]]} and ${WORDS[places[1]]} lose their power together`, expect, lasts: [10, 20], weight: 2, whole: WHOLE },
    writable: { from: 'heal', seconds: 120 },
    async inject(world) {
      const hosts = await Promise.all(places.map((place) => hostOf(world, place)));
      world.pool.engines.kill(hosts);
      return { what: hosts.map(({ name }) => name).join(', '), heal: () => world.boot(...hosts) };
    },
  };
}

const allOfThem: Fault = {
  ...{ name: 'all hosts lose their power at once', expect: EXPECT.waits, lasts: [8, 12], weight: 2, whole: WHOLE },
  writable: { from: 'heal', seconds: 180 },
  async inject(world, random) {
    const hosts = random.shuffled(world.pool.hosts);
    world.pool.engines.kill(hosts);
    return {
      what: `back in the order ${hosts.map(({ name }) => name).join(', ')}`,
      async heal() {
        const booting: Promise<void>[] = [];
        for (const host of hosts) {
          booting.push(world.boot(host));
          await new Promise((resolve) => setTimeout(resolve, random.between(0, 4000)));
        }
        await Promise.all(booting);
      },
    };
  },
};

export const POWER_FAULTS: readonly Fault[] = [
  killed('master', EXPECT.fails_over, 6),
  killed('slave', EXPECT.async, 4),
  killed('witness', EXPECT.goes_on, 2),
  frozen('master', EXPECT.fails_over, 5),
  frozen('slave', EXPECT.async, 4),
  frozen('witness', EXPECT.goes_on, 1),
  two(['slave', 'witness'], `Consul has no majority and the slave does not answer: the master ends its engine; ${EXPECT.waits}`),
  two(['master', 'witness'], `Consul has no majority, so the slave may not take over; ${EXPECT.waits}`),
  allOfThem,
];
