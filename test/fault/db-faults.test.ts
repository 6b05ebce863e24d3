import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { describeVerdict } from '#test/history/check.ts';
import { createRandom } from '#test/random.ts';
import { FAULTS } from './faults/vocabulary.ts';
import { describeRun, type RunResult } from './results.ts';
import { faultSequence } from './sequence.ts';
import { type Suite, startSuite } from './suite.ts';

/**
 * Faults at random on a database under writes. After each one: nothing acknowledged is missing, nothing is there twice, no epoch has two writers, both
 * members are the same, and nobody typed a command. `./xcaas test fault [--seed N] [--faults N]`; XCAAS_FAULT_ONLY chooses those whose names match.
 */
// What is waited for is bounded one by one.
vi.setConfig({ testTimeout: 1_200_000, hookTimeout: 900_000 });

const seed = Number(process.env.XCAAS_FAULT_SEED ?? 1);
const only = new RegExp(process.env.XCAAS_FAULT_ONLY ?? '');
const count = Number(process.env.XCAAS_FAULTS ?? 200);
/** A run in parts: its faults from this number on. */
const from = Number(process.env.XCAAS_FAULT_FROM ?? 1);
const random = createRandom(seed);
const sequence = faultSequence(
  FAULTS.filter(({ name }) => only.test(name)),
  count,
  random.fork('sequence'),
);

describe.skipIf(process.env.XCAAS_FAULT_PROVE !== undefined)(`${count} faults, seed ${seed}`, () => {
  let suite: Suite;
  let result: RunResult | undefined;
  /** Why the rest is not tried. */
  let over: string | undefined;
  beforeAll(async () => {
    suite = await startSuite({ seed });
  });
  afterAll(async () => {
    if (result !== undefined) process.stderr.write(`\n${describeRun(result)}\n`);
    await suite?.stop();
  });

  const faults = sequence.map((fault, at) => ({ fault, number: at + 1, name: fault.name }));
  it.each(faults.slice(from - 1))('#$number $name', async ({ fault, number }) => {
    if (over !== undefined) throw new Error(`not tried: ${over}`);
    const one = await suite.runner.run(fault, number, random.fork(`fault ${number}`)).catch((error: unknown) => {
      over = `the database was not whole before fault ${number}`;
      throw error;
    });
    result = suite.keep(one);
    process.stderr.write(
      `    ${one.what}; nothing acknowledged for ${one.stallMs} ms (${one.stallAfterHealMs} ms after the healing), whole ${one.wholeMs} ms after the healing\n`,
    );
    if (one.failures.length > 0) process.stderr.write(`    see ${await suite.diagnose(`fault-${number}`)}\n`);
    expect(one.failures).toEqual([]);
  });

  it('holds everything that was acknowledged from the beginning', async () => {
    if (over !== undefined) throw new Error(`not tried: ${over}`);
    const verdict = await suite.runner.checkAll();
    process.stderr.write(`  all of it: ${describeVerdict(verdict)}\n`);
    expect(verdict.violations).toEqual([]);
  });
});
