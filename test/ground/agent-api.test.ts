import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import http from 'node:http';
import https from 'node:https';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { Agent } from '#agent/agent.ts';
import { isNotFound } from '#core/docker.ts';
import { httpRequest, requestJson } from '#core/http.ts';
import { waitFor } from '#core/sleep.ts';
import { createCa, issuePair } from '#ground/ca.ts';
import { createTestHost, type TestHost } from './agent-fixture.ts';

let host: TestHost;
let agent: Agent;
const servers: (http.Server | https.Server)[] = [];

beforeAll(async () => {
  host = await createTestHost();
  agent = await host.start();
});
afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});
afterAll(() => host?.stop());

type Tls = { ca: string; cert?: string; key?: string };
const call = (tls: Tls, method: string, path: string, headers: Record<string, string> = {}, body?: unknown) =>
  requestJson({
    host: '127.0.0.1',
    port: host.ports.agent,
    tls,
    method,
    path,
    headers,
    ...(body === undefined ? {} : { body }),
    timeoutMs: 10_000,
  });
const asControl = (): Tls => ({ ca: host.ca.cert, ...host.control });
const asAgent = async (): Promise<Tls> => ({
  ca: host.ca.cert,
  cert: await readFile(join(host.paths.pki, 'host.pem'), 'utf8'),
  key: await readFile(join(host.paths.pki, 'host.key'), 'utf8'),
});

async function serve(server: http.Server | https.Server, address: string, port: number): Promise<void> {
  servers.push(server);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, address, resolve);
  });
}

test('without a certificate, or with one of another CA, there is no conversation', async () => {
  await expect(call({ ca: host.ca.cert }, 'GET', '/v1/host')).rejects.toMatchObject({ code: 'unavailable' });
  const foreignCa = await createCa('foreign');
  const foreign = await issuePair({ ca: foreignCa, cn: 'x', role: 'control', addresses: ['127.0.0.1'] });
  await expect(call({ ca: host.ca.cert, ...foreign }, 'GET', '/v1/host')).rejects.toMatchObject({ code: 'unavailable' });
});

test('an agent’s certificate may read a little and change nothing', async () => {
  const tls = await asAgent();
  expect((await call(tls, 'GET', '/v1/host')).status).toBe(200);
  expect((await call(tls, 'GET', '/v1/images')).status).toBe(200);
  for (const [method, path] of [
    ['GET', '/v1/members'],
    ['GET', '/v1/containers?find=x'],
    ['GET', '/v1/members/web-1/admin/status'],
    ['POST', '/v1/images/fetch'],
    ['DELETE', '/v1/members/web-1'],
    ['POST', '/v1/ground/promote'],
    ['GET', '/v1/images/../members'],
  ] as const) {
    const answer = await call(tls, method, path, { 'x-xcaas-fence': '1' });
    expect([path, answer.status]).toEqual([path, 403]);
    expect(answer.body).toMatchObject({ error: { code: 'forbidden', message: expect.stringContaining('OU=') } });
  }
});

test('a change needs a fence, and a lower one is refused for good', async () => {
  const remove = (fence?: string) =>
    call(asControl(), 'DELETE', '/v1/members/nobody-1', fence === undefined ? {} : { 'x-xcaas-fence': fence });
  expect(await remove()).toMatchObject({
    status: 400,
    body: { error: { code: 'invalid', message: expect.stringContaining('x-xcaas-fence') } },
  });
  expect(await remove('12')).toMatchObject({ status: 200, body: { removed: false, purged: false } });
  expect(await remove('11')).toMatchObject({ status: 409, body: { error: { code: 'fenced' } } });
  await agent.close();
  agent = await host.start();
  expect((await remove('11')).status).toBe(409);
  expect((await remove('12')).status).toBe(200);
});

test('facts are in Consul and in the answer', async () => {
  const facts = await host.client(12).host();
  expect(facts).toMatchObject({ v: 1, swarmManager: expect.any(Boolean), consulServer: true });
  expect(facts.diskBytes).toBeGreaterThan(0);
  const key = `xcaas/hosts/${host.host.id}/facts`;
  const written = await waitFor(async () => (await host.consul.kv.get(key))?.value, { timeoutMs: 15_000 });
  expect(JSON.parse(written!)).toMatchObject({ cpus: facts.cpus, memoryBytes: facts.memoryBytes });
});

