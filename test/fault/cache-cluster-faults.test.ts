import { startCacheSuite } from './cache-suite.ts';
import { CLUSTER_FAULTS } from './faults/cluster.ts';
import { describeFaults } from './sequence-run.ts';

/** Faults at random on a cluster of three shards under writes: as `cache-faults.test.ts`, but for who leads, which engines decide here. */
describeFaults('a cluster', CLUSTER_FAULTS, (seed) => startCacheSuite({ seed, isCluster: true }));
