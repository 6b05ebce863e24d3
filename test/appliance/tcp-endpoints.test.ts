import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { readIfThere } from '#core/files.ts';
import { sleep, waitFor } from '#core/sleep.ts';
import type { TcpBackend, TcpPeer } from '#tcp/schema.ts';
import { type Client, createHaproxy, type Echo, freePort, open, sample, startEcho, type TestHaproxy } from './tcp-haproxy.ts';

describe('the endpoints of the TCP part', () => {
  let haproxy: TestHaproxy;
  const echoes: Echo[] = [];
  const ports = new Map<string, number>();
  const versions = new Map<string, number>();
  const backends: (Partial<TcpBackend> & { name: string })[] = [
    { name: 'rr' },
    { name: 'least', algorithm: 'least_conn' },
    { name: 'hash', algorithm: 'hash' },
    { name: 'db', onMarkedDown: 'shutdown-sessions', onRemoved: 'cut' },
    { name: 'many' },
    { name: 'checked', maxFails: 3, check: { type: 'tcp', path: '/', intervalMs: 200, timeoutMs: 200, rise: 1, fall: 1 } },
    { name: 'http', check: { type: 'http', path: '/health', intervalMs: 200, timeoutMs: 200, rise: 1, fall: 1 } },
  ];
  let idleTimeoutMs = 86_400_000;
  /** A change of the structure that touches nobody. */
  async function reload() {
    idleTimeoutMs -= 1000;
    const listeners = backends.map(({ name }) => ({ port: port(name), backend: name, address: '127.0.0.1' }));
    expect(await haproxy.driver.applyConfig({ listeners, backends, idleTimeoutMs, halfClosedMs: 2000 })).toBe('reloaded');
  }
  const peer = (id: string, echo: Echo, change: Partial<TcpPeer> = {}) => ({ id, address: '127.0.0.1', port: echo.port, ...change });
  async function apply(backend: string, peers: (Partial<TcpPeer> & { id: string; address: string; port: number })[], how = {}) {
    const version = (versions.get(backend) ?? 0) + 1;
    versions.set(backend, version);
    const outcome = await haproxy.driver.applyTable({ backend, version, peers }, how);
    expect(outcome.live).toBe(true);
    return outcome;
  }
  const port = (backend: string) => ports.get(backend)!;
  const live = async (backend: string) => (await haproxy.driver.readTables()).find((table) => table.backend === backend)!;
  const within = (ms: number, probe: () => boolean | Promise<boolean>) =>
    waitFor(async () => ((await probe()) ? true : undefined), { timeoutMs: ms, intervalMs: 5 }).then((seen) => expect(seen).toBe(true));

  beforeAll(async () => {
    haproxy = await createHaproxy();
    for (const name of ['a', 'b', 'c', 'd']) echoes.push(await startEcho(name));
    for (const { name } of backends) ports.set(name, await freePort());
    await haproxy.driver.prepare();
    await haproxy.start();
    await reload();
  });
  afterAll(async () => {
    await haproxy?.stop();
    for (const echo of echoes) await echo.close();
  });

  it('takes peers as they come, exactly by weight', async () => {
    const [a, b, c] = echoes as [Echo, Echo, Echo];
    await apply('rr', [peer('a', a, { weight: 1000 }), peer('b', b, { weight: 500 }), peer('c', c, { weight: 250 })]);
    const reached = await sample(port('rr'), 700);
    expect(Object.fromEntries(reached)).toEqual({ a: 400, b: 200, c: 100 });
    await apply('rr', [peer('a', a, { weight: 1 }), peer('b', b, { weight: 3 })]);
    const again = await sample(port('rr'), 400);
    // The rotation goes on from where it stood.
    expect(Math.abs((again.get('b') ?? 0) - 300)).toBeLessThanOrEqual(2);
  });

  it('keeps 100 connections through 1,000 changes, and no new one fails', async () => {
    const all = echoes.map((echo, index) => peer(`peer-${index}`, echo));
    await apply('rr', all);
    const reloads = (await haproxy.driver.status()).reloads;
    const clients = await Promise.all(Array.from({ length: 100 }, () => open(port('rr'))));
    let failed = 0;
    let opened = 0;
    let changing = true;
    const traffic = (async () => {
      while (changing) {
        try {
          const client = await open(port('rr'));
          opened += 1;
          await client.close();
        } catch {
          failed += 1;
        }
      }
    })();
    const took: number[] = [];
    for (let change = 0; change < 1000; change += 1) {
      // Each change takes one peer away, brings another back, and changes weights or states of the rest.
      const away = change % 4;
      const peers = all.filter((_, index) => index !== away).map((one, index) => ({ ...one, weight: 1 + ((change * 7 + index) % 200) }));
      const start = performance.now();
      await apply('rr', change % 10 === 0 ? [{ ...peers[0]!, state: 'draining' as const }, ...peers.slice(1)] : peers);
      took.push(performance.now() - start);
    }
    changing = false;
    await traffic;
    took.sort((x, y) => x - y);
    console.log(
      `1,000 changes: median ${took[500]!.toFixed(1)} ms, p99 ${took[990]!.toFixed(1)} ms each, on disk too; ${opened} new connections meanwhile, ${failed} failed`,
    );
    expect(failed).toBe(0);
    expect(opened).toBeGreaterThan(100);
    expect(await Promise.all(clients.map((client) => client.ping()))).not.toContain(false);
    expect((await haproxy.driver.status()).reloads).toBe(reloads);
    await Promise.all(clients.map((client) => client.close()));
    // Peers that had left and had connections are gone once those have ended.
    await apply('rr', all.slice(0, 2));
    await haproxy.driver.settle();
    await within(5000, async () => {
      await haproxy.driver.settle();
      return (await live('rr')).peers.length === 2;
    });
  }, 300_000);

  it('drains: no new connection, the old one goes on, its end is seen', async () => {
    const [a, b] = echoes as [Echo, Echo];
    await apply('rr', [peer('a', a), peer('b', b)]);
    const clients = [await open(port('rr')), await open(port('rr'))];
    const onA = clients.find((client) => client.peer === 'a')!;
    await apply('rr', [peer('a', a, { state: 'draining' }), peer('b', b)]);
    expect(Object.fromEntries(await sample(port('rr'), 20))).toEqual({ b: 20 });
    expect(await onA.ping()).toBe(true);
    const draining = async () => (await live('rr')).peers.find(({ id }) => id === 'a');
    expect(await draining()).toMatchObject({ state: 'draining', active: 1 });

    const removed = await apply('rr', [peer('b', b)]);
    expect(removed.leaving).toEqual([{ id: 'a', active: 1 }]);
    expect(await onA.ping()).toBe(true);
    expect(await draining()).toMatchObject({ leaving: true, active: 1 });
    await Promise.all(clients.map((client) => client.close()));
    await within(5000, async () => (await haproxy.driver.settle()).every((outcome) => outcome.leaving.length === 0));
    expect(await draining()).toBeUndefined();
  });

  it('sends a new connection to the peer with the fewest', async () => {
    const [a, b, c] = echoes as [Echo, Echo, Echo];
    await apply('least', [peer('a', a), peer('b', b), peer('c', c)]);
    const clients: Client[] = [];
    for (let index = 0; index < 9; index += 1) clients.push(await open(port('least')));
    const count = (name: string) => clients.filter((client) => client.peer === name && !client.closed).length;
    expect([count('a'), count('b'), count('c')]).toEqual([3, 3, 3]);
    for (const client of clients.filter((one) => one.peer === 'b')) await client.close();
    await within(5000, async () => (await live('least')).peers.find(({ id }) => id === 'b')?.active === 0);
    for (let index = 0; index < 3; index += 1) clients.push(await open(port('least')));
    expect(count('b')).toBe(3);
    await Promise.all(clients.map((client) => client.close()));
  });

  it('keeps a client on its peer by hash: also in a new worker, with peers in another order, and after one has moved', async () => {
    const clients = Array.from({ length: 60 }, (_, index) => `127.0.9.${index + 1}`);
    const mapping = async () => {
      const reached: string[] = [];
      for (const from of clients) {
        const client = await open(port('hash'), from);
        reached.push(client.peer);
        await client.close();
      }
      return reached.join('');
    };
    const [a, b, c, d] = echoes as [Echo, Echo, Echo, Echo];
    const peers = [peer('1', a), peer('2', b), peer('3', c)];
    await apply('hash', peers);
    const first = await mapping();
    expect(new Set(first).size).toBe(3);
    await apply('hash', [], { allowEmpty: true });
    await apply('hash', [...peers].reverse());
    expect(await mapping()).toBe(first);

    await apply('hash', [peers[0]!, peers[1]!, peer('3', d)]);
    const moved = await mapping();
    expect(moved).not.toContain('c');
    await reload();
    expect(await mapping()).toBe(moved);
  });

  it('moves a peer to another address without a new name', async () => {
    const [a, b] = echoes as [Echo, Echo];
    await apply('rr', [peer('x', a)]);
    const client = await open(port('rr'));
    await apply('rr', [peer('x', b)]);
    expect(Object.fromEntries(await sample(port('rr'), 10))).toEqual({ b: 10 });
    expect(await client.ping()).toBe(true);
    await client.close();
  });

  it('cuts the connections of a frozen peer at once', async () => {
    const frozen = await startFrozen();
    try {
      await apply('db', [{ id: 'db-1', address: '127.0.0.1', port: frozen.port }]);
      const clients = await Promise.all(Array.from({ length: 20 }, () => open(port('db'))));
      frozen.freeze();
      await sleep(50);
      const start = performance.now();
      expect(await haproxy.driver.shutdownSessions('db-1', { backend: 'db' })).toBe(20);
      await within(5000, () => clients.every((client) => client.closed));
      const cut = Math.max(...clients.map((client) => client.closedAt!)) - start;
      console.log(`20 connections to a frozen peer were cut ${cut.toFixed(1)} ms after the call`);
      expect(cut).toBeLessThan(2000);
    } finally {
      frozen.kill();
    }
  });

  it('follows a new master: the old connections end, new ones go to it, none in between to the old one', async () => {
    const frozen = await startFrozen();
    try {
      await apply('db', [{ id: 'db-1', address: '127.0.0.1', port: frozen.port }]);
      const clients = await Promise.all(Array.from({ length: 5 }, () => open(port('db'))));
      frozen.freeze();
      const start = performance.now();
      const outcome = await apply('db', [peer('db-2', echoes[0]!)]);
      expect(outcome).toMatchObject({ live: true, leaving: [] });
      await within(5000, () => clients.every((client) => client.closed));
      const cut = Math.max(...clients.map((client) => client.closedAt!)) - start;
      const client = await open(port('db'));
      console.log(`a new master: old connections cut after ${cut.toFixed(1)} ms`);
      expect(client.peer).toBe('a');

      await apply('db', [peer('db-2', echoes[0]!, { state: 'down' })]);
      await within(5000, () => client.closed);
      await expect(open(port('db'))).rejects.toThrow();
      await apply('db', [peer('db-2', echoes[1]!)]);
      const moved = await open(port('db'));
      expect(moved.peer).toBe('b');
      await moved.close();
    } finally {
      frozen.kill();
    }
  });

  it('follows a new master at once although connections to the frozen one do not end', async () => {
    const frozen = await startFrozen();
    try {
      await apply('db', [{ id: 'db-1', address: '127.0.0.1', port: frozen.port }]);
      frozen.freeze();
      // Their clients have gone: HAProxy waits for the other side, which it cannot be made not to.
      const gone = Array.from({ length: 5 }, () => connect({ port: port('db'), host: '127.0.0.1' }));
      await Promise.all(gone.map((socket) => once(socket, 'connect')));
      await sleep(50);
      for (const socket of gone) socket.destroy();
      await sleep(50);
      const start = performance.now();
      const nobody = await apply('db', [], { allowEmpty: true });
      expect(nobody.leaving).toEqual([{ id: 'db-1', active: 5 }]);
      expect((await live('db')).live).toBe(true);
      await expect(open(port('db'))).rejects.toThrow();
      await apply('db', [peer('db-2', echoes[0]!)]);
      const took = performance.now() - start;
      console.log(`5 connections that do not end: a new master after ${took.toFixed(1)} ms`);
      expect((await open(port('db'))).peer).toBe('a');
      // Without the rest: 4 s and more.
      expect(took).toBeLessThan(3000);
      // They end by themselves, and the peer goes.
      await within(5000, async () => (await live('db')).peers.every(({ active, leaving }) => !leaving || active === 0));
      await haproxy.driver.settle();
      expect((await live('db')).peers.map(({ id }) => id)).toEqual(['db-2']);
    } finally {
      frozen.kill();
    }
  });

  it('takes a peer that its check finds dead out of the way, also across a reload', async () => {
    const [a] = echoes as [Echo];
    const dead = await freePort();
    await apply('checked', [
      peer('a', a),
      { id: 'dead', address: '127.0.0.1', port: dead },
      { id: 'later', address: '127.0.0.1', port: a.port, state: 'down' },
    ]);
    expect(Object.fromEntries(await sample(port('checked'), 20))).toEqual({ a: 20 });
    await within(10_000, async () => (await live('checked')).peers.find(({ id }) => id === 'dead')?.healthy === false);
    // One that was added down is watched as soon as it comes up.
    await apply('checked', [
      peer('a', a),
      { id: 'dead', address: '127.0.0.1', port: dead },
      { id: 'later', address: '127.0.0.1', port: dead },
    ]);
    await within(10_000, async () => (await live('checked')).peers.find(({ id }) => id === 'later')?.healthy === false);
    expect((await live('checked')).live).toBe(true);
    await reload();
    const known = (await live('checked')).peers.filter(({ healthy }) => !healthy).map(({ id }) => id);
    expect(known.sort()).toEqual(['dead', 'later']);
  });

  it('asks a peer over HTTP whether it is well', async () => {
    let status = 200;
    const server = createHttpServer((_, response) => response.writeHead(status).end());
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      await apply('http', [{ id: 'web', address: '127.0.0.1', port: (server.address() as AddressInfo).port }]);
      const healthy = async () => (await live('http')).peers[0]?.healthy;
      expect(await healthy()).toBe(true);
      status = 500;
      await within(10_000, async () => !(await healthy()));
      status = 204;
      await within(10_000, async () => (await healthy()) === true);
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });

  it('serves the last known table when HAProxy is started again and nobody drives it', async () => {
    const [a, b] = echoes as [Echo, Echo];
    await apply('rr', [
      peer('a', a),
      peer('b', b, { weight: 300 }),
      peer('gone', echoes[2]!, { state: 'down' }),
      peer('going', echoes[3]!, { state: 'draining' }),
    ]);
    await haproxy.kill();
    await haproxy.start();
    expect(Object.fromEntries(await sample(port('rr'), 40))).toEqual({ a: 10, b: 30 });
    // A driver that comes back finds nothing to do but to tell draining from down.
    const next = haproxy.newDriver();
    const [rr] = await next.settle();
    expect((await next.settle()).flatMap((outcome) => outcome.reasons)).toEqual([]);
    expect(rr?.live).toBe(true);
    expect((await next.readTables()).every((table) => table.live)).toBe(true);
  });

  it('brings the newest of many tables to disk within a second or so, where it may take its time', async () => {
    const driver = haproxy.newDriver({ saveEveryMs: 1000 });
    onTestFinished(() => driver.stop());
    const first = Number((await driver.readTables()).find((table) => table.backend === 'rr')?.version) + 1;
    const saves = new Set<string>();
    const saved = async () => (await readIfThere(join(haproxy.stateDir, 'tables/rr.json'))) ?? '';
    for (let turn = 0; turn < 20; turn += 1) {
      await driver.applyTable({ backend: 'rr', version: first + turn, peers: [peer('a', echoes[0]!), peer(`b${turn}`, echoes[1]!)] });
      saves.add(await saved());
    }
    // The last may have come in the middle of a second, and a slow machine has more of them.
    expect(saves.size).toBeLessThan(20);
    await within(10_000, async () => (await saved()).includes('"b19"'));
    expect((await driver.status()).unsaved).toBeUndefined();
    await haproxy.kill();
    await haproxy.start();
    expect([...(await sample(port('rr'), 20)).keys()].sort()).toEqual(['a', 'b']);
  });

  it('applies 1,000 peers, one change among them, and removes them', async () => {
    const thousand = Array.from({ length: 1000 }, (_, index) => ({
      id: `xcaas:4e1c-host:${index.toString(16).padStart(12, '0')}:many:80`,
      address: `127.1.${index >> 8}.${index & 255}`,
      port: 80,
    }));
    const timed = async (what: string, work: () => Promise<unknown>) => {
      const start = performance.now();
      await work();
      console.log(`1,000 peers: ${what} in ${(performance.now() - start).toFixed(0)} ms`);
    };
    await timed('added', () => apply('many', thousand));
    await timed('one changed', () => apply('many', [{ ...thousand[0]!, weight: 50 }, ...thousand.slice(1)]));
    await timed('read', () => live('many'));
    expect((await live('many')).peers).toHaveLength(1000);
    expect(await haproxy.driver.metrics()).toContain('xcaas_tcp_table_live{backend="many"} 1');
    await timed('removed', () => apply('many', [], { allowEmpty: true }));
    expect((await live('many')).peers).toHaveLength(0);
  });
});

/** An echo server in a process of its own, that can be frozen. */
async function startFrozen(): Promise<{ port: number; freeze(): void; kill(): void }> {
  const program =
    "require('net').createServer(s=>{s.on('error',()=>{});s.write('frozen\\n');s.pipe(s)}).listen(0,'127.0.0.1',function(){console.log(String(this.address().port))})";
  const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = await once(child.stdout, 'data');
  return { port: Number(String(line)), freeze: () => child.kill('SIGSTOP'), kill: () => child.kill('SIGKILL') };
}
