import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Backend, startBackend } from '#test/nginx-backend.ts';
import { eventually, type NginxFixture, peer, type Reply, startNginx, table, tally } from '#test/nginx-fixture.ts';
import type { Algorithm, Peer } from '#xlb/schema.ts';

let nginx: NginxFixture;
let backends: Backend[];
const [A, B, C] = ['a', 'b', 'c'];

beforeAll(async () => {
  nginx = await startNginx({ readTimeoutMs: 1500 });
  backends = await Promise.all(['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'].map(startBackend));
});
afterAll(async () => {
  await nginx?.stop();
  await Promise.all(backends?.map((backend) => backend.stop()));
});
beforeEach(() => {
  for (const backend of backends) {
    backend.requests = [];
    backend.mode = 'answer';
  }
});

let version = 0;
const first = (n: number, more: (name: string) => Partial<Peer> = () => ({})): Peer[] =>
  backends.slice(0, n).map((backend) => backend.peer(nginx.gateway, more(backend.name)));
const put = (group: string, peers: Peer[], more: Parameters<typeof table>[3] = {}) => nginx.put(table(group, ++version, peers, more));
const many = async (n: number, one: (i: number) => Promise<Reply>, atOnce = 16): Promise<Reply[]> => {
  const replies: Reply[] = [];
  for (let i = 0; i < n; i += atOnce) {
    replies.push(...(await Promise.all(Array.from({ length: Math.min(atOnce, n - i) }, (_, j) => one(i + j)))));
  }
  return replies;
};
const backend = (name: string): Backend => backends.find((one) => one.name === name)!;

describe('round robin', () => {
  test('600 requests over 3 peers in one worker are 200 each', async () => {
    await put('rr', first(3));
    expect(tally(await many(600, () => nginx.get('rr')))).toEqual({ a: 200, b: 200, c: 200 });
  });

  test('weights are kept exactly, and smoothly', async () => {
    const weights: Record<string, number> = { a: 5, b: 1, c: 1 };
    await put(
      'weighted',
      first(3, (name) => ({ weight: weights[name]! })),
    );
    const replies = await many(70, () => nginx.get('weighted'), 1);
    expect(tally(replies)).toEqual({ a: 50, b: 10, c: 10 });
    const longest = replies
      .map(({ body }) => body)
      .join('')
      .match(/a+/g)!
      .map((run) => run.length);
    // 5:1:1 as aabacaa: never five in a row as naive weighting has it.
    expect(Math.max(...longest)).toBeLessThan(5);
  });

  test('a change elsewhere in the list does not start from the beginning', async () => {
    await put('place', first(4));
    const order: string[] = [];
    for (let i = 0; i < 12; i++) {
      order.push((await nginx.get('place')).body);
      // The last peer's node changes each time: a list that starts over would give the same peer again and again.
      await put('place', [...first(3), { ...backends[3]!.peer(nginx.gateway), node: `node-${i}` }]);
    }
    expect(tally(order.map((body) => ({ body }) as Reply))).toEqual({ a: 3, b: 3, c: 3, d: 3 });
  });
});

test('least_conn goes to whoever is least busy for its weight', async () => {
  await put('least', [...first(1, () => ({ weight: 300 })), ...first(3).slice(1)], { algorithm: 'least_conn' });
  const slow = Array.from({ length: 10 }, () => nginx.get('least', '/?ms=800'));
  await eventually(async () => backends.slice(0, 3).reduce((sum, { requests }) => sum + requests.length, 0) === 10, 'ten in flight');
  expect(await nginx.active('least')).toEqual({ a: 6, b: 2, c: 2 });
  await Promise.all(slow);
  expect(await nginx.active('least')).toEqual({ a: 0, b: 0, c: 0 });
});

