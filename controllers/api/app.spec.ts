import { request } from 'node:http';
import { Writable } from 'node:stream';
import type { FastifyInstance, InjectOptions } from 'fastify';
import { afterEach, describe, expect, it } from 'vitest';
import { api, BODY_LIMIT, createApp } from '#api/app.ts';
import type { ApiDeps } from '#api/deps.ts';
import { createControlMetrics } from '#api/metrics.ts';
import type { ConsulClient } from '#core/consul/client.ts';
import { AppError, isErrorCode } from '#core/errors.ts';
import { createLogger } from '#core/log.ts';
import { createToken, type TokenRole } from '#ground/tokens.ts';
import type { NetworkAnswer } from '#pool/agent-api.ts';
import type { AgentClient } from '#pool/agent-client.ts';
import { createEvents } from '#pool/events.ts';
import type { Host } from '#pool/host.ts';
import { createFakeKv, type FakeKv } from '#test/fake-kv.ts';
import { createCacheStore } from '#xcache/store.ts';
import { createDbStore } from '#xdb/store.ts';
import { lbsInUse } from '#xlb/operations/in-use.ts';
import { createLbStore } from '#xlb/store.ts';

const HOST_ID = '0b1f8a52-6a0e-4e0c-9d9e-0a6a4f4f1a01';
const CONTAINER = 'c'.repeat(64);

interface World {
  app: FastifyInstance;
  kv: FakeKv;
  deps: ApiDeps & { leading: () => boolean };
  tokens: Record<TokenRole, string>;
  routes: { method: string; url: string }[];
  log: () => string;
  agent: Partial<AgentClient>;
  call(role: TokenRole | undefined, method: string, url: string, payload?: unknown): Promise<Answer>;
}
interface Answer {
  status: number;
  // biome-ignore lint/suspicious/noExplicitAny: what is in it is what is tested
  body: any;
  text: string;
}

const apps: FastifyInstance[] = [];
afterEach(async () => {
  for (const app of apps.splice(0)) await app.close();
});

