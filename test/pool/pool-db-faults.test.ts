import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { createRandom } from '#test/random.ts';
import { type DbSuite, startDbSuite } from '../fault/db-suite.ts';
import { faultNamed } from '../fault/faults/db.ts';

/** The worst of what the fault suite (test/fault) does to a database under writes, in three minutes. */
vi.setConfig({ testTimeout: 600_000, hookTimeout: 900_000 });

const WORST = [
  'kill -9 engine of the master',
  'kill -9 engine of the master while commits hang',
  'SIGSTOP supervisor and sidecar of the master',
  'acknowledgements are lost, everything else arrives',
  "the master's host loses its power",
];

describe('a database under writes', () => {
  const random = createRandom(1);
  let suite: DbSuite;
  beforeAll(async () => {
    suite = await startDbSuite({ seed: 1 });
  });
  afterAll(() => suite?.stop());

  it.each(WORST.map((name, at) => ({ name, number: at + 1 })))('loses nothing when: $name', async ({ name, number }) => {
    const one = await suite.runner.run(faultNamed(name), number, random.fork(name));
    process.stderr.write(`  ${one.what}; nothing acknowledged for ${one.stallMs} ms, whole ${one.wholeMs} ms after the healing\n`);
    if (one.failures.length > 0) process.stderr.write(`  see ${await suite.diagnose(`fault-${number}`)}\n`);
    expect(one.failures).toEqual([]);
  });
});
