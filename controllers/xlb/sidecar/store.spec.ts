import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { z } from 'zod';
import { silentLogger } from '#core/log.ts';
import { GroupTable } from '#xlb/schema.ts';
import { createStore, type Store, seal, unseal } from './store.ts';

let folder: string;
let store: Store;
const table = (version: number) =>
  GroupTable.parse({
    name: 'web',
    version,
    peers: [{ id: 'a', address: '10.0.0.1', port: 80, weight: 1, state: 'up', container: '', node: '' }],
  });

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'store-'));
  store = createStore({ tables: join(folder, 'tables'), services: join(folder, 'services'), log: silentLogger() });
});
afterEach(() => rm(folder, { recursive: true, force: true }));

it('keeps two generations of a table and passes a damaged one over', async () => {
  await store.saveTable('web', JSON.stringify(table(1)));
  await store.saveTable('web', JSON.stringify(table(2)));
  expect((await store.loadTables()).get('web')).toEqual(table(2));
  const path = join(folder, 'tables/web.json');
  await writeFile(path, (await readFile(path, 'utf8')).slice(0, -5));
  expect((await store.loadTables()).get('web')).toEqual(table(1));
  await store.deleteTable('web');
  expect(await readdir(join(folder, 'tables'))).toEqual([]);
});

it('does not take one group for another', async () => {
  await store.saveTable('api', JSON.stringify(table(1)));
  expect((await store.loadTables()).size).toBe(0);
});

it('remembers services and forgets those that nobody names', async () => {
  await store.saveService({ v: 1, service: 'web', instances: [], emptySince: 5 });
  await store.saveService({ v: 1, service: 'old', instances: [] });
  expect(await store.loadService('web')).toEqual({ v: 1, service: 'web', instances: [], emptySince: 5 });
  await store.keepServices(new Set(['web']));
  expect(await store.loadService('old')).toBeUndefined();
  expect(await store.loadService('web')).toBeDefined();
});

it('a seal breaks with any byte', () => {
  const schema = z.object({ a: z.string() });
  fc.assert(
    fc.property(fc.string(), fc.nat(), fc.integer({ min: 1, max: 255 }), (a, at, flip) => {
      const text = seal(JSON.stringify({ a }));
      expect(unseal(text, schema)).toEqual({ a });
      const bytes = Buffer.from(text);
      const index = at % bytes.length;
      bytes[index] = (bytes[index] ?? 0) ^ flip;
      expect(unseal(bytes.toString('utf8'), schema)).toBeUndefined();
    }),
  );
});