describe('hash', () => {
  const keys = Array.from({ length: 400 }, (_, i) => `key-${i}`);
  const place = async (group: string) => {
    const replies = await many(keys.length, (i) => nginx.get(group, '/', { headers: { 'x-user': keys[i]! } }));
    return replies.map(({ body }) => body);
  };

  test('a key stays on its peer; a peer that goes moves its own keys only', async () => {
    const options = { algorithm: 'hash', hashKey: 'header:X-User' } as const;
    await put('hash', first(5), options);
    const before = await place('hash');
    expect(await place('hash')).toEqual(before);
    for (const count of Object.values(tally(before.map((body) => ({ body }) as Reply)))) expect(count).toBeGreaterThan(40);
    await put(
      'hash',
      first(5).filter(({ id }) => id !== 'c'),
      options,
    );
    const after = await place('hash');
    expect(before.filter((name, i) => name !== after[i] && name !== 'c')).toEqual([]);
    await put('hash', first(5), options);
    expect(await place('hash')).toEqual(before);
  });

  test('weights are honoured and move few keys', async () => {
    const options = { algorithm: 'hash', hashKey: 'header:X-User' } as const;
    await put('hashw', first(3), options);
    const before = await place('hashw');
    await put('hashw', [...first(2), ...first(3, () => ({ weight: 200 })).slice(2)], options);
    const after = await place('hashw');
    expect(after.filter((name, i) => name !== before[i] && name !== 'c')).toEqual([]);
    expect(after.filter((name) => name === 'c').length).toBeGreaterThan(150);
  });

  test('by URI, by cookie and by address', async () => {
    await put('uri', first(4), { algorithm: 'hash', hashKey: 'uri' });
    expect(new Set((await many(20, () => nginx.get('uri', '/same'))).map(({ body }) => body)).size).toBe(1);
    expect(new Set((await many(60, (i) => nginx.get('uri', `/${i}`))).map(({ body }) => body)).size).toBe(4);
    await put('cookie', first(4), { algorithm: 'hash', hashKey: 'cookie:user-id' });
    const by = (i: number) => nginx.get('cookie', '/', { headers: { cookie: `x=1; user-id=u${i}` } });
    expect(new Set((await many(60, by)).map(({ body }) => body)).size).toBe(4);
    expect(new Set((await many(20, () => by(7))).map(({ body }) => body)).size).toBe(1);
    await put('ip', first(4), { algorithm: 'hash', hashKey: 'ip' });
    expect(new Set((await many(20, () => nginx.get('ip'))).map(({ body }) => body)).size).toBe(1);
  });
});

describe('sticky cookie', () => {
  const cookieOf = (reply: Reply) => reply.headers['set-cookie']?.[0];

  test('keeps a client on its peer, also while that drains, and picks anew when it is gone', async () => {
    await put('sticky', first(3), { stickyCookie: 'XLB' });
    const welcome = await nginx.get('sticky');
    const cookie = cookieOf(welcome)!;
    expect(cookie).toMatch(/^XLB=[0-9a-f]{16}; Path=\/; HttpOnly; SameSite=Lax$/);
    const headers = { cookie: cookie.split(';')[0]! };
    const again = await many(30, () => nginx.get('sticky', '/', { headers }));
    expect(tally(again)).toEqual({ [welcome.body]: 30 });
    expect(again.map(cookieOf)).toEqual(Array(30).fill(undefined));

    await put(
      'sticky',
      first(3, (name) => (name === welcome.body ? { state: 'draining' } : {})),
      { stickyCookie: 'XLB' },
    );
    expect((await nginx.get('sticky', '/', { headers })).body).toBe(welcome.body);
    expect((await many(20, () => nginx.get('sticky'))).map(({ body }) => body)).not.toContain(welcome.body);

    await put(
      'sticky',
      first(3).filter(({ id }) => id !== welcome.body),
      { stickyCookie: 'XLB' },
    );
    const moved = await nginx.get('sticky', '/', { headers });
    expect(moved.body).not.toBe(welcome.body);
    expect(cookieOf(moved)).toMatch(/^XLB=/);
  });

  test('is secure over TLS and follows a peer that fails', async () => {
    await put('stickyf', first(2), { stickyCookie: 'XLB' });
    const welcome = await nginx.get('stickyf', '/', { servername: 'test' });
    expect(cookieOf(welcome)).toMatch(/; Secure$/);
    const headers = { cookie: cookieOf(welcome)!.split(';')[0]! };
    backend(welcome.body).mode = 'close';
    const moved = await nginx.get('stickyf', '/', { headers });
    expect(moved.status).toBe(200);
    expect(moved.body).not.toBe(welcome.body);
    expect(cookieOf(moved)).toMatch(/^XLB=/);
  });
});

