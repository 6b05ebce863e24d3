import { defineConfig } from 'vitest/config';

const patient = { testTimeout: 120_000, hookTimeout: 300_000 };
/** They share the engine of this machine, its ports and what is installed: their files run one after another. */
const serial = { ...patient, fileParallelism: false };
/** Their containers, networks and pools are their own, and most of their time is spent waiting: with two at a time half of two cores lay idle in the appliances', a quarter in the pools'. */
const atATime = (maxWorkers: number) => ({ ...patient, maxWorkers });

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['controllers/**/*.spec.ts', 'test/{lib,fault}/**/*.spec.ts'],
          // A busy machine makes a property test slow, not wrong.
          testTimeout: 60_000,
          // Most of their time is spent waiting, and no module keeps state that another file could meet.
          isolate: false,
          maxWorkers: 4,
        },
      },
      { test: { name: 'ground', include: ['test/ground/**/*.test.ts'], ...serial } },
      { test: { name: 'appliance', include: ['test/appliance/**/*.test.ts'], ...atATime(3) } },
      { test: { name: 'pool', include: ['test/pool/**/*.test.ts'], ...atATime(2) } },
      // Hours long when asked for: not part of a plain `./xcaas test`.
      { test: { name: 'fault', include: ['test/fault/**/*.test.ts'], ...serial } },
    ],
  },
});
