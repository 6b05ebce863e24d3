import type { Fault } from '../fault.ts';
import { CONSUL_FAULTS } from './consul.ts';
import { DISK_FAULTS } from './disk.ts';
import { FAILPOINT_FAULTS } from './failpoints.ts';
import { NETWORK_FAULTS } from './network.ts';
import { duringSwitchover, ORDER_FAULTS } from './orders.ts';
import { POWER_FAULTS } from './power.ts';
import { PROCESS_FAULTS } from './processes.ts';

const single: readonly Fault[] = [...PROCESS_FAULTS, ...POWER_FAULTS, ...NETWORK_FAULTS, ...CONSUL_FAULTS, ...DISK_FAULTS, ...ORDER_FAULTS];

/** @throws Error when there is none of that name */
export function faultNamed(name: string): Fault {
  const found = FAULTS.find((fault) => fault.name === name);
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
export const FAULTS: readonly Fault[] = [
  ...single,
  ...single.filter(({ name }) => MEETS_SWITCHOVER.includes(name)).map(duringSwitchover),
  ...FAILPOINT_FAULTS,
];
