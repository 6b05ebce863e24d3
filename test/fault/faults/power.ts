import type { Fault } from '../fault.ts';
import { type Role, roleOf, type ServiceWorld } from '../world.ts';

/** Whole hosts lose their power or hang. A host is off for at least 8 s, as the fastest machine needs to start again. */

type Place = Role | 'witness';
const WHOLE = 300;

async function hostOf(world: ServiceWorld, place: Place) {
  const roles = await world.roles();
  return place === 'witness' ? roles.witness : roleOf(roles, place).host;
}

const hostWords = (place: Place) => (place === 'witness' ? 'the host without a member' : `the ${place}'s host`);

export function powerLost(place: Place, expect: string, weight: number): Fault {
  return {
    ...{ name: `${hostWords(place)} loses its power`, expect, lasts: [8, 20], weight, whole: WHOLE },
    writable: { from: 'fault', seconds: 60 },
    async inject(world) {
      const host = await hostOf(world, place);
      host.kill();
      return { what: host.name, heal: () => world.boot(host) };
    },
  };
}

export function hostFrozen(place: Place, expect: string, weight: number): Fault {
  return {
    ...{ name: `${hostWords(place)} is frozen`, expect, lasts: [5, 25], weight, whole: WHOLE },
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
export function twoLosePower(places: readonly [Place, Place], expect: string): Fault {
  return {
    ...{ name: `${hostWords(places[0])} and ${hostWords(places[1])} lose their power together`, expect },
    ...{ lasts: [10, 20], weight: 2, whole: WHOLE, writable: { from: 'heal', seconds: 120 } },
    async inject(world) {
      const hosts = await Promise.all(places.map((place) => hostOf(world, place)));
      world.pool.engines.kill(hosts);
      return { what: hosts.map(({ name }) => name).join(', '), heal: () => world.boot(...hosts) };
    },
  };
}

export function allLosePower(expect: string): Fault {
  return {
    ...{ name: 'all hosts lose their power at once', expect, lasts: [8, 12], weight: 2, whole: WHOLE },
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
}
