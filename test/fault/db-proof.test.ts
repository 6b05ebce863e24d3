import { afterEach, describe, expect, it, vi } from 'vitest';
import type { ViolationKind } from '#test/history/check.ts';
import { createRandom } from '#test/random.ts';
import { type DbSuite, startDbSuite } from './db-suite.ts';
import { faultNamed } from './faults/db.ts';

/**
 * The suite is worth what it would find: with one rule of the protocol switched off in all sidecars (`XCAAS_TEST_GUARDS`) the same faults must end in a loss
 * that it reports. `./xcaas test fault --prove`.
 */
vi.setConfig({ testTimeout: 1_800_000, hookTimeout: 900_000 });

interface Proof {
  /** As `XCAAS_TEST_GUARDS` names it. */
  guard: string;
  rule: string;
  /** The fault that this rule is there for. */
  fault: string;
  /** Seconds, in place of the fault's own. */
  lasts?: readonly [number, number];
  /** What must be found, one of these at least. */
  finds: readonly ViolationKind[];
}

const PROOFS: readonly Proof[] = [
  {
    guard: 'semiSyncAwaited',
    rule: 'a commit is acknowledged before the slave has it',
    fault: 'kill -9 engine of the master while commits hang',
    finds: ['lost'],
  },
  {
    guard: 'recordBeforeAsync',
    rule: 'semi-sync is switched off while the record still names the slave',
    fault: "the slave does not hear the master for 8 s, then the master's host loses its power",
    finds: ['lost'],
  },
  {
    guard: 'sigtermAsFence',
    rule: 'an engine is ended by SIGTERM where it must be killed',
    // Where the record can be changed no commit waits any more when the engine ends.
    fault: 'Consul is stopped on all hosts, then kill -9 engine of the slave',
    lasts: [14, 16],
    finds: ['lost', 'members_differ', 'refused_present'],
  },
];

/** Which moment is hit is chance; so often it is tried. */
const TRIES = 5;

describe.runIf(process.env.XCAAS_FAULT_PROVE !== undefined)('without a rule', () => {
  let suite: DbSuite | undefined;
  afterEach(async () => {
    await suite?.stop();
    suite = undefined;
  });

  it.each(PROOFS)('$guard: $rule, and it is found', async ({ guard, fault: name, lasts, finds }) => {
    const random = createRandom(Number(process.env.XCAAS_FAULT_SEED ?? 1));
    const fault = { ...faultNamed(name), ...(lasts === undefined ? {} : { lasts }) };
    suite = await startDbSuite({ seed: 1, guards: guard, patienceMs: 20_000 });
    const kinds = new Set<string>();
    for (let number = 1; number <= TRIES && !finds.some((kind) => kinds.has(kind)); number++) {
      const { failures, found } = await suite.runner.run(fault, number, random.fork(`try ${number}`));
      process.stderr.write(`  try ${number}: ${failures.join('\n') || 'nothing found'}\n`);
      for (const kind of found) kinds.add(kind);
    }
    expect(finds.filter((kind) => kinds.has(kind))).not.toEqual([]);
  });
});
