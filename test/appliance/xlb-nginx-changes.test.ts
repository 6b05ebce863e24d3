import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { Agent } from 'node:http';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import WebSocket from 'ws';
import { type Backend, startBackend } from '#test/nginx-backend.ts';
import { docker, eventually, type NginxFixture, peer, startNginx, table } from '#test/nginx-fixture.ts';
import type { Peer } from '#xlb/schema.ts';

let nginx: NginxFixture;
let backends: Backend[];
const open: WebSocket[] = [];

beforeAll(async () => {
  nginx = await startNginx({ workers: 2 });
  backends = await Promise.all(['a', 'b', 'c'].map(startBackend));
});
afterAll(async () => {
  await nginx?.stop();
  await Promise.all(backends?.map((backend) => backend.stop()));
});
afterEach(() => {
  for (const socket of open.splice(0)) socket.terminate();
});

let version = 0;
const all = (more: (name: string) => Partial<Peer> = () => ({})): Peer[] => backends.map((one) => one.peer(nginx.gateway, more(one.name)));
const put = (group: string, peers: Peer[], more: Parameters<typeof table>[3] = {}) => nginx.put(table(group, ++version, peers, more));
/** Addresses nobody is asked at. */
const strangers = (n: number): Peer[] => Array.from({ length: n }, (_, i) => peer(`s${i}`, `10.250.${i >> 8}.${i & 255}`, 80));

function connect(group: string): Promise<WebSocket> {
  const socket = new WebSocket(`ws://${nginx.address}:8000/g/${group}/ws`);
  open.push(socket);
  return new Promise((resolve, reject) => {
    socket.once('open', () => resolve(socket));
    socket.once('error', reject);
  });
}

function echo(socket: WebSocket, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('no echo')), 10_000);
    socket.once('message', (data) => {
      clearTimeout(timer);
      resolve(String(data));
    });
    socket.send(text);
  });
}

describe('draining', () => {
  test('what is in flight ends, nothing new comes, and the count falls to 0', async () => {
    await put('drain', all());
    const long = Promise.all(Array.from({ length: 12 }, () => nginx.get('drain', '/?ms=1500')));
    await eventually(async () => Object.values(await nginx.active('drain')).reduce((sum, n) => sum + n, 0) === 12, 'all in flight');
    const before = (await nginx.active('drain')).a!;
    expect(before).toBeGreaterThan(0);
    await put(
      'drain',
      all((name) => (name === 'a' ? { state: 'draining' } : {})),
    );
    const meanwhile = await Promise.all(Array.from({ length: 30 }, () => nginx.get('drain')));
    expect(new Set(meanwhile.map(({ body }) => body))).toEqual(new Set(['b', 'c']));
    expect((await nginx.active('drain')).a).toBe(before);
    expect((await long).map(({ status }) => status)).toEqual(Array(12).fill(200));
    expect((await nginx.active('drain')).a).toBe(0);
  });

  test('a WebSocket counts until it is closed', async () => {
    await put('wsdrain', all().slice(0, 1));
    const socket = await connect('wsdrain');
    await put('wsdrain', [{ ...all()[0]!, state: 'draining' }, ...all().slice(1)]);
    expect((await nginx.active('wsdrain')).a).toBe(1);
    expect(await echo(socket, 'still')).toBe('a still');
    socket.close();
    await eventually(async () => (await nginx.active('wsdrain')).a === 0, 'the count falls');
  });
});

