import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { hasCode } from '#core/errors.ts';
import { openFence } from './fence.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'xcaas-fence-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

test('a lower fence is refused, also after a restart', async () => {
  const path = join(folder, 'a/fence');
  const fence = await openFence(path);
  expect(await fence.admit('7')).toBe(7);
  expect(await fence.admit('7')).toBe(7);
  await expect(fence.admit('6')).rejects.toMatchObject({ code: 'fenced', status: 409 });
  const again = await openFence(path);
  await expect(again.admit('6')).rejects.toMatchObject({ code: 'fenced' });
  expect(await again.admit('8')).toBe(8);
  expect(() => again.hold(7)).toThrow(/another control replica/);
});

test.each([undefined, '', '0', '-1', '1.5', 'x', '99999999999999999999', ['1', '2']])('%j is no fence', async (value) => {
  const fence = await openFence(join(folder, 'fence'));
  await expect(fence.admit(value)).rejects.toMatchObject({ code: 'invalid', status: 400 });
});

test('a damaged file is not taken for "none seen"', async () => {
  const path = join(folder, 'fence');
  await writeFile(path, 'garbage');
  await expect(openFence(path)).rejects.toMatchObject({ code: 'invalid' });
});

test('whatever the order, what is admitted never falls and what is on disk is the highest', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 12 }), async (values) => {
      const path = join(folder, 'property');
      await rm(path, { force: true });
      const fence = await openFence(path);
      const outcomes = await Promise.allSettled(values.map((value) => fence.admit(String(value))));
      const highest = Math.max(...values);
      expect((await openFence(path)).highest()).toBe(highest);
      for (const outcome of outcomes) if (outcome.status === 'rejected') expect(hasCode(outcome.reason, 'fenced')).toBe(true);
    }),
    { numRuns: 25 },
  );
});
