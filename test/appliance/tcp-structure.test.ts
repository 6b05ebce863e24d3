import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { waitFor } from '#core/sleep.ts';
import type { TcpConfigInput } from '#tcp/schema.ts';
import { createHaproxy, type Echo, freePort, listen, open, startEcho, type TestHaproxy } from './tcp-haproxy.ts';

describe('the structure of the TCP part', () => {
  let haproxy: TestHaproxy;
  let echo: Echo;
  let port: number;
  let checkOk = true;
  const config = (change: Partial<TcpConfigInput> = {}): TcpConfigInput => ({
    listeners: [{ port, backend: 'web', address: '127.0.0.1' }],
    backends: [{ name: 'web' }],
    ...change,
  });
  const peer = () => ({ id: 'echo:1', address: '127.0.0.1', port: echo.port });

  beforeAll(async () => {
    haproxy = await createHaproxy({ checkOk: () => checkOk });
    echo = await startEcho('one');
    port = await freePort();
  });
  afterAll(async () => {
    await haproxy?.stop();
    await echo?.close();
  });

  it('starts with a file made from nothing, and takes a structure staged before it ran', async () => {
    await haproxy.driver.prepare();
    expect(await haproxy.driver.applyConfig(config(), [{ backend: 'web', version: 1, peers: [peer()] }])).toBe('staged');
    await haproxy.start();
    const client = await open(port);
    expect(client.peer).toBe('one');
    await client.close();
    expect(await haproxy.driver.status()).toMatchObject({ running: true, oldWorkers: 0 });
  });

  it('does not reload for the same structure', async () => {
    const before = (await haproxy.driver.status()).reloads;
    expect(await haproxy.driver.applyConfig(config())).toBe('unchanged');
    expect((await haproxy.driver.status()).reloads).toBe(before);
  });

  it('leaves the old one in force when the check refuses the new one', async () => {
    const file = await readFile(haproxy.driver.configPath, 'utf8');
    const before = await haproxy.driver.status();
    checkOk = false;
    await expect(haproxy.driver.applyConfig(config({ idleTimeoutMs: 5000 }))).rejects.toMatchObject({ code: 'config_rejected' });
    checkOk = true;
    expect(await readFile(haproxy.driver.configPath, 'utf8')).toBe(file);
    expect(await haproxy.driver.status()).toEqual(before);
    const client = await open(port);
    await client.close();
  });

  it('leaves the old one in force when a port is taken, and says so', async () => {
    const other = createServer();
    const taken = await listen(other);
    const file = await readFile(haproxy.driver.configPath, 'utf8');
    const client = await open(port);
    const two = config({
      listeners: [
        { port, backend: 'web', address: '127.0.0.1' },
        { port: taken, backend: 'web', address: '127.0.0.1' },
      ],
    });
    await expect(haproxy.driver.applyConfig(two)).rejects.toMatchObject({ code: 'port_taken' });
    expect(await readFile(haproxy.driver.configPath, 'utf8')).toBe(file);
    expect(await client.ping()).toBe(true);
    const fresh = await open(port);
    await fresh.close();

    await new Promise((resolve) => other.close(resolve));
    expect(await haproxy.driver.applyConfig(two)).toBe('reloaded');
    const second = await open(taken);
    expect(second.peer).toBe('one');
    await second.close();
    expect(await client.ping()).toBe(true);
    await client.close();
  });

  it('keeps connections in the replaced worker, counts them, drains them and cuts them there', async () => {
    await haproxy.driver.applyConfig(config());
    const kept = await Promise.all([open(port), open(port), open(port)]);
    expect(await haproxy.driver.applyConfig(config({ idleTimeoutMs: 50_000 }))).toBe('reloaded');
    expect((await haproxy.driver.status()).oldWorkers).toBeGreaterThan(0);
    const fresh = await open(port);
    const [table] = await haproxy.driver.readTables();
    expect(table).toMatchObject({ backend: 'web', live: true, peers: [{ id: 'echo:1', active: 4, activeInOldWorkers: 3, healthy: true }] });
    expect(await Promise.all(kept.map((client) => client.ping()))).toEqual([true, true, true]);

    expect(await haproxy.driver.shutdownSessions('echo:1')).toBe(4);
    const all = [...kept, fresh];
    expect(await waitFor(async () => (all.every((client) => client.closed) ? true : undefined), { timeoutMs: 5000, intervalMs: 5 })).toBe(
      true,
    );
    const gone = await waitFor(async () => ((await haproxy.driver.status()).oldWorkers === 0 ? true : undefined), { timeoutMs: 10_000 });
    expect(gone).toBe(true);
  });

  it('cuts in replaced workers too when a peer leaves a table that says so', async () => {
    const cut = config({ backends: [{ name: 'web', onRemoved: 'cut', onMarkedDown: 'shutdown-sessions' }] });
    await haproxy.driver.applyConfig(cut);
    const old = await open(port);
    await haproxy.driver.applyConfig({ ...cut, idleTimeoutMs: 60_000 });
    const current = await open(port);
    const outcome = await haproxy.driver.applyTable({ backend: 'web', version: 2, peers: [] }, { allowEmpty: true });
    expect(outcome).toMatchObject({ live: true, leaving: [] });
    expect(await waitFor(async () => (old.closed && current.closed ? true : undefined), { timeoutMs: 5000, intervalMs: 5 })).toBe(true);
    expect((await haproxy.driver.readTables())[0]?.peers).toEqual([]);
  });

  it('goes on with a new driver where the one before it was', async () => {
    await haproxy.driver.applyTable({ backend: 'web', version: 3, peers: [peer()] });
    const next = haproxy.newDriver();
    const before = await next.status();
    expect(before.generation).toBe(before.wantedGeneration);
    await next.prepare();
    expect(await next.readTables()).toMatchObject([{ backend: 'web', version: 3, live: true }]);
    await expect(next.applyTable({ backend: 'web', version: 2, peers: [peer()] })).rejects.toMatchObject({ code: 'conflict' });
    await expect(next.applyTable({ backend: 'web', version: 4, peers: [] })).rejects.toMatchObject({ code: 'invalid' });
    await expect(next.applyTable({ backend: 'nobody', version: 4, peers: [] })).rejects.toMatchObject({ code: 'not_found' });
  });
});