test('200 WebSockets stay open through 1,000 changes of their list', async () => {
  await put('ws', all());
  const sockets: WebSocket[] = [];
  for (let i = 0; i < 10; i++) sockets.push(...(await Promise.all(Array.from({ length: 20 }, () => connect('ws')))));
  let closed = 0;
  for (const socket of sockets) socket.on('close', () => closed++);
  const names = new Set((await Promise.all(sockets.map((socket, i) => echo(socket, String(i))))).map((text) => text.split(' ')[0]));
  expect(names.size).toBe(3);
  const began = performance.now();
  for (let i = 0; i < 1000; i++) {
    // Now one is gone, now all are, now strangers stand there.
    const peers =
      i % 3 === 0
        ? all().slice(0, (i % 2) + 1)
        : i % 3 === 1
          ? strangers(3)
          : all((name) => ({ weight: name === 'a' ? 1 + (i % 100) : 10 }));
    await put('ws', peers);
  }
  const perChange = (performance.now() - began) / 1000;
  console.log(`a change is live on both workers after ${perChange.toFixed(1)} ms on average`);
  await put('ws', all());
  expect(closed).toBe(0);
  const echoes = await Promise.all(sockets.map((socket, i) => echo(socket, `again-${i}`)));
  expect(echoes.map((text) => text.split(' ')[1])).toEqual(sockets.map((_, i) => `again-${i}`));
});

test('no request fails while the list changes all the time', async () => {
  await put('churn', all());
  let stop = false;
  const statuses: Record<number, number> = {};
  const load = Array.from({ length: 8 }, async () => {
    while (!stop) {
      const { status } = await nginx.get('churn');
      statuses[status] = (statuses[status] ?? 0) + 1;
    }
  });
  for (let i = 0; i < 150; i++) {
    const gone = ['a', 'b', 'c'][i % 3];
    await put(
      'churn',
      all().filter(({ id }) => id !== gone),
    );
  }
  stop = true;
  await Promise.all(load);
  expect(Object.keys(statuses)).toEqual(['200']);
  expect(statuses[200]).toBeGreaterThan(100);
});

test('a peer that left and came back gets fresh connections', async () => {
  const [a] = backends;
  await put('kept', all().slice(0, 1));
  for (let i = 0; i < 10; i++) await nginx.get('kept');
  const before = a!.connections;
  for (let i = 0; i < 10; i++) await nginx.get('kept');
  expect(a!.connections - before).toBeLessThanOrEqual(2);
  await put('kept', all().slice(1, 2));
  await put('kept', all().slice(0, 1));
  const then = a!.connections;
  await nginx.get('kept');
  expect(a!.connections).toBe(then + 1);
});

test('1,000 endpoints: a change is live on all workers soon, and nobody decodes at rest', async () => {
  const peers = [...strangers(1000).map((one): Peer => ({ ...one, state: 'down' })), ...all()];
  const times: number[] = [];
  for (let i = 0; i < 40; i++) {
    const rotated = [...peers.slice(i), ...peers.slice(0, i)];
    const began = performance.now();
    await put('thousand', rotated);
    times.push(performance.now() - began);
  }
  times.sort((x, y) => x - y);
  console.log(`1,003 endpoints: PUT to live on both workers p50 ${times[20]!.toFixed(1)} ms, max ${times.at(-1)!.toFixed(1)} ms`);
  for (const worker of await nginx.workers()) expect(worker.groups.thousand!.version).toBe(version);
  expect((await nginx.get('thousand')).status).toBe(200);
  const cpu = async () => {
    const { pids } = await nginx.pids();
    const stats = await Promise.all(
      pids.map((pid) => docker('exec', nginx.container, 'cut', '-d', ' ', '-f', '1', `/proc/${pid}/schedstat`)),
    );
    return stats.reduce((sum, text) => sum + Number(text), 0) / 1e9;
  };
  const before = await cpu();
  const began = performance.now();
  await new Promise((resolve) => setTimeout(resolve, 4000));
  const share = (((await cpu()) - before) / ((performance.now() - began) / 1000)) * 100;
  console.log(`two workers at rest: ${share.toFixed(2)} % of a core`);
  // Decoding 1,000 peers at each look would take far more than this.
  expect(share).toBeLessThan(10);
});