test('containers are found by id, beginning of the id and name; what cannot be attached says why', async () => {
  const client = host.client(12);
  const name = `agent-find-${process.pid}`;
  const id = await host.run(name, { mine: 'yes' }, { network: 'bridge' });
  for (const find of [id, id.slice(0, 12), name]) {
    expect(await client.findContainers(find)).toMatchObject([{ id, name, state: 'running', labels: { mine: 'yes' }, host: host.host.id }]);
  }
  expect(await client.findContainers(`${name}-not`)).toEqual([]);
  const { address } = await client.attach(name, host.network);
  expect(await client.attach(name, host.network)).toEqual({ address, change: false });
  await expect(client.attach(name, 'no-such-net')).rejects.toMatchObject({
    code: 'not_found',
    message: expect.stringContaining('no-such-net'),
  });
  await expect(client.attach('no-such-container', host.network)).rejects.toMatchObject({ code: 'not_found' });
  await host.docker.getContainer(id).stop();
  await expect(client.attach(name, 'none')).rejects.toMatchObject({ code: 'conflict', message: expect.stringContaining('does not run') });
  const onHost = await host.run(`${name}-host`, {}, { network: 'host' });
  await expect(client.attach(onHost, host.network)).rejects.toMatchObject({
    code: 'conflict',
    message: expect.stringContaining('--network host'),
  });
  for (const one of [id, onHost]) await host.remove(one);
});

test('an image is taken from another host by ID, its tag restored; what is not that image is refused', async () => {
  const { image, docker } = host;
  const client = host.client(12);
  const tag = (await docker.getImage(image).inspect()).RepoTags![0]!;
  const own = await asAgent();
  const source = await httpRequest({
    host: '127.0.0.1',
    port: host.ports.agent,
    tls: own,
    method: 'GET',
    path: `/v1/images/${image}/tar`,
    timeoutMs: 60_000,
    maxBytes: 2 ** 30,
  });
  expect(source.status).toBe(200);

  // Another host of the pool, at another address and the same port, with that image.
  const other = await issuePair({ ca: host.ca, cn: 'other', role: 'agent', addresses: ['127.0.0.2'] });
  let tar: Buffer = source.body;
  const peer = https.createServer({ ...other, ca: host.ca.cert, requestCert: true, rejectUnauthorized: true }, (incoming, outgoing) => {
    if (incoming.url === '/v1/images') outgoing.end(JSON.stringify({ images: [{ id: image, tags: [tag], sizeBytes: tar.length }] }));
    else Readable.from([tar]).pipe(outgoing);
  });
  await serve(peer, '127.0.0.2', host.ports.agent);

  expect(await client.fetchImage({ id: image, from: ['127.0.0.2'] })).toEqual({ id: image, fetched: false });
  await docker.getImage(image).remove({ force: true });
  expect(await docker.getImage(image).inspect().catch(isNotFound)).toBe(true);
  tar = tar.subarray(0, tar.length / 2);
  await expect(client.fetchImage({ id: image, from: ['127.0.0.2'] })).rejects.toMatchObject({
    code: 'unavailable',
    message: expect.stringContaining('127.0.0.2'),
  });
  tar = source.body;
  const answer = await client.fetchImage({ id: image, from: ['127.0.0.3', '127.0.0.2'] });
  expect(answer).toEqual({ id: image, fetched: true, from: '127.0.0.2', bytes: source.body.length });
  expect(await docker.getImage(image).inspect()).toMatchObject({ Id: image, RepoTags: [tag] });
});

