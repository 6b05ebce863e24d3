import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { silentLogger } from '#core/log.ts';
import { sleep } from '#core/sleep.ts';
import { hasData, initialise, wipe } from './initialise.ts';
import { type Setting, withDefaults } from './options.ts';

let folder: string;
let setting: Setting;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'xdb-init-'));
  setting = withDefaults({
    dataDir: join(folder, 'db'),
    socketPath: join(folder, 'engine.sock'),
    extra: { host: '127.0.0.1', port: 0 },
    agentPassword: () => 'secret',
    log: silentLogger(),
    programs: { install: join(folder, 'install') },
  });
});
afterEach(() => rm(folder, { recursive: true, force: true, maxRetries: 10 }));

/** What makes data here. `$data` is where it is told to make them. */
async function installer(script: string): Promise<void> {
  const lines = ['#!/bin/sh', 'for arg; do case $arg in --datadir=*) data=$' + '{arg#--datadir=};; esac; done', script];
  await writeFile(join(folder, 'install'), `${lines.join('\n')}\n`);
  await chmod(join(folder, 'install'), 0o755);
}

const MAKES = 'mkdir "$data/mysql" && touch "$data/ibdata1"';

it('makes data aside and puts them in their place at once', async () => {
  await installer(`${MAKES}; ls "${'$'}(dirname "$data")" > ${folder}/seen`);
  await initialise(setting, 'secret');
  expect(await hasData(setting)).toBe(true);
  expect((await readFile(join(folder, 'seen'), 'utf8')).split('\n')).not.toContain('db');
  expect((await readdir(folder)).filter((name) => name.startsWith('db'))).toEqual(['db']);
});

it('leaves nothing of a try that failed', async () => {
  await installer(`${MAKES}; echo no space left >&2; exit 1`);
  await expect(initialise(setting, 'secret')).rejects.toMatchObject({ code: 'engine' });
  expect(await hasData(setting)).toBe(false);
  expect((await readdir(folder)).filter((name) => name.startsWith('db'))).toEqual([]);
});

it('ends what takes too long with all that it has started: nothing goes on beside the next try', async () => {
  // As mariadb-install-db does: the server is a child of the script.
  await installer(`sh -c 'while :; do echo x >> ${folder}/alive; sleep 0.02; done' & ${MAKES}; wait`);
  await expect(initialise(setting, 'secret', 300)).rejects.toMatchObject({ code: 'timeout' });
  await sleep(100);
  const before = (await readFile(join(folder, 'alive'), 'utf8')).length;
  expect(before).toBeGreaterThan(0);
  await sleep(200);
  expect((await readFile(join(folder, 'alive'), 'utf8')).length).toBe(before);
  expect((await readdir(folder)).filter((name) => name.startsWith('db'))).toEqual([]);
  await installer(MAKES);
  await initialise(setting, 'secret');
  expect(await hasData(setting)).toBe(true);
});

it('makes no data where something is', async () => {
  await installer(MAKES);
  await mkdir(setting.dataDir);
  await writeFile(join(setting.dataDir, 'precious'), 'x');
  await expect(initialise(setting, 'secret')).rejects.toMatchObject({ code: 'conflict' });
  expect(await readdir(setting.dataDir)).toEqual(['precious']);
});

it('R2: throws away also what a wipe and a try before it left half done', async () => {
  for (const name of ['db', 'db.old', 'db.new']) {
    await mkdir(join(folder, name, 'mysql'), { recursive: true });
    await writeFile(join(folder, name, 'ibdata1'), name);
  }
  await wipe(setting);
  expect(await hasData(setting)).toBe(false);
  expect((await readdir(folder)).filter((name) => name.startsWith('db'))).toEqual(['db']);
  expect(await readdir(setting.dataDir)).toEqual([]);
});
