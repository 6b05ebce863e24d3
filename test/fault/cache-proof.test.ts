import { afterEach, describe, expect, it, vi } from 'vitest';
import { createRandom } from '#test/random.ts';
import { type CacheSuite, startCacheSuite } from './cache-suite.ts';
import { cacheFaultNamed } from './faults/cache.ts';

/**
 * The suite is worth what it would find: with the fencing of a master that nobody hears switched off in all sidecars, and no count of replicas in the engine, the same fault must
 * end in two masters and in a loss beyond the bound, and be reported so. `./xcaas test fault cache --prove`.
 */
vi.setConfig({ testTimeout: 900_000, hookTimeout: 600_000 });

describe.runIf(process.env.XCAAS_FAULT_PROVE !== undefined)('without fencing', () => {
  let suite: CacheSuite | undefined;
  afterEach(async () => {
    await suite?.stop();
    suite = undefined;
  });

  it('two masters take writes at once, and it is found', async () => {
    suite = await startCacheSuite({ seed: 1, guards: 'lease', create: ['--opt', 'min-replicas=0'] });
    const fault = { ...cacheFaultNamed("the master's host is cut off from everything"), lasts: [12, 15] as const };
    const { failures, found } = await suite.runner.run(fault, 1, createRandom(1));
    process.stderr.write(`  ${failures.join('\n') || 'nothing found'}\n`);
    expect(found).toEqual(expect.arrayContaining(['two_masters', 'lost']));
  });
});
