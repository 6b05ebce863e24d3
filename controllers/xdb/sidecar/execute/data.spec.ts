import { appendFileSync, chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import process from 'node:process';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Moment, Tools } from './context.ts';
import { clone, initialise, wipe } from './data.ts';

let folder: string;
let path: string | undefined;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'xdb-data-'));
  path = process.env.PATH;
  process.env.PATH = `${folder}${delimiter}${path}`;
});
afterEach(() => {
  process.env.PATH = path;
  rmSync(folder, { recursive: true, force: true });
});

/** A member of which is noted in one file what happens to its disk, in what order, also by the program `sync`. @param fails what does not work */
function member(fails?: string) {
  const notes = join(folder, 'notes');
  writeFileSync(notes, '');
  const note = (what: string) => async () => {
    if (what === fails) throw new Error(what);
    appendFileSync(notes, `${what}\n`);
  };
  writeFileSync(join(folder, 'sync'), `#!/bin/sh\n${fails === 'sync' ? 'echo no space left >&2; exit 1' : `echo "sync $*" >> ${notes}`}\n`);
  chmodSync(join(folder, 'sync'), 0o755);
  const tools = {
    config: { db: 'adb', member: 'adb-1', paths: { data: '/data' } },
    credentials: { current: () => ({ agent: 'secret' }) },
    engine: { wipe: note('data gone'), initialise: note('data made') },
    disk: { endGeneration: note('generation gone'), beginGeneration: note('generation written') },
    supervisor: { kill: note('engine killed'), engine: () => ({ state: 'none' }) },
    link: { drop: () => undefined },
    failpoints: { at: async () => undefined },
    onClone: () => undefined,
    onFailedCopy: () => undefined,
    takeClone: note('data copied'),
  } as unknown as Tools;
  const sync = { value: { leader: { id: 'adb-2', gen: 'g' }, epoch: 3 } };
  const moment = {
    view: { protocol: { sync }, spec: { value: { role: 'pair' } } },
    addressOf: () => '10.0.0.2',
    signal: new AbortController().signal,
  } as unknown as Moment;
  return { tools, moment, notes: () => readFileSync(notes, 'utf8').split('\n').filter(Boolean) };
}

const MADE = ['generation gone', 'data gone', 'data made', 'sync --file-system /data', 'generation written'];

it('birth: a generation is written last, once the data are on the disk', async () => {
  const { tools, moment, notes } = member();
  expect(await initialise({ rule: 'birth', do: 'initialise', reason: '' }, tools, moment)).toEqual({ is: 'done' });
  expect(notes()).toEqual(MADE);
});

it('R3: so it is with a copy', async () => {
  const { tools, moment, notes } = member();
  expect(await clone({ rule: 'R3', do: 'clone', leader: 'adb-2', reason: '' }, tools, moment)).toEqual({ is: 'done' });
  expect(notes()).toEqual(MADE.map((what) => (what === 'data made' ? 'data copied' : what)));
});

it.each(['sync', 'data copied'])('R3: without a generation when %s fails', async (fails) => {
  const { tools, moment, notes } = member(fails);
  await expect(clone({ rule: 'R3', do: 'clone', leader: 'adb-2', reason: '' }, tools, moment)).rejects.toThrow();
  expect(notes()).not.toContain('generation written');
});

it('R2: the engine, then the generation, then the data', async () => {
  const { tools, moment, notes } = member();
  await wipe({ rule: 'R2', do: 'wipe', reason: '' }, tools, moment);
  expect(notes()).toEqual(['engine killed', 'generation gone', 'data gone']);
});

it('R2: no data are thrown away whose generation could not be', async () => {
  const { tools, moment, notes } = member('generation gone');
  await expect(wipe({ rule: 'R2', do: 'wipe', reason: '' }, tools, moment)).rejects.toThrow();
  expect(notes()).toEqual(['engine killed']);
});
