import type { World } from '../db-world.ts';
import { EXPECT, type Fault } from '../fault.ts';
import { roleOf } from '../world.ts';

/** The disk of a member's volumes is full to the last byte, at once. */
function full(role: 'master' | 'slave', expect: string, writable: Fault['writable']): Fault<World> {
  return {
    ...{ name: `the disk of the ${role} is full`, expect, lasts: [6, 15], weight: 3, whole: 180, writable },
    async inject(world) {
      const { host, id } = roleOf(await world.roles(), role);
      world.disks.fill(host);
      return {
        what: `${id} on ${host.name}`,
        async heal() {
          world.disks.free(host);
        },
      };
    },
  };
}

export const DISK_FAULTS: readonly Fault<World>[] = [
  full('master', `writes are refused or wait until there is room, or the slave takes over; ${EXPECT.waits}`, { from: 'heal', seconds: 90 }),
  full('slave', EXPECT.async, { from: 'heal', seconds: 60 }),
];
