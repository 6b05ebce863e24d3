import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openDrainMarks } from './marks.ts';

let path: string;
beforeEach(async () => {
  path = join(await mkdtemp(join(tmpdir(), 'xcaas-marks-')), 'drained.json');
});
afterEach(() => rm(join(path, '..'), { recursive: true, force: true }));

test('a drain that was asked for outlives the agent, one that was only seen does not', async () => {
  const marks = await openDrainMarks(path);
  await Promise.all([marks.drain('a'), marks.drain('b')]);
  marks.sawStop('c');
  expect([...marks.all()].sort()).toEqual(['a', 'b', 'c']);
  await marks.undrain('b');
  expect([...(await openDrainMarks(path)).all()]).toEqual(['a']);
});

test('what no longer exists is forgotten; a stop that was none too, after a while', async () => {
  let time = 0;
  const marks = await openDrainMarks(path, () => time);
  await marks.drain('a');
  marks.sawStop('b');
  await marks.prune(new Set(['a', 'b']));
  expect(marks.all().size).toBe(2);
  time += 121_000;
  await marks.prune(new Set(['b']));
  expect(marks.all().size).toBe(0);
  expect((await openDrainMarks(path)).all().size).toBe(0);
});

test('a damaged file is no reason not to start', async () => {
  await writeFile(path, '{"v":2');
  expect((await openDrainMarks(path)).all().size).toBe(0);
});
