import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createFailpoints } from './failpoint.ts';

test('nothing happens at a point that nobody named; an error does at one that somebody did, only the Nth time if so wished', async () => {
  const points = createFailpoints('write:P5:after=error*2, step:drain:before=error');
  await points.at('write:P5:before');
  await points.at('write:P5:after');
  await expect(points.at('write:P5:after')).rejects.toThrow('write:P5:after');
  await points.at('write:P5:after');
  await expect(points.at('step:drain:before')).rejects.toThrow('step:drain:before');
});

test('what is no fail point is refused', () => {
  for (const text of ['write:P5', 'write:P5=explode', '=crash', 'a=crash*0x'])
    expect(() => createFailpoints(text)).toThrow(/no fail point/);
});

test('a list in a file may change at any time', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'xcaas-failpoints-'));
  try {
    const file = join(folder, 'list');
    const points = createFailpoints(`@${file}`);
    await points.at('disk:before');
    writeFileSync(file, 'disk:before=error\n');
    await expect(points.at('disk:before')).rejects.toThrow('disk:before');
    rmSync(file);
    await points.at('disk:before');
  } finally {
    rmSync(folder, { recursive: true });
  }
});
