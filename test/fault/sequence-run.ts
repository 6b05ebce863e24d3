import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { createRandom } from '#test/random.ts';
import type { Fault } from './fault.ts';
import { describeRun, type RunResult } from './results.ts';
import { faultSequence } from './sequence.ts';
import type { Suite } from './suite.ts';

/**
 * Declares a run of faults at random on a service under writes: its length, its seed and which faults are from the environment (README.md).
 *
 * @param what is under writes, for its name
 */
export function describeFaults<W, F extends Fault<W>>(
  what: string,
  faults: readonly F[],
  start: (seed: number) => Promise<Suite<W, F>>,
): void {
  // What is waited for is bounded one by one.
  vi.setConfig({ testTimeout: 1_200_000, hookTimeout: 900_000 });
  const seed = Number(process.env.XCAAS_FAULT_SEED ?? 1);
  const only = new RegExp(process.env.XCAAS_FAULT_ONLY ?? '');
  const count = Number(process.env.XCAAS_FAULTS ?? 200);
  /** A run in parts: its faults from this number on. */
  const from = Number(process.env.XCAAS_FAULT_FROM ?? 1);
  const random = createRandom(seed);
  const chosen = faults.filter(({ name }) => only.test(name));
  const sequence = faultSequence(chosen, chosen.length === 0 ? 0 : count, random.fork('sequence'));

  describe.skipIf(process.env.XCAAS_FAULT_PROVE !== undefined || sequence.length === 0)(`${count} faults on ${what}, seed ${seed}`, () => {
    let suite: Suite<W, F>;
    let result: RunResult | undefined;
    /** Why the rest is not tried. */
    let over: string | undefined;
    beforeAll(async () => {
      suite = await start(seed);
    });
    afterAll(async () => {
      if (result !== undefined) process.stderr.write(`\n${describeRun(result)}\n`);
      await suite?.stop();
    });

    const rows = sequence.map((fault, at) => ({ fault, number: at + 1, name: fault.name }));
    it.each(rows.slice(from - 1))('#$number $name', async ({ fault, number }) => {
      if (over !== undefined) throw new Error(`not tried: ${over}`);
      const one = await suite.runner.run(fault, number, random.fork(`fault ${number}`)).catch((error: unknown) => {
        over = `it was not whole before fault ${number}`;
        throw error;
      });
      result = suite.keep(one);
      process.stderr.write(
        `    ${one.what}; nothing acknowledged for ${one.stallMs} ms (${one.stallAfterHealMs} ms after the healing), whole ${one.wholeMs} ms after the healing${one.counts.excused > 0 ? `, ${one.counts.excused} lost as they may be` : ''}\n`,
      );
      if (one.failures.length > 0)
        process.stderr.write(`    WRONG: ${one.failures.join('\n    ')}\n    see ${await suite.diagnose(`fault-${number}`)}\n`);
      expect(one.failures).toEqual([]);
    });

    it('holds everything that was acknowledged from the beginning', async () => {
      if (over !== undefined) throw new Error(`not tried: ${over}`);
      const verdict = await suite.runner.checkAll();
      process.stderr.write(`  all of it: ${verdict.sentence}\n`);
      expect(verdict.violations).toEqual([]);
    });
  });
}
