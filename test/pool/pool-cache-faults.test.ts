import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { createRandom } from '#test/random.ts';
import { type CacheSuite, startCacheSuite } from '../fault/cache-suite.ts';
import { cacheFaultNamed } from '../fault/faults/cache.ts';

/** The worst of what the fault suite (test/fault) does to a cache under writes, as caches are by default: nothing on disk. */
vi.setConfig({ testTimeout: 600_000, hookTimeout: 900_000 });

const WORST = [
  'kill -9 engine of the master',
  "the master's host is cut off from everything",
  'SIGSTOP supervisor and sidecar of the master',
  'switchover, and in the middle of it: kill -9 engine of the replica',
  "the master's host loses its power",
];

describe('a cache under writes', () => {
  const random = createRandom(1);
  let suite: CacheSuite;
  beforeAll(async () => {
    suite = await startCacheSuite({ seed: 1, create: [] });
  });
  afterAll(() => suite?.stop());

  it.each(WORST.map((name, at) => ({ name, number: at + 1 })))(
    'loses no more than it may, and has one master, when: $name',
    async ({ name, number }) => {
      const fault = cacheFaultNamed(name);
      // As short as it can be: the long ones are for the long run.
      const lasts = [fault.lasts[0], Math.min(fault.lasts[0] + 2, fault.lasts[1])] as const;
      const one = await suite.runner.run({ ...fault, lasts }, number, random.fork(name));
      process.stderr.write(
        `  ${one.what}; ${one.counts.acked} acknowledged, ${one.counts.excused} lost as they may be; nothing acknowledged for ${one.stallMs} ms, whole ${one.wholeMs} ms after the healing\n`,
      );
      if (one.failures.length > 0)
        process.stderr.write(`  WRONG: ${one.failures.join('\n')}\n  see ${await suite.diagnose(`fault-${number}`)}\n`);
      expect(one.failures).toEqual([]);
    },
  );
});
