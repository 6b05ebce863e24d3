import { startCacheSuite } from './cache-suite.ts';
import { CACHE_FAULTS } from './faults/cache.ts';
import { describeFaults } from './sequence-run.ts';

/**
 * Faults at random on a replicated cache under writes. After each one: what was acknowledged is there, but for what the stated bounds let be lost; nothing is there twice, no two masters
 * acknowledged writes at once, both members are the same, and nobody typed a command. `./xcaas test fault cache [--seed N] [--faults N]`.
 */
describeFaults('a cache', CACHE_FAULTS, (seed) => startCacheSuite({ seed }));