async function world(change: Partial<ApiDeps> = {}): Promise<World> {
  const kv = createFakeKv();
  const consul = kv as unknown as ConsulClient;
  let text = '';
  const destination = new Writable({
    write(chunk, _, done) {
      text += chunk;
      done();
    },
  });
  const log = createLogger({ name: 'test', level: 'debug', destination });
  const host: Host = {
    spec: {
      v: 1,
      id: HOST_ID,
      name: 'host-a',
      address: '10.0.0.1',
      group: 'g1',
      rack: 'r1',
      labels: {},
      manager: true,
      drained: false,
    },
    facts: {
      v: 1,
      cpus: 4,
      memoryBytes: 2 ** 33,
      diskBytes: 2 ** 36,
      engineVersion: '28.5.0',
      swarmManager: true,
      consulServer: true,
      engineLabels: {},
      version: '1.2.3',
      time: '2026-01-01T00:00:00.000Z',
    },
    alive: true,
    reserved: { cpus: 0, memoryBytes: 0, diskBytes: 0 },
  };
  await kv.kv.put(`xcaas/hosts/${HOST_ID}/spec`, JSON.stringify(host.spec));
  const report = {
    id: CONTAINER,
    name: 'web-app',
    image: 'sha256:x',
    state: 'running' as const,
    networks: { xcaas: '10.1.0.2' },
    ports: [8080],
    labels: {},
    host: HOST_ID,
  };
  const agent: Partial<AgentClient> = {
    findContainers: async (ref) => (ref !== '' && (report.name === ref || report.id.startsWith(ref)) ? [report] : []),
    drain: async () => ({ registrations: 0 }),
    stop: async () => undefined,
    network: async (name) => {
      if (name === 'xcaas') return { driver: 'overlay', attachable: true } as NetworkAnswer;
      throw new AppError('not_found', `there is no network ${name}`);
    },
  };
  const hosts = async () => [host];
  const clock = () => new Date();
  const shared = { log, hosts, agent: () => agent as AgentClient, now: clock };
  const deps: ApiDeps = {
    ...shared,
    consul,
    version: '1.2.3',
    lb: {
      ...shared,
      store: createLbStore(consul),
      services: () => lbsInUse(createLbStore(consul)),
      events: createEvents({ consul, log }),
      poolKey: Buffer.alloc(32),
      markDirty: () => undefined,
    },
    db: {
      ...shared,
      store: createDbStore(consul),
      services: () => lbsInUse(createLbStore(consul)),
      events: createEvents({ consul, log }),
      poolKey: Buffer.alloc(32),
      inspectMaster: () => Promise.reject(new AppError('unavailable', 'nobody is there')),
      image: async () => ({ id: `sha256:${'d'.repeat(64)}`, tags: [], sizeBytes: 1, labels: { 'xcaas.appliance': 'xdb' } }),
      caCert: () => 'PEM',
      markDirty: () => undefined,
    },
    cache: {
      ...shared,
      store: createCacheStore(consul),
      services: () => lbsInUse(createLbStore(consul)),
      events: createEvents({ consul, log }),
      poolKey: Buffer.alloc(32),
      image: async () => ({ id: `sha256:${'c'.repeat(64)}`, tags: [], sizeBytes: 1, labels: { 'xcaas.appliance': 'xcache' } }),
      caCert: () => 'PEM',
      markDirty: () => undefined,
    },
    leader: async () => 'host-b',
    leading: () => true,
    metrics: createControlMetrics({ leading: () => true, hosts, loops: () => ({}) }),
    joinToken: async () => ({ token: 'joining', expires: clock().toISOString() }),
    ...change,
  };
  const app = createApp(log);
  apps.push(app);
  const routes: World['routes'] = [];
  app.addHook('onRoute', ({ method, url }) => {
    for (const each of [method].flat()) routes.push({ method: each, url });
  });
  await app.register(api, deps);
  const token = async (role: TokenRole) => (await createToken(consul, { name: `${role}er`, role })).token;
  const tokens = { read: await token('read'), operate: await token('operate'), admin: await token('admin') };
  return {
    app,
    kv,
    deps,
    tokens,
    routes,
    agent,
    log: () => text,
    async call(role, method, url, payload) {
      const headers = role === undefined ? {} : { authorization: `Bearer ${tokens[role]}` };
      const request = { method, url, headers, ...(payload === undefined ? {} : { payload }) } as InjectOptions;
      const answer = await app.inject(request);
      const isJson = String(answer.headers['content-type']).startsWith('application/json');
      return { status: answer.statusCode, body: isJson && answer.body !== '' ? answer.json() : undefined, text: answer.body };
    },
  };
}

