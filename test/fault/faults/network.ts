import { messageOf } from '#core/errors.ts';
import { PORTS } from '#core/paths.ts';
import type { PoolHost } from '#test/pool/host.ts';
import { tool } from '#test/pool/tools.ts';
import type { Fault } from '../fault.ts';
import { type Member, type Role, type Roles, roleOf, type ServiceWorld } from '../world.ts';

/** Everything runs, and some do not hear some others. */

export const WHOLE = 300;
export const CONSUL = [PORTS.consulRpc, PORTS.consulGossip];
/** The one that is meant, and the other one. */
function sides(roles: Roles, role: Role): [Member, Member] {
  return role === 'master' ? [roles.master, roles.follower] : [roleOf(roles, role), roles.master];
}

interface HostFault {
  name: string;
  role: Role;
  expect: string;
  weight: number;
  lasts?: readonly [number, number];
  writable?: Fault['writable'];
  break(host: PoolHost, other: PoolHost): void;
}

/** On the wire of a host, in the engine's own network. */
export function onHost({
  name,
  role,
  expect,
  weight,
  lasts = [5, 25],
  writable = { from: 'fault', seconds: 60 },
  ...fault
}: HostFault): Fault {
  return {
    ...{ name, expect, lasts, weight, writable, whole: WHOLE },
    async inject(world) {
      const [{ host }, { host: other }] = sides(await world.roles(), role);
      fault.break(host, other);
      return {
        what: host.name,
        async heal() {
          host.heal();
        },
      };
    },
  };
}

/** Drops packets as they arrive in a member's container, by these iptables matches. */
export async function dropInMember(world: ServiceWorld, role: Role, match: (from: string) => string[]) {
  const [here, there] = sides(await world.roles(), role);
  const [pid, from] = [await world.root(here), await addressOf(world, there)];
  const rule = ['PREROUTING', ...match(from), '-j', 'DROP'];
  const iptables = (verb: '-A' | '-D') => tool('nsenter', [`--net=/proc/${pid}/ns/net`, 'iptables', '-w', '-t', 'raw', verb, ...rule]);
  iptables('-A');
  return {
    what: `at ${here.id} on ${here.host.name}, from ${there.id}`,
    async heal() {
      try {
        iptables('-D');
      } catch (error) {
        // Its container was started again meanwhile, with a network of its own.
        if (!/No such file|does a matching rule exist/.test(messageOf(error))) throw error;
      }
    },
  };
}

async function addressOf(world: ServiceWorld, member: { id: string; host: PoolHost }): Promise<string> {
  const { NetworkSettings } = await member.host.docker.getContainer(member.id).inspect();
  const address = NetworkSettings.Networks.xcaas?.IPAddress;
  if (!address) throw new Error(`${member.id} has no address on ${world.name}'s network`);
  return address;
}

export const tcp = (from: string, ...more: string[]) => ['-s', `${from}/32`, '-p', 'tcp', ...more];

export function inMember(name: string, role: Role, expect: string, match: (from: string) => string[]): Fault {
  return {
    ...{ name, expect, lasts: [4, 20], weight: 4, whole: 120, writable: { from: 'fault', seconds: 40 } },
    inject: (world) => dropInMember(world, role, match),
  };
}
