import { messageOf } from '#core/errors.ts';
import { PORTS } from '#core/paths.ts';
import type { PoolHost } from '#test/pool/host.ts';
import { tool } from '#test/pool/tools.ts';
import { EXPECT, type Fault } from '../fault.ts';
import type { World } from '../world.ts';

/** Everything runs, and some do not hear some others. */

const WHOLE = 300;
const CONSUL = [PORTS.consulRpc, PORTS.consulGossip];
/** The engine's own port, see images/xdb/README.md. */
const ENGINE_PORT = 3305;

type Role = 'master' | 'slave';

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
function onHost({ name, role, expect, weight, lasts = [5, 25], writable = { from: 'fault', seconds: 60 }, ...fault }: HostFault): Fault {
  return {
    ...{ name, expect, lasts, weight, writable, whole: WHOLE },
    async inject(world) {
      const { master, slave } = await world.roles();
      const [host, other] = role === 'master' ? [master.host, slave.host] : [slave.host, master.host];
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
async function dropInMember(world: World, role: Role, match: (from: string) => string[]) {
  const roles = await world.roles();
  const [here, there] = role === 'master' ? [roles.master, roles.slave] : [roles.slave, roles.master];
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

async function addressOf(world: World, member: { id: string; host: PoolHost }): Promise<string> {
  const { NetworkSettings } = await member.host.docker.getContainer(member.id).inspect();
  const address = NetworkSettings.Networks.xcaas?.IPAddress;
  if (!address) throw new Error(`${member.id} has no address on ${world.db}'s network`);
  return address;
}

const tcp = (from: string, ...more: string[]) => ['-s', `${from}/32`, '-p', 'tcp', ...more];

function inMember(name: string, role: Role, expect: string, match: (from: string) => string[]): Fault {
  return {
    ...{ name, expect, lasts: [4, 20], weight: 4, whole: 120, writable: { from: 'fault', seconds: 40 } },
    inject: (world) => dropInMember(world, role, match),
  };
}

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

export const NETWORK_FAULTS: readonly Fault[] = [
  onHost({
    name: "the master's host is cut off from everything",
    role: 'master',
    expect: EXPECT.fails_over,
    weight: 5,
    break: (host) => host.cut(),
  }),
  onHost({
    name: "the slave's host is cut off from everything",
    role: 'slave',
    expect: EXPECT.async,
    weight: 4,
    break: (host) => host.cut(),
  }),
  onHost({
    name: "the master's host is cut off from Consul only",
    role: 'master',
    expect: `the slave still acknowledges: ${EXPECT.goes_on}`,
    weight: 4,
    break: (host) => host.cutPorts(CONSUL),
  }),
  onHost({
    name: "the slave's host is cut off from Consul only",
    role: 'slave',
    expect: EXPECT.goes_on,
    weight: 3,
    break: (host) => host.cutPorts(CONSUL),
  }),
  onHost({
    name: 'the hosts of master and slave are cut off from one another only',
    role: 'master',
    expect: EXPECT.async,
    weight: 4,
    break: (host, other) => host.cutFrom(other),
  }),
  onHost({
    name: "what the slave's host sends does not arrive at the master's",
    role: 'slave',
    expect: EXPECT.async,
    weight: 3,
    break: (host, other) => host.dropOneWay(other, 'out'),
  }),
  onHost({
    name: "what the master's host sends does not arrive at the slave's",
    role: 'master',
    expect: EXPECT.async,
    weight: 3,
    break: (host, other) => host.dropOneWay(other, 'out'),
  }),
  onHost({
    name: "the master's host sends 2 Mbit a second only",
    role: 'master',
    expect: EXPECT.either,
    weight: 2,
    break: (host) => host.rate(2000),
  }),
  onHost({
    name: "the slave's host sends 2 Mbit a second only",
    role: 'slave',
    expect: EXPECT.either,
    weight: 2,
    break: (host) => host.rate(2000),
  }),
  onHost({
    name: "of what is sent to the slave's host 20 % is lost",
    role: 'slave',
    expect: EXPECT.either,
    weight: 2,
    break: (host) => host.loss(0.2),
  }),
  onHost({
    name: "of what is sent to the master's host 20 % is lost",
    role: 'master',
    expect: EXPECT.either,
    weight: 2,
    break: (host) => host.loss(0.2),
  }),
  inMember('acknowledgements are lost, everything else arrives', 'master', EXPECT.async, (from) =>
    // The slave's side of the connection carries nothing but acknowledgements; TCP's own are shorter than this.
    tcp(from, '--dport', String(ENGINE_PORT), '-m', 'length', '--length', '80:65535'),
  ),
  inMember("the master's engine hears nothing from the slave", 'master', EXPECT.async, (from) => tcp(from, '--dport', String(ENGINE_PORT))),
  inMember("the slave hears nothing from the master's engine", 'slave', EXPECT.async, (from) => tcp(from, '--sport', String(ENGINE_PORT))),
  lostAfterFallback,
];