describe('who may do what', () => {
  it('nobody without a token, and is told how to get one', async () => {
    const { app, call } = await world();
    for (const headers of [
      {},
      { authorization: '' },
      { authorization: 'Bearer ' },
      { authorization: 'Basic eDp5' },
      { authorization: 'Bearer xc_0000000000000000_x' },
    ]) {
      const answer = await app.inject({ method: 'GET', url: '/v1/lbs', headers });
      expect(answer.statusCode).toBe(401);
      expect(answer.json()).toEqual({
        error: { code: 'unauthenticated', message: expect.any(String), hint: expect.stringContaining('token') },
      });
    }
    expect((await call(undefined, 'GET', '/v1/control')).status).toBe(200);
    expect((await call(undefined, 'GET', '/v1/openapi.json')).status).toBe(200);
  });

  it('every route needs a role, and a higher one for what changes something', async () => {
    const { routes, call } = await world();
    const open = ['/v1/control', '/v1/openapi.json'];
    for (const { method, url } of routes.filter((route) => !open.includes(route.url))) {
      const path = url.replace(/:\w+/g, 'x');
      expect((await call(undefined, method, path, method === 'POST' ? {} : undefined)).status, `${method} ${url}`).toBe(401);
      if (method === 'GET' || method === 'HEAD') continue;
      const answer = await call('read', method, path, {});
      expect(answer, `${method} ${url}`).toMatchObject({ status: 403, body: { error: { code: 'forbidden' } } });
      expect(answer.body.error.message).toContain('"reader" has the role read');
    }
    for (const [method, path] of [
      ['POST', '/v1/tokens'],
      ['GET', '/v1/tokens'],
      ['DELETE', '/v1/tokens/x'],
      ['POST', '/v1/join-tokens'],
      ['DELETE', '/v1/nodes/x'],
    ] as const) {
      expect((await call('operate', method, path, method === 'POST' ? {} : undefined)).status, `${method} ${path}`).toBe(403);
    }
    expect((await call('read', 'GET', '/v1/lbs')).body).toEqual([]);
    expect((await call('read', 'HEAD', '/v1/lbs')).status).toBe(200);
  });

  it('a revoked token ends within its time of trust', async () => {
    let at = Date.now();
    const { call } = await world({ now: () => new Date(at) });
    const { body: made } = await call('admin', 'POST', '/v1/tokens', { name: 'ci', role: 'admin', ttlHours: 1 });
    expect((await call('read', 'GET', '/v1/lbs')).status).toBe(200);
    await call('admin', 'DELETE', `/v1/tokens/${made.id}`);
    const { body: all } = await call('admin', 'GET', '/v1/tokens');
    await call('admin', 'DELETE', `/v1/tokens/${all.find((token: { name: string }) => token.name === 'reader').id}`);
    at += 5001;
    expect((await call('read', 'GET', '/v1/lbs')).status).toBe(401);
  });

  it('the audit names who changed what, and no line holds a token', async () => {
    const { call, log, tokens } = await world();
    await call('operate', 'POST', '/v1/lbs', { name: 'web' });
    await call('operate', 'POST', '/v1/lbs', { name: 'Not A Name' });
    await call('operate', 'POST', '/v1/containers/web-app/stop', {});
    const { body: made } = await call('admin', 'POST', '/v1/tokens', { name: 'ci', role: 'read' });
    await call('read', 'GET', '/v1/lbs');
    const lines = log()
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line));
    const audit = lines
      .filter(({ msg }) => msg === 'audit')
      .map(({ who, role, method, url, status }) => ({ who, role, method, url, status }));
    expect(audit).toEqual([
      { who: 'operateer', role: 'operate', method: 'POST', url: '/v1/lbs', status: 202 },
      { who: 'operateer', role: 'operate', method: 'POST', url: '/v1/lbs', status: 400 },
      { who: 'operateer', role: 'operate', method: 'POST', url: '/v1/containers/web-app/stop', status: 200 },
      { who: 'adminer', role: 'admin', method: 'POST', url: '/v1/tokens', status: 200 },
    ]);
    for (const token of [...Object.values(tokens), made.token]) expect(log()).not.toContain(token.slice('xc_0123456789abcdef_'.length));
  });
});

