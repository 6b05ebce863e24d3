import { startDbSuite } from './db-suite.ts';
import { DB_FAULTS } from './faults/db.ts';
import { describeFaults } from './sequence-run.ts';

/**
 * Faults at random on a database under writes. After each one: nothing acknowledged is missing, nothing is there twice, no epoch has two writers, both
 * members are the same, and nobody typed a command. `./xcaas test fault db [--seed N] [--faults N]`; XCAAS_FAULT_ONLY chooses those whose names match.
 */
describeFaults('a database', DB_FAULTS, (seed) => startDbSuite({ seed }));