test('the loopback API: health without control, a clear refusal, then everything goes to the leader', async () => {
  const api = (method: string, path: string, body?: unknown) =>
    requestJson({
      host: '127.0.0.1',
      port: host.ports.api,
      method,
      path,
      headers: { authorization: 'Bearer x' },
      ...(body === undefined ? {} : { body }),
      timeoutMs: 10_000,
    });
  expect(await api('GET', '/v1/health')).toMatchObject({
    status: 200,
    body: { status: 'DEGRADED', agent: 'ok', consul: 'ok', control: expect.stringContaining('no control replica') },
  });
  expect(await api('GET', '/v1/lb')).toMatchObject({ status: 503, body: { error: { code: 'unavailable', hint: expect.any(String) } } });

  const key = 'xcaas/control/leader';
  const session = await host.consul.session.create({ name: 'control', ttlSeconds: 30, behavior: 'release' });
  await host.consul.kv.acquire(key, JSON.stringify({ v: 1, host: host.host.id, address: '127.0.0.1' }), session);
  // Whoever answers there must be control: an agent's certificate is not enough.
  const own = await asAgent();
  await serve(
    https.createServer({ ...own, requestCert: true }, (_, outgoing) => outgoing.end('not control')),
    '127.0.0.1',
    host.ports.control,
  );
  expect(await api('GET', '/v1/lb')).toMatchObject({
    status: 503,
    body: { error: { message: expect.stringContaining('has the role "agent"') } },
  });
  const impostor = servers.pop()!;
  impostor.closeAllConnections();
  await new Promise((resolve) => impostor.close(resolve));

  const seen: http.IncomingHttpHeaders[] = [];
  const control = https.createServer(
    { ...host.control, ca: host.ca.cert, requestCert: true, rejectUnauthorized: true },
    async (incoming, outgoing) => {
      seen.push(incoming.headers);
      if (incoming.url === '/v1/slow') {
        outgoing.writeHead(200, { 'content-type': 'application/x-ndjson' }).write('one\n');
        setTimeout(() => outgoing.end('two\n'), 300);
        return;
      }
      const hash = createHash('sha256');
      for await (const chunk of incoming) hash.update(chunk as Buffer);
      outgoing.writeHead(201, { 'content-type': 'application/json', 'x-extra': 'kept' });
      outgoing.end(JSON.stringify({ method: incoming.method, url: incoming.url, hash: hash.digest('hex') }));
    },
  );
  await serve(control, '127.0.0.1', host.ports.control);
  expect(await api('GET', '/v1/health')).toMatchObject({
    status: 200,
    body: { status: 'READY', control: 'ok', consul: 'ok', controlAddress: '127.0.0.1' },
  });
  const big = Buffer.alloc(30 * 2 ** 20, 'x');
  const posted = await httpRequest({
    host: '127.0.0.1',
    port: host.ports.api,
    method: 'POST',
    path: '/v1/lb?x=1',
    headers: { authorization: 'Bearer x' },
    body: big,
    timeoutMs: 30_000,
  });
  expect(posted.status).toBe(201);
  expect(posted.headers['x-extra']).toBe('kept');
  expect(JSON.parse(posted.body.toString())).toEqual({
    method: 'POST',
    url: '/v1/lb?x=1',
    hash: createHash('sha256').update(big).digest('hex'),
  });
  expect(seen.at(-1)).toMatchObject({ authorization: 'Bearer x' });

  const began = performance.now();
  const first = await new Promise<number>((resolve, reject) => {
    const request = http.get({ host: '127.0.0.1', port: host.ports.api, path: '/v1/slow' }, (answer) => {
      answer.once('data', () => resolve(performance.now() - began));
      answer.resume();
    });
    request.once('error', reject);
  });
  expect(first).toBeLessThan(300);
  await host.consul.session.destroy(session);
});

test('members of this host may ask for a probe and for metrics, and nothing else', async () => {
  const ask = (path: string) => requestJson({ socketPath: host.paths.agentSocket, method: 'GET', path, timeoutMs: 10_000 });
  expect(await ask(`/v1/probe?address=127.0.0.1:${host.ports.agent}`)).toMatchObject({ status: 200, body: { reachable: true } });
  expect(await ask(`/v1/probe?address=127.0.0.1:1&host=${host.host.id}`)).toMatchObject({
    status: 200,
    body: { reachable: false, error: expect.any(String) },
  });
  expect((await ask('/v1/probe?address=example.org:80')).status).toBe(400);
  expect((await ask('/v1/members')).status).toBe(404);
  expect((await ask('/metrics')).body).toContain('xcaas_agent_loop_alive{loop="registrar"} 1');
  // Through another host's agent, which here is this one under another name.
  const spec = { ...host.host, v: 1, id: '00000000-0000-4000-8000-000000000001', name: 'other', drained: false };
  await host.consul.kv.put(`xcaas/hosts/${spec.id}/spec`, JSON.stringify(spec));
  expect(await ask(`/v1/probe?address=127.0.0.1:${host.ports.agent}&host=other`)).toMatchObject({ status: 200, body: { reachable: true } });
  expect((await ask('/v1/probe?address=127.0.0.1:1&host=nowhere')).status).toBe(404);
});