describe('errors', () => {
  it('have one form for everything that is wrong with a request', async () => {
    const { app, tokens } = await world();
    const headers = { authorization: `Bearer ${tokens.admin}` };
    const json = { ...headers, 'content-type': 'application/json' };
    const cases: [InjectOptions, number, string][] = [
      [{ method: 'POST', url: '/v1/lbs', headers: json, payload: `{"name":"${'x'.repeat(10 * BODY_LIMIT)}"}` }, 413, 'too_large'],
      [{ method: 'GET', url: '/v1/nothing', headers }, 404, 'not_found'],
      [{ method: 'PUT', url: '/v1/lbs', headers }, 404, 'not_found'],
      [{ method: 'GET', url: '/v1/lbs/%zz', headers }, 400, 'invalid'],
      [{ method: 'GET', url: `/v1/lbs/${'x'.repeat(10_000)}`, headers }, 400, 'invalid'],
      [{ method: 'POST', url: '/v1/lbs', headers: json, payload: '{"name":' }, 400, 'invalid'],
      [{ method: 'POST', url: '/v1/lbs', headers: json, payload: '' }, 400, 'invalid'],
      [{ method: 'POST', url: '/v1/lbs', headers: { ...headers, 'content-type': 'text/yaml' }, payload: 'name: x' }, 400, 'invalid'],
      [{ method: 'POST', url: '/v1/lbs', headers: json, payload: '{"__proto__":{"x":1},"name":"a"}' }, 400, 'invalid'],
    ];
    for (const [request, status, code] of cases) {
      const answer = await app.inject(request);
      expect(answer.json(), `${request.method} ${String(request.url).slice(0, 40)}`).toMatchObject({
        error: { code, message: expect.any(String) },
      });
      expect(answer.statusCode).toBe(status);
    }
  });

  it.each([
    ['POST', '/v1/lbs', { name: 7 }, /at name: /],
    ['POST', '/v1/lbs', { name: 'web', listen: ['http:80', 9] }, /at listen\.1: /],
    ['POST', '/v1/tokens', { name: 'x', role: 'root' }, /at role: /],
    ['POST', '/v1/tokens', { name: 'x', role: 'read', ttlHours: 1e18 }, /at ttlHours: /],
    ['PATCH', '/v1/nodes/host-a', { labels: { a: 1 } }, /at labels\.a: /],
    ['POST', '/v1/containers/x/stop', { drainSeconds: -1 }, /at drainSeconds: /],
    ['POST', '/v1/lbs/web/rules', { to: 'a b' }, /at to: /],
    ['POST', '/v1/lbs/web/rules', { to: 'api', path: '/a b' }, /at path: /],
    ['GET', '/v1/events?follow=perhaps', undefined, /at follow: /],
    ['GET', '/v1/events?since=yesterday', undefined, /at since: /],
  ])('%s %s names the field that is wrong: %j', async (method, url, payload, message) => {
    const { call } = await world();
    const { status, body } = await call('admin', method, url, payload);
    expect(body.error).toMatchObject({ code: 'invalid', message: expect.stringMatching(message) });
    expect(status).toBe(400);
  });

  it('a replica that does not lead answers nothing but that', async () => {
    const { call, app } = await world({ leading: () => false });
    for (const url of ['/v1/lbs', '/v1/status', '/v1/openapi.json', '/v1/controls']) {
      const { status, body } = await call('admin', 'GET', url);
      if (url === '/v1/controls') expect(status).toBe(404);
      else
        expect({ status, body }).toMatchObject({
          status: 503,
          body: { error: { code: 'unavailable', message: expect.stringContaining('host-b') } },
        });
    }
    expect((await app.inject('/v1/lbs')).headers['retry-after']).toBe('1');
    expect((await call(undefined, 'GET', '/v1/control')).body).toEqual({ leading: false, version: '1.2.3' });
  });

  it('a Consul that does not answer is said so, and is no fault of ours', async () => {
    const { call, kv, log } = await world();
    kv.before = () => {
      throw new AppError('unavailable', 'Consul cannot answer now');
    };
    expect(await call('read', 'GET', '/v1/lbs')).toMatchObject({ status: 503, body: { error: { code: 'unavailable' } } });
    expect(log()).not.toContain('a request failed');
  });

  it('a fault of ours is logged with its stack', async () => {
    const { call, log, deps } = await world();
    deps.lb.store.names = () => Promise.reject(new TypeError('x is not a function'));
    expect(await call('read', 'GET', '/v1/lbs')).toMatchObject({ status: 500, body: { error: { code: 'internal' } } });
    expect(log()).toContain('a request failed');
    expect(log()).toContain('app.spec');
  });
});

it('the OpenAPI document lists every route, once', async () => {
  const { routes, call } = await world();
  const { body } = await call(undefined, 'GET', '/v1/openapi.json');
  expect(body).toMatchObject({ openapi: expect.stringMatching(/^3\./), info: { version: '1.2.3' } });
  const listed = Object.entries(body.paths as Record<string, Record<string, { summary: string }>>).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { summary }]) => {
      expect(summary, `${method} ${path}`).toMatch(/\S/);
      return `${method.toUpperCase()} ${path}`;
    }),
  );
  const served = routes
    .filter(({ method, url }) => method !== 'HEAD' && url !== '/v1/openapi.json')
    .map(({ method, url }) => `${method} ${url.replace(/:(\w+)/g, '{$1}')}`);
  expect(listed.toSorted()).toEqual(served.toSorted());
  expect(served.length).toBeGreaterThan(20);
});

