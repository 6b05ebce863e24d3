import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { run } from '#core/spawn.ts';

const SCRIPT = join(import.meta.dirname, '../../setup/count-tests.mjs');

it('tests are counted in plain numbers, also where programs are told to colour what they say', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'xc-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const report = join(folder, 'report.json');
  const red = '\u001b[31mAssertionError\u001b[39m: no\nat line 1';
  const assertionResults = [
    { status: 'passed', fullName: 'a' },
    { status: 'failed', fullName: 'b', failureMessages: [red] },
    { status: 'skipped', fullName: 'c' },
  ];
  const testResults = [
    { name: join(folder, 'one.test.ts'), status: 'failed', assertionResults },
    { name: join(folder, 'two.test.ts'), status: 'failed', assertionResults: [], message: 'cannot be loaded' },
  ];
  await writeFile(report, JSON.stringify({ numPassedTests: 1, numFailedTests: 1, numPendingTests: 1, testResults }));
  const { stdout } = await run(process.execPath, [SCRIPT, report, folder], { env: { ...process.env, FORCE_COLOR: '1' } });
  expect(stdout.split('\n')).toEqual([
    '1 2 1',
    'failed   one.test.ts: b: AssertionError: no',
    'skipped  one.test.ts: c',
    'failed   two.test.ts: cannot be loaded',
    '',
  ]);
});
