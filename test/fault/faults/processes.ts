import { AppError } from '#core/errors.ts';
import { signal } from '#test/pool/processes.ts';
import type { Fault } from '../fault.ts';
import { type Member, type ProcessKind, type Role, roleOf, type ServiceWorld } from '../world.ts';

/** Single processes of a member die or sleep; the host and its network are well. */

interface Base {
  role: Role;
  kinds: readonly ProcessKind[];
  expect: string;
  weight: number;
}

export const AFTER = { writable: { from: 'fault', seconds: 40 }, whole: 120 } as const;

export function named(member: Member): string {
  return `${member.id} on ${member.host.name}`;
}

export async function pidsOf(world: ServiceWorld, member: Member, kinds: readonly ProcessKind[]): Promise<number[]> {
  const pids = (await Promise.all(kinds.map((kind) => world.pids(member, kind)))).flat();
  if (pids.length < kinds.length) throw new AppError('unavailable', `${member.id} has only ${pids.length} of ${kinds.join(', ')}`);
  return pids;
}

/** Ended at once; who starts them again is the product's business. */
export function killed({ role, kinds, expect, weight }: Base): Fault {
  return {
    ...AFTER,
    ...{ name: `kill -9 ${kinds.join(' and ')} of the ${role}`, expect, lasts: [1, 3], weight },
    async inject(world) {
      const member = roleOf(await world.roles(), role);
      for (const pid of await pidsOf(world, member, kinds)) signal(pid, 'SIGKILL');
      return { what: named(member), heal: async () => undefined };
    },
  };
}

/** Stopped, and woken at the healing: what it was about to do it does then. */
export function stopped({ role, kinds, expect, weight }: Base): Fault {
  return {
    ...AFTER,
    ...{ name: `SIGSTOP ${kinds.join(' and ')} of the ${role}`, expect, lasts: [4, 15], weight },
    async inject(world) {
      const member = roleOf(await world.roles(), role);
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
export function paused(role: Role, expect: string): Fault {
  return {
    ...AFTER,
    ...{ name: `the ${role}'s container is paused`, expect, lasts: [4, 15], weight: 3 },
    async inject(world) {
      const member = roleOf(await world.roles(), role);
      await world.docker(member.host, 'pause', member.id);
      return { what: named(member), heal: async () => void (await world.docker(member.host, 'unpause', member.id)) };
    },
  };
}

/** Asked to end, as `docker stop` and a shutdown of the host do. */
export function asked(role: Role, expect: string): Fault {
  return {
    ...AFTER,
    ...{ name: `the ${role}'s container is asked to stop`, expect, lasts: [3, 8], weight: 3 },
    async inject(world) {
      const member = roleOf(await world.roles(), role);
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