const HOSTILE = [
  ';id',
  '$(id)',
  '`id`',
  'a\nb',
  'a\r\nx: y',
  'nul\0',
  '../../tokens',
  '..',
  '.',
  '/',
  '//',
  '%2e%2e%2f',
  '',
  ' ',
  '*',
  '-',
  'web-',
  '__proto__',
  'constructor',
  'toString',
  'ünïcödé',
  '\u202egnp.exe',
  '{{7*7}}',
  "'; DROP TABLE x; --",
  'x'.repeat(10_000),
];

describe('hostile names', () => {
  async function withLb() {
    const made = await world();
    expect((await made.call('admin', 'POST', '/v1/lbs', { name: 'web', listen: ['http:80', 'tcp:3306'] })).status).toBe(202);
    const kept = await made.call('admin', 'POST', '/v1/dbs', { name: 'adb', options: { role: 'single' } });
    expect(kept.status, kept.text).toBe(202);
    return made;
  }
  const expectRefused = (answer: Answer, what: string) => {
    expect(answer.status, `${what}: ${answer.text.slice(0, 300)}`).toBeLessThan(500);
    if (answer.status >= 400) expect(isErrorCode(answer.body?.error?.code), what).toBe(true);
  };

  it('in every part of every path give no fault of ours, and reach no other record', async () => {
    const { routes, call, kv } = await withLb();
    const before = kv.keys().filter((key) => !key.startsWith('xcaas/events/'));
    for (const { method, url } of routes.filter((route) => route.url.includes(':') && route.method !== 'HEAD')) {
      const parts = url.match(/:\w+/g) ?? [];
      for (const part of parts) {
        for (const name of HOSTILE) {
          const path = url.replace(part, () => encodeURIComponent(name)).replace(/:\w+/g, 'web');
          const answer = await call(
            'admin',
            method,
            path,
            method === 'POST' || method === 'PATCH' ? { listen: ['http:81'], set: {}, labels: {} } : undefined,
          );
          expectRefused(answer, `${method} ${url} with ${JSON.stringify(name.slice(0, 40))}`);
        }
      }
    }
    expect(kv.keys().filter((key) => !key.startsWith('xcaas/events/'))).toEqual(before);
  });

  const bodies: [string, string, Record<string, unknown>][] = [
    ['POST', '/v1/lbs', { name: 'other', listen: ['http:80'], network: 'xcaas', publish: ['8080:80'] }],
    ['POST', '/v1/lbs/web/containers', { container: 'web-app', host: 'a.example.org', path: '/x', listen: 'http:80' }],
    [
      'POST',
      '/v1/lbs/web/containers/remove',
      { container: 'web-app', host: 'a.example.org', path: '/x', listen: 'http:80', drainSeconds: 0 },
    ],
    ['POST', '/v1/lbs/web/services', { service: 'api', host: 'a.example.org', path: '/x', listen: 'http:80' }],
    ['POST', '/v1/lbs/web/listeners/add', { listen: ['http:81'] }],
    ['POST', '/v1/lbs/web/listeners/remove', { listen: ['http:81'] }],
    ['POST', '/v1/lbs/web/rules', { to: 'api', host: 'a.example.org', path: '/x', listen: 'http:80' }],
    ['POST', '/v1/lbs/web/rules/remove', { host: 'a.example.org', path: '/x', listen: 'http:80' }],
    ['POST', '/v1/lbs/web/certs', { host: 'a.example.org', cert: 'x', key: 'y' }],
    ['PATCH', '/v1/lbs/web', { set: { 'read-timeout': '30s' } }],
    [
      'POST',
      '/v1/dbs',
      { name: 'adb', memoryBytes: 2 ** 30, image: 'xcaas/xdb:1', options: { engine: 'innodb' }, network: 'xcaas', publish: ['13306'] },
    ],
    ['POST', '/v1/dbs/adb/switchover', { to: 'adb-2', at: '2030-01-01T00:00:00Z' }],
    ['POST', '/v1/dbs/adb/restart', { member: 'adb-1' }],
    ['POST', '/v1/dbs/adb/resize', { memoryBytes: 2 ** 30 }],
    ['POST', '/v1/dbs/adb/pause', { seconds: 60 }],
    ['PATCH', '/v1/dbs/adb/parameters', { set: { max_connections: '50' } }],
    ['PATCH', '/v1/nodes/host-a', { labels: { storage: 'ssd' } }],
    ['POST', '/v1/tokens', { name: 'ci', role: 'read' }],
  ];
  it.each(bodies)('in each field of %s %s', async (method, url, body) => {
    const { call, kv } = await withLb();
    for (const field of Object.keys(body)) {
      for (const name of HOSTILE) {
        const value = body[field];
        const variants =
          typeof value === 'string'
            ? [name]
            : Array.isArray(value)
              ? [[name], [`http:${name}`]]
              : typeof value === 'number'
                ? [name]
                : [
                    JSON.parse(`{${JSON.stringify(name)}:"x"}`),
                    { 'read-timeout': name, storage: name },
                    { [`default.${name}`]: 'x' },
                    { 'default.algorithm': name },
                  ];
        for (const variant of variants) {
          const payload = JSON.parse(JSON.stringify({ ...body, [field]: variant }));
          expectRefused(await call('admin', method, url, payload), `${field}=${JSON.stringify(variant).slice(0, 60)}`);
        }
      }
    }
    for (const key of kv.keys()) expect(key).toMatch(/^xcaas\/[A-Za-z0-9:._/-]+$/);
  });
});

