import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { silentLogger } from '#core/log.ts';
import { TcpConfig, TcpTable } from '#tcp/schema.ts';
import { createStore } from '#tcp/store.ts';

const table = (version: number) => TcpTable.parse({ backend: 'web', version, peers: [{ id: 'a', address: '10.0.0.1', port: 80 }] });

describe('what is on disk', () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'tcp-store-'));
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));
  const store = () => createStore({ dir, log: silentLogger() });

  it('is empty at first', async () => {
    expect(await store().loadConfig()).toBeUndefined();
    expect(await store().loadTables()).toEqual([]);
  });

  it('comes back', async () => {
    const config = TcpConfig.parse({ listeners: [{ port: 1, backend: 'web' }], backends: [{ name: 'web' }] });
    await store().saveConfig(config);
    await store().saveTable(table(1));
    await store().saveTable(table(2));
    expect(await store().loadConfig()).toEqual(config);
    expect(await store().loadTables()).toEqual([table(2)]);
  });

  it('falls back one generation when a file is damaged, and keeps that one when it saves again', async () => {
    const path = join(dir, 'tables', 'web.json');
    await store().saveTable(table(1));
    await store().saveTable(table(2));
    await writeFile(path, (await readFile(path, 'utf8')).replace('10.0.0.1', '10.0.0.2'));
    expect(await store().loadTables()).toEqual([table(1)]);
    await store().saveTable(table(3));
    await rm(path);
    expect(await store().loadTables()).toEqual([table(1)]);
  });

  it('forgets a table in both generations', async () => {
    await store().saveTable(table(1));
    await store().saveTable(table(2));
    await store().removeTable('web');
    expect(await store().loadTables()).toEqual([]);
  });
});
