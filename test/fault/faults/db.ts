import type { World } from '../db-world.ts';
import { EXPECT, type Fault } from '../fault.ts';
import { consulLeaderKilled, consulStopped, recordDeleted, restoredOld, stoppedAndKilled, wiped } from './consul.ts';
import { COMMIT_FAULTS } from './db-commits.ts';
import { DISK_FAULTS } from './db-disk.ts';
import { FAILPOINT_FAULTS } from './db-failpoints.ts';
import { CONSUL, onHost } from './network.ts';
import { duringSwitchover, planned } from './orders.ts';
import { allLosePower, hostFrozen, powerLost, twoLosePower } from './power.ts';
import { asked, killed, paused, stopped } from './processes.ts';
import { together } from './together.ts';

const PROCESS_FAULTS: readonly Fault[] = [
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
];

const POWER_FAULTS: readonly Fault[] = [
  powerLost('master', EXPECT.fails_over, 6),
  powerLost('slave', EXPECT.async, 4),
  powerLost('witness', EXPECT.goes_on, 2),
  hostFrozen('master', EXPECT.fails_over, 5),
  hostFrozen('slave', EXPECT.async, 4),
  hostFrozen('witness', EXPECT.goes_on, 1),
  twoLosePower(['slave', 'witness'], `Consul has no majority and the slave does not answer: the master ends its engine; ${EXPECT.waits}`),
  twoLosePower(['master', 'witness'], `Consul has no majority, so the slave may not take over; ${EXPECT.waits}`),
  allLosePower(EXPECT.waits),
];

const MASTER_CUT_OFF = onHost({
  name: "the master's host is cut off from everything",
  role: 'master',
  expect: EXPECT.fails_over,
  weight: 5,
  break: (host) => host.cut(),
});

const NETWORK_FAULTS: readonly Fault[] = [
  MASTER_CUT_OFF,
  together(
    'supervisor and sidecar of the master sleep, and its host is cut off from everything',
    stopped({ role: 'master', kinds: ['supervisor', 'sidecar'], expect: EXPECT.fails_over, weight: 4 }),
    { ...MASTER_CUT_OFF, weight: 3 },
  ),
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
];

const CONSUL_FAULTS: readonly Fault[] = [
  consulStopped(`the slave still acknowledges: ${EXPECT.goes_on}`),
  consulLeaderKilled(EXPECT.goes_on),
  stoppedAndKilled('master', `nobody may take over without the record: ${EXPECT.waits}`),
  stoppedAndKilled('slave', `the master may not go on alone without the record, and ends its engine: ${EXPECT.waits}`),
  restoredOld,
  recordDeleted('sync'),
  wiped,
];

const single: readonly Fault<World>[] = [
  ...PROCESS_FAULTS,
  ...POWER_FAULTS,
  ...NETWORK_FAULTS,
  ...CONSUL_FAULTS,
  ...DISK_FAULTS,
  planned('the slave leads; writes are blocked for about a second'),
  ...COMMIT_FAULTS,
];

/** @throws Error when there is none of that name */
export function faultNamed(name: string): Fault<World> {
  const found = DB_FAULTS.find((fault) => fault.name === name);
  if (found === undefined) throw new Error(`there is no fault "${name}"`);
  return found;
}

/** Those that a switchover is tried with: one of each kind that can meet it half way. */
const MEETS_SWITCHOVER = [
  'kill -9 engine of the master',
  'kill -9 engine of the slave',
  'kill -9 sidecar of the master',
  'kill -9 sidecar of the slave',
  'SIGSTOP engine of the master',
  'SIGSTOP engine of the slave',
  'SIGSTOP sidecar of the slave',
  "the master's host loses its power",
  "the slave's host loses its power",
  "the master's host is frozen",
  "the master's host is cut off from everything",
  'the hosts of master and slave are cut off from one another only',
  'acknowledgements are lost, everything else arrives',
  'Consul is stopped on all hosts',
  "kill -9 Consul's leader",
];

/** Everything that is done to a database. */
export const DB_FAULTS: readonly Fault<World>[] = [
  ...single,
  ...single.filter(({ name }) => MEETS_SWITCHOVER.includes(name)).map((fault) => duringSwitchover<World, Fault<World>>(fault)),
  ...FAILPOINT_FAULTS,
];