describe('answers in lines', () => {
  it('end with what was done', async () => {
    const { call } = await world();
    const { text, status } = await call('operate', 'POST', '/v1/containers/web-app/stop', { drainSeconds: 0 });
    expect(status).toBe(200);
    expect(
      text
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line)),
    ).toMatchObject([{ done: false }, { active: 0, done: true }]);
  });

  it('end with the error when it came after the first of them', async () => {
    const { call, agent } = await world();
    agent.stop = () => Promise.reject(new AppError('engine', 'the engine said no', { hint: 'look' }));
    const { text, status } = await call('operate', 'POST', '/v1/containers/web-app/stop', { drainSeconds: 0 });
    expect(status).toBe(200);
    const lines = text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines.at(-1)).toEqual({ error: { code: 'engine', message: 'the engine said no', hint: 'look' } });
    expect(lines).toHaveLength(2);
  });

  it('are an ordinary error when it came before', async () => {
    const { call } = await world();
    expect(await call('operate', 'POST', '/v1/containers/nobody/stop', {})).toMatchObject({
      status: 404,
      body: { error: { code: 'not_found' } },
    });
  });

  it('go on to the end of what they tell of when nobody listens any longer', async () => {
    const { app, agent, tokens } = await world();
    let stopped = false;
    let began = () => {};
    const beginning = new Promise<void>((resolve) => {
      began = resolve;
    });
    agent.stop = async () => {
      began();
      await new Promise((resolve) => setTimeout(resolve, 50));
      stopped = true;
    };
    const url = await app.listen({ host: '127.0.0.1', port: 0 });
    const asking = request(`${url}/v1/containers/web-app/stop`, {
      method: 'POST',
      headers: { authorization: `Bearer ${tokens.operate}`, 'content-type': 'application/json' },
    });
    asking.on('error', () => undefined);
    asking.end('{}');
    await beginning;
    asking.destroy();
    await expect.poll(() => stopped).toBe(true);
  });

  it('follow events from the first to those that come, until nobody listens', async () => {
    const { app, deps, tokens } = await world();
    const tell = (sentence: string) => deps.lb.events.record({ object: 'lb/web', kind: 'info', reason: 'test', sentence });
    await tell('before');
    const url = await app.listen({ host: '127.0.0.1', port: 0 });
    const asking = request(`${url}/v1/events?follow=true`, { headers: { authorization: `Bearer ${tokens.read}` } });
    asking.on('error', () => undefined);
    let text = '';
    asking.on('response', (incoming) => {
      incoming.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      incoming.on('error', () => undefined);
    });
    asking.end();
    const until = (sentence: string) => expect.poll(() => text, { interval: 5, timeout: 4000 }).toContain(sentence);
    await until('before');
    await tell('after');
    await until('after');
    asking.destroy();
    const sentences = text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).sentence);
    expect(sentences).toEqual(['before', 'after']);
  });
});