test('a killed worker is replaced by one with the same tables; its counts vanish; checks go on', async () => {
  await put('kill', all(), { active: { type: 'http', path: '/kill-check', intervalMs: 200, timeoutMs: 200, rise: 1, fall: 1 } });
  const hanging = Array.from({ length: 10 }, () => nginx.get('kill', '/?ms=20000').catch(() => undefined));
  await eventually(async () => Object.values(await nginx.active('kill')).reduce((sum, n) => sum + n, 0) === 10, 'all in flight');
  const { pids } = await nginx.pids();
  await docker('exec', nginx.container, 'sh', '-c', `kill -KILL ${pids.join(' ')}`);
  await Promise.all(hanging);
  await eventually(async () => {
    const now = await nginx.pids();
    return now.pids.length === 2 && now.old.length === 0 && now.pids.every((pid) => !pids.includes(pid));
  }, 'two new workers');
  expect(Object.values(await nginx.active('kill'))).toEqual([0, 0, 0]);
  expect((await nginx.get('kill')).status).toBe(200);
  await put('kill', all().slice(0, 2), {
    active: { type: 'http', path: '/kill-check', intervalMs: 200, timeoutMs: 200, rise: 1, fall: 1 },
  });
  const seen = () => backends[0]!.requests.filter(({ url }) => url === '/kill-check').length;
  const before = seen();
  await eventually(() => seen() > before + 2, 'checks by a new worker');
});

test('a reload keeps tables, health and the requests in flight; the old worker still answers for its own', async () => {
  await put('reload', all(), { maxFails: 1, failTimeoutMs: 60_000 });
  backends[1]!.mode = 'close';
  for (let i = 0; i < 6; i++) await nginx.get('reload');
  const socket = await connect('reload');
  let stop = false;
  const statuses: number[] = [];
  const load = Array.from({ length: 4 }, async () => {
    // A connection of its own each time: one that is kept may be closed by a reload just when the next request is on its way.
    while (!stop) statuses.push((await nginx.get('reload', '/', { agent: new Agent({ keepAlive: false }) })).status);
  });
  const before = await nginx.pids();
  await nginx.reload({ workers: 2, generation: 'second' });
  await put('reload', [...all(), peer('late', nginx.gateway, 1, { state: 'down' })]);
  stop = true;
  await Promise.all(load);
  expect(new Set(statuses)).toEqual(new Set([200]));
  // The one without the WebSocket is gone soon.
  await eventually(async () => (await nginx.pids()).old.length === 1, 'one old worker is left');
  const workers = await nginx.workers();
  const leaving = workers.filter((worker) => worker.leaving);
  expect(leaving.length).toBe(1);
  expect(before.pids).toContain(Number(leaving[0]!.worker));
  expect(leaving[0]!.groups.reload!.version).toBe(version);
  expect(leaving[0]!.groups.reload!.peers.reduce((sum, one) => sum + one.active, 0)).toBe(1);
  expect(await echo(socket, 'after')).toMatch(/ after$/);
  for (const worker of workers.filter((one) => !one.leaving)) {
    expect(worker.groups.reload!.peers.find(({ id }) => id === 'b')!.healthy).toBe(false);
  }
  backends[1]!.mode = 'answer';
  socket.close();
  await eventually(async () => (await nginx.pids()).old.length === 0, 'the old worker ends');
});

test('a dictionary that is full refuses with 507 and keeps what it has', async () => {
  const small = await startNginx({ tables: '1m' });
  try {
    await small.put(table('kept', 1, [backends[0]!.peer(small.gateway)]));
    await small.put(table('grows', 1, strangers(100)));
    const reply = await small.control('PUT', '/groups/grows', JSON.stringify(table('grows', 2, strangers(12_000))));
    expect(reply.status).toBe(507);
    expect(JSON.parse(reply.body)).toMatchObject({ error: 'full' });
    const [worker] = await small.workers();
    expect(worker!.groups.grows).toMatchObject({ version: 1 });
    expect(worker!.groups.grows!.peers.length).toBe(100);
    expect((await small.get('kept')).body).toBe('a');
    await small.put(table('grows', 3, strangers(200)));
  } finally {
    await small.stop();
  }
});

