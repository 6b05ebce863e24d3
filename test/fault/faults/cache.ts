import { type CacheFault, CUT, type Loss, lose, UNSENT, UNWATCHED, UNWRITTEN } from '../cache-fault.ts';
import type { CacheWorld } from '../cache-world.ts';
import { allKilled } from './cache-restart.ts';
import { consulLeaderKilled, consulStopped, recordDeleted, restoredOld, stoppedAndKilled, wiped } from './consul.ts';
import { CONSUL, onHost } from './network.ts';
import { duringSwitchover, planned } from './orders.ts';
import { allLosePower, hostFrozen, powerLost, twoLosePower } from './power.ts';
import { asked, killed, paused, stopped } from './processes.ts';
import { together } from './together.ts';

/** Everything that is done to a replicated cache of a master and a replica, which keeps its data on disk. */

const fails_over = 'the replica takes over and writes go on; the old master comes back as replica by itself';
const goes_on = 'writes go on without a change of master, after a stall of a few seconds at most';
const alone =
  'writes are refused until the record says that no replica is in sync, then go on; the replica is in sync again after the healing';
const either = 'writes go on, with or without a change of master';
const waits = 'writes wait until the healing, and go on then';

/** Nobody is left who could fence the engine: its own count of replicas does, within 4 s. */
const UNFENCED: Loss = { ...CUT, afterMs: 4500, atWake: true };
const PAUSED: Loss = { ...UNFENCED, frozenWhole: true };

const PROCESS_FAULTS: readonly CacheFault[] = [
  ...lose(
    UNSENT,
    killed({ role: 'master', kinds: ['engine'], expect: fails_over, weight: 10 }),
    killed({ role: 'master', kinds: ['engine', 'sidecar'], expect: fails_over, weight: 6 }),
    killed({ role: 'master', kinds: ['supervisor'], expect: fails_over, weight: 4 }),
    stopped({ role: 'master', kinds: ['engine'], expect: fails_over, weight: 6 }),
  ),
  ...lose(
    'nothing',
    killed({ role: 'replica', kinds: ['engine'], expect: alone, weight: 5 }),
    killed({ role: 'master', kinds: ['sidecar'], expect: either, weight: 5 }),
    killed({ role: 'replica', kinds: ['sidecar'], expect: goes_on, weight: 3 }),
    stopped({ role: 'replica', kinds: ['engine'], expect: alone, weight: 4 }),
    stopped({ role: 'replica', kinds: ['sidecar'], expect: `the supervisor ends the engine that nobody watches: ${alone}`, weight: 3 }),
    paused('replica', alone),
    asked('master', `it hands over first: ${fails_over}`),
    asked('replica', alone),
  ),
  ...lose(
    UNWATCHED,
    stopped({ role: 'master', kinds: ['sidecar'], expect: `the supervisor ends the engine that nobody watches: ${fails_over}`, weight: 5 }),
  ),
  ...lose(UNFENCED, stopped({ role: 'master', kinds: ['supervisor', 'sidecar'], expect: fails_over, weight: 4 })),
  ...lose(PAUSED, paused('master', fails_over)),
  allKilled('one of them begins with what is on its disk, the other follows it, whatever their addresses are'),
];

const POWER_FAULTS: readonly CacheFault[] = [
  ...lose(UNSENT, powerLost('master', fails_over, 6)),
  ...lose({ ...UNSENT, atWake: true, frozenWhole: true }, hostFrozen('master', fails_over, 5)),
  ...lose('nothing', powerLost('replica', alone, 4), powerLost('witness', goes_on, 2), hostFrozen('replica', alone, 4)),
  ...lose('nothing', twoLosePower(['replica', 'witness'], `Consul has no majority and the replica does not answer: ${waits}`)),
  ...lose(UNSENT, twoLosePower(['master', 'witness'], `Consul has no majority, so the replica may not take over; ${waits}`)),
  ...lose(UNWRITTEN, allLosePower(waits)),
];

const MASTER_CUT_OFF = onHost({
  name: "the master's host is cut off from everything",
  role: 'master',
  expect: `clients beside it are refused within the bound; ${fails_over}`,
  weight: 8,
  break: (host) => host.cut(),
});