describe.each(['round_robin', 'least_conn', 'hash'] satisfies Algorithm[])('a failing peer with %s', (algorithm) => {
  const options = { algorithm, hashKey: 'uri', tries: 3 } as const;

  test('the request goes to a different peer, never twice to the same', async () => {
    const group = `retry-${algorithm.replace('_', '-')}`;
    await put(group, first(3), { ...options, maxFails: 0 });
    for (const name of [A, B]) backend(name!).mode = 'close';
    const replies = await many(60, (i) => nginx.get(group, `/${i}`));
    expect(tally(replies)).toEqual({ c: 60 });
    for (const { requests } of backends) {
      const urls = requests.map(({ url }) => url);
      expect(new Set(urls).size).toBe(urls.length);
    }
    expect(backend(A!).requests.length).toBeGreaterThan(0);
  });

  test('a dead address is passed over also for POST', async () => {
    const group = `dead-${algorithm.replace('_', '-')}`;
    const dead = [peer('x', nginx.gateway, 1), peer('y', nginx.gateway, 2)];
    await put(group, [...dead, ...first(1)], { ...options, maxFails: 0 });
    const replies = await many(40, (i) => nginx.get(group, `/${i}`, { method: 'POST', body: 'once' }));
    expect(tally(replies)).toEqual({ a: 40 });
    expect(backend(A!).requests.length).toBe(40);
  });
});

test('a POST that was sent is never sent again; tries bound the rest', async () => {
  await put('post', first(3), { maxFails: 0 });
  for (const name of [A, B, C]) backend(name!).mode = 'close';
  const count = () => backends.reduce((sum, { requests }) => sum + requests.length, 0);
  expect((await nginx.get('post', '/', { method: 'POST', body: 'x' })).status).toBe(502);
  expect(count()).toBe(1);
  await put('two', first(3), { maxFails: 0, tries: 2 });
  expect((await nginx.get('two')).status).toBe(502);
  expect(count()).toBe(3);
  for (const name of [A, B, C]) backend(name!).mode = 'hang';
  expect((await nginx.get('post', '/', { method: 'POST', body: 'x' })).status).toBe(504);
  expect(count()).toBe(4);
});

test('a kept connection that its peer closed costs the peer nothing, unless it happens twice in a row', async () => {
  await put('stale', first(2), { stickyCookie: 'XLB' });
  const headers = { cookie: (await nginx.get('stale')).headers['set-cookie']![0]!.split(';')[0]! };
  const name = (await nginx.get('stale', '/', { headers })).body;
  const healthy = async () => (await nginx.workers())[0]!.groups.stale!.peers.find(({ id }) => id === name)!.healthy;
  const post = async (mode: Backend['mode']) => {
    backend(name).mode = mode;
    return (await nginx.get('stale', '/', { headers, method: 'POST', body: 'x' })).status;
  };
  for (let i = 0; i < 3; i++) {
    expect([await post('answer'), await post('close'), await healthy()]).toEqual([200, 502, true]);
  }
  expect([await post('answer'), await post('close'), await post('close'), await healthy()]).toEqual([200, 502, 502, false]);
});