describe('started without anybody to tell it what to serve', () => {
  test('it serves the last known good list, or the one before when that is damaged', async () => {
    let began = 0;
    const address = nginx.gateway;
    const alone = await startNginx({
      workers: 2,
      seed: async (state) => {
        const saved = nginx.saveTable;
        await saved(table('good', 7, [backends[0]!.peer(address)]));
        await saved(table('damaged', 8, [backends[1]!.peer(address)]));
        await saved(table('damaged', 7, [backends[2]!.peer(address)]), '.prev');
        await saved(table('lost', 3, [backends[0]!.peer(address)]), '.prev');
        const from = join(nginx.folder, 'state/tables');
        await mkdir(join(state, 'tables'), { recursive: true });
        for (const file of ['good.json', 'damaged.json', 'damaged.json.prev', 'lost.json.prev']) {
          await writeFile(join(state, 'tables', file), await readFile(join(from, file)));
        }
        await writeFile(
          join(state, 'tables/damaged.json'),
          (await readFile(join(from, 'damaged.json'), 'utf8')).replace('"weight":100', '"weight":101'),
        );
        await writeFile(join(state, 'tables/empty.json'), '');
        await writeFile(join(state, 'tables/..json'), 'x');
        began = Date.now();
      },
    });
    try {
      expect((await alone.get('good')).body).toBe('a');
      console.log(`container created to first answer: ${Date.now() - began} ms`);
      expect((await alone.get('damaged')).body).toBe('c');
      expect((await alone.get('lost')).body).toBe('a');
      const [worker] = await alone.workers();
      expect(Object.keys(worker!.groups).sort()).toEqual(['damaged', 'good', 'lost']);
      expect(await alone.logs()).not.toContain('[error]');
      // The sidecar goes on from there.
      await alone.put(table('good', 8, [backends[1]!.peer(address)]));
      expect((await alone.get('good')).body).toBe('b');
    } finally {
      await alone.stop();
    }
  });

  test('a killed master is started anew within a second or so, and its workers let go of the ports', async () => {
    await nginx.saveTable(table('again', 1, all()));
    await put('again', all());
    const socket = await connect('again');
    const before = await nginx.pids();
    const began = performance.now();
    await docker('exec', nginx.container, 'sh', '-c', 'kill -KILL $(cat /run/xlb/nginx.pid)');
    let failed = 0;
    await eventually(async () => {
      const reply = await nginx.get('again', '/', { timeoutMs: 1000 }).catch(() => undefined);
      if (reply?.status !== 200) failed++;
      const now = await nginx.pids();
      return reply?.status === 200 && now.pids.length === 2 && now.pids.every((pid) => !before.pids.includes(pid));
    }, 'nginx is back');
    console.log(`nginx killed with SIGKILL: back after ${(performance.now() - began).toFixed(0)} ms, ${failed} requests failed`);
    expect(await echo(socket, 'orphan')).toMatch(/ orphan$/);
  });

  test('HAProxy comes back by itself; nginx and the rest of the container are not touched', async () => {
    await eventually(async () => (await nginx.pids()).pids.length === 2, 'both workers');
    const before = await nginx.pids();
    const find = 'for p in /proc/[0-9]*; do if [ "$(cat $p/comm 2>/dev/null)" = haproxy ]; then echo ${p#/proc/}; fi; done';
    const haproxies = async () => (await docker('exec', nginx.container, 'sh', '-c', find)).split('\n').filter((pid) => pid !== '');
    const killed = await haproxies();
    expect(killed.length).toBe(2);
    await docker('exec', nginx.container, 'sh', '-c', `kill -KILL ${killed.join(' ')}`);
    await eventually(async () => {
      const now = await haproxies();
      return now.length === 2 && now.every((pid) => !killed.includes(pid));
    }, 'HAProxy is back');
    expect((await nginx.pids()).pids.toSorted()).toEqual(before.pids.toSorted());
  });

  test('SIGTERM lets requests end', async () => {
    await put('term', all());
    const slow = nginx.get('term', '/?ms=1000');
    await eventually(async () => Object.values(await nginx.active('term')).reduce((sum, n) => sum + n, 0) === 1, 'in flight');
    const stopping = docker('stop', '-t', '15', nginx.container);
    expect((await slow).status).toBe(200);
    await stopping;
    expect(await docker('inspect', '-f', '{{.State.ExitCode}}', nginx.container)).toBe('0');
  });
});