const NETWORK_FAULTS: readonly CacheFault[] = [
  ...lose(
    CUT,
    MASTER_CUT_OFF,
    onHost({
      name: "what the master's host sends does not arrive at the replica's",
      role: 'master',
      expect: either,
      weight: 3,
      break: (host, other) => host.dropOneWay(other, 'out'),
    }),
    onHost({
      name: "of what is sent to the master's host 20 % is lost",
      role: 'master',
      expect: either,
      weight: 2,
      break: (host) => host.loss(0.2),
    }),
  ),
  ...lose(
    'nothing',
    onHost({
      name: "the replica's host is cut off from everything",
      role: 'replica',
      expect: alone,
      weight: 4,
      break: (host) => host.cut(),
    }),
    onHost({
      name: "the master's host is cut off from Consul only",
      role: 'master',
      expect: `the replica still acknowledges: ${goes_on}`,
      weight: 4,
      break: (host) => host.cutPorts(CONSUL),
    }),
    onHost({
      name: "the replica's host is cut off from Consul only",
      role: 'replica',
      expect: goes_on,
      weight: 3,
      break: (host) => host.cutPorts(CONSUL),
    }),
    onHost({
      name: 'the hosts of master and replica are cut off from one another only',
      role: 'master',
      expect: alone,
      weight: 4,
      break: (host, other) => host.cutFrom(other),
    }),
  ),
];

/** What neither the sidecar nor its supervisor sees, the engine's own count of replicas has to: the longest bound of all. */
const UNSEEN_FAULTS: readonly CacheFault[] = [
  ...lose(
    UNFENCED,
    together(
      'supervisor and sidecar of the master sleep, and its host is cut off from everything',
      stopped({ role: 'master', kinds: ['supervisor', 'sidecar'], expect: fails_over, weight: 4 }),
      { ...MASTER_CUT_OFF, weight: 4 },
    ),
  ),
  ...lose(
    PAUSED,
    together(
      "the master's host is cut off from everything, and its container is paused and woken meanwhile",
      MASTER_CUT_OFF,
      paused('master', fails_over),
    ),
  ),
];

const CONSUL_FAULTS: readonly CacheFault[] = [
  ...lose(
    'nothing',
    consulStopped(`the replica still acknowledges: ${goes_on}`),
    consulLeaderKilled(goes_on),
    stoppedAndKilled('replica', `the master may not go on alone without the record: ${waits}`),
    restoredOld,
    recordDeleted('lead'),
    wiped,
  ),
  ...lose(UNSENT, stoppedAndKilled('master', `nobody may take over without the record: ${waits}`)),
];

const single: readonly CacheFault[] = [
  ...PROCESS_FAULTS,
  ...POWER_FAULTS,
  ...NETWORK_FAULTS,
  ...UNSEEN_FAULTS,
  ...CONSUL_FAULTS,
  ...lose('nothing', planned('the replica leads; writes wait for less than a second')),
];

/** Those that a switchover is tried with. */
const MEETS_SWITCHOVER = [
  'kill -9 engine of the master',
  'kill -9 engine of the replica',
  'kill -9 sidecar of the master',
  'SIGSTOP engine of the master',
  "the master's host loses its power",
  "the replica's host loses its power",
  "the master's host is cut off from everything",
  "kill -9 Consul's leader",
];

/** The replica may lead already when it is hurt: then it is the one that had not sent everything. */
const atLeast = (fault: CacheFault, loss: Loss): CacheFault =>
  fault.loses === 'nothing' && fault.name.includes('replica') ? { ...fault, loses: loss } : fault;

export const CACHE_FAULTS: readonly CacheFault[] = [
  ...single,
  ...single
    .filter(({ name }) => MEETS_SWITCHOVER.includes(name))
    .map((fault) => atLeast(duringSwitchover<CacheWorld, CacheFault>(fault), UNSENT)),
];

/** @throws Error when there is none of that name */
export function cacheFaultNamed(name: string): CacheFault {
  const found = CACHE_FAULTS.find((fault) => fault.name === name);
  if (found === undefined) throw new Error(`there is no fault "${name}"`);
  return found;
}