describe('peers that are not well', () => {
  test('left out after maxFails, tried once after the pause, taken back when that went well', async () => {
    await put('passive', first(2), { maxFails: 3, failTimeoutMs: 1000 });
    const dead = backend(A!);
    await dead.stop();
    const healthy = async () => (await nginx.workers())[0]!.groups.passive!.peers.find(({ id }) => id === A)!.healthy;
    expect(tally(await many(2, () => nginx.get('passive'), 1))).toEqual({ b: 2 });
    expect(await healthy()).toBe(true);
    expect(tally(await many(6, () => nginx.get('passive'), 1))).toEqual({ b: 6 });
    expect(await healthy()).toBe(false);
    const failures = async () => (await nginx.workers())[0]!.groups.passive!.peers.find(({ id }) => id === A)!.failures;
    const before = await failures();
    expect(before).toBe(3);
    await many(40, () => nginx.get('passive'));
    expect(await failures()).toBe(before);
    await new Promise((resolve) => setTimeout(resolve, 1100));
    expect(tally(await many(40, () => nginx.get('passive')))).toEqual({ b: 40 });
    expect(await failures()).toBe(before + 1);
    await dead.listen();
    await new Promise((resolve) => setTimeout(resolve, 1100));
    await many(4, () => nginx.get('passive'), 1);
    expect(await healthy()).toBe(true);
    expect(tally(await many(20, () => nginx.get('passive')))).toEqual({ a: 10, b: 10 });
  });

  test('all of them failing: all are tried; none left: 503 with a page', async () => {
    await put(
      'open',
      first(2, () => ({ state: 'down' })),
    );
    expect((await nginx.get('open')).status).toBe(200);
    await put('open', first(2));
    for (const name of [A, B]) backend(name!).mode = 'close';
    expect((await nginx.get('open')).status).toBe(502);
    for (const name of [A, B]) backend(name!).mode = 'answer';
    expect((await nginx.get('open')).status).toBe(200);

    await put(
      'open',
      first(2, () => ({ state: 'draining' })),
    );
    const drained = await nginx.get('open');
    expect(drained.status).toBe(503);
    expect(drained.headers['content-type']).toContain('text/html');
    expect(drained.headers['retry-after']).toBe('1');
    expect(drained.body).toContain('Service unavailable');
    expect((await nginx.get('never-heard-of')).status).toBe(503);
    expect((await nginx.get('never-heard-of', '/', { method: 'POST', body: 'x'.repeat(100_000) })).status).toBe(503);
    // A peer's own 503 is its own.
    await put('open', first(1));
    expect((await nginx.get('open', '/?status=503')).body).toBe('a');
  });

  test('active checks leave a peer out and take it back, by TCP and by HTTP', async () => {
    const check = { intervalMs: 200, timeoutMs: 200, rise: 2, fall: 2 };
    await put('tcp', first(2), { maxFails: 0, active: { type: 'tcp', path: '/', ...check } });
    await put('http', first(2), { maxFails: 0, active: { type: 'http', path: '/health', ...check } });
    const healthy = async (group: string) => (await nginx.workers())[0]!.groups[group]!.peers.map((one) => one.healthy);
    backend(A!).mode = 'close';
    await eventually(async () => (await healthy('http'))[0] === false, 'the HTTP check fails');
    expect(await healthy('tcp')).toEqual([true, true]);
    expect(tally(await many(10, () => nginx.get('http')))).toEqual({ b: 10 });
    backend(A!).mode = 'answer';
    await eventually(async () => (await healthy('http'))[0] === true, 'the HTTP check passes');
    await backend(A!).stop();
    await eventually(async () => (await healthy('tcp'))[0] === false, 'the TCP check fails');
    await backend(A!).listen();
    await eventually(async () => (await healthy('tcp'))[0] === true, 'the TCP check passes');
    expect(tally(await many(10, () => nginx.get('tcp')))).toEqual({ a: 5, b: 5 });
  });

  test('an endpoint in several groups is checked once', async () => {
    const active = { type: 'http', path: '/checked', intervalMs: 200, timeoutMs: 200, rise: 2, fall: 2 } as const;
    for (const group of ['one', 'two', 'three']) await put(group, first(1), { active });
    await new Promise((resolve) => setTimeout(resolve, 300));
    backend(A!).requests = [];
    await new Promise((resolve) => setTimeout(resolve, 2000));
    const checks = backend(A!).requests.filter(({ url }) => url === '/checked').length;
    expect(checks).toBeGreaterThan(5);
    expect(checks).toBeLessThan(13);
  });
});
