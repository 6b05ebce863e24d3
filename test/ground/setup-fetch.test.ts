import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { run } from '#core/spawn.ts';

const repo = join(import.meta.dirname, '../..');
let root = '';

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'xcaas-setup-'));
  // Says what it made, in the folder it is in, as npm does.
  await writeFile(join(root, 'npm'), '#!/bin/sh\necho archive >thing-7.tgz\necho thing-7.tgz\n');
  await chmod(join(root, 'npm'), 0o755);
});
afterAll(() => rm(root, { recursive: true, force: true }));

it('fetching a package leaves whoever asks for it in the folder it was in', async () => {
  const script = `set -Eeuo pipefail
REPO=$1
for part in common network npm-fetch preflight; do . "$REPO/setup/$part.sh"; done
scratch
cd "$REPO"
npm_fetch thing 7 "$XCAAS_ROOT/fetched.tgz"
pwd`;
  const env = { ...process.env, XCAAS_ROOT: root, PATH: `${root}:${process.env.PATH}` };
  const { code, stdout, stderr } = await run('bash', ['-c', script, 'setup', repo], { env });
  expect({ code, stderr }).toMatchObject({ code: 0 });
  expect(stdout.trim()).toBe(repo);
  expect(await readFile(join(root, 'fetched.tgz'), 'utf8')).toBe('archive\n');
});
