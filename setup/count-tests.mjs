// node setup/count-tests.mjs REPORT ROOT: what a JSON report of vitest says. First line: passed, failed and skipped; then one line for each test that failed, with how its message begins, and for each that was skipped.
import { readFileSync } from 'node:fs';
import { relative } from 'node:path';

const MESSAGE_MAX = 300;
const ESCAPES = new RegExp(`${String.fromCharCode(27)}\\[[0-9;]*m`, 'g');
const [, , report, root] = process.argv;
const result = JSON.parse(readFileSync(report, 'utf8'));
const remarks = [];
const remark = (what, file, name, message) => {
  const begins = (message ?? '').replace(ESCAPES, '').split('\n', 1)[0].slice(0, MESSAGE_MAX);
  remarks.push(`${what.padEnd(8)} ${relative(root, file.name)}${name ? `: ${name}` : ''}${begins ? `: ${begins}` : ''}`);
};

let broken = 0;
for (const file of result.testResults) {
  const failed = file.assertionResults.filter((test) => test.status === 'failed');
  for (const test of failed) remark('failed', file, test.fullName, test.failureMessages?.[0]);
  // A file that could not be loaded, or whose preparation failed, has no tests that could fail.
  if (file.status === 'failed' && failed.length === 0) {
    broken++;
    remark('failed', file, '', file.message);
  }
  for (const test of file.assertionResults) {
    if (['pending', 'skipped', 'todo'].includes(test.status)) remark('skipped', file, test.fullName);
  }
}
// As text: numbers by themselves are coloured where FORCE_COLOR is set, and a shell reads this.
console.log([result.numPassedTests, result.numFailedTests + broken, result.numPendingTests + (result.numTodoTests ?? 0)].join(' '));
for (const line of remarks) console.log(line);
