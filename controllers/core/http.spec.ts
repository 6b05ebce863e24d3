import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { errorFromBody, expectOk, httpRequest, requestJson } from '#core/http.ts';

const clean: (() => unknown)[] = [];
afterEach(async () => {
  for (const each of clean.splice(0)) await each();
});

async function serve(listener: RequestListener, path?: string): Promise<number> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => (path === undefined ? server.listen(0, '127.0.0.1', resolve) : server.listen(path, resolve)));
  clean.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return path === undefined ? (server.address() as AddressInfo).port : 0;
}

const get = (port: number, more = {}) => httpRequest({ host: '127.0.0.1', port, method: 'GET', path: '/', timeoutMs: 5000, ...more });

it('carries JSON both ways, and any status', async () => {
  const port = await serve((request, response) => {
    let text = '';
    request.on('data', (chunk) => {
      text += chunk;
    });
    request.on('end', () => {
      response.writeHead(418, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ got: JSON.parse(text), length: request.headers['content-length'] }));
    });
  });
  const answer = await requestJson({ host: '127.0.0.1', port, method: 'POST', path: '/', body: { ü: 1 }, timeoutMs: 5000 });
  expect(answer).toMatchObject({ status: 418, body: { got: { ü: 1 }, length: '8' } });
});

it('gives text that claims to be JSON and is none as text', async () => {
  const port = await serve((_, response) => response.writeHead(200, { 'content-type': 'application/json' }).end('{"a'));
  expect((await requestJson({ host: '127.0.0.1', port, method: 'GET', path: '/', timeoutMs: 5000 })).body).toBe('{"a');
});

it.each<[string, RequestListener]>([
  ['says nothing', () => undefined],
  ['begins an answer and stops', (_, response) => void response.writeHead(200).write('half')],
])('gives up on a server that %s', async (_, listener) => {
  const port = await serve(listener);
  await expect(get(port, { timeoutMs: 50 })).rejects.toMatchObject({ code: 'timeout', message: expect.stringContaining('50 ms') });
});

it('a deadline beyond what a timer can do is none that has passed', async () => {
  const port = await serve((_, response) => void setTimeout(() => response.end('ok'), 30));
  expect((await get(port, { timeoutMs: 2 ** 40 })).status).toBe(200);
});

it('does not take half an answer for a whole one', async () => {
  const port = await serve((_, response) => {
    response.writeHead(200, { 'content-length': '100' });
    response.write('half', () => response.destroy());
  });
  await expect(get(port)).rejects.toMatchObject({ code: 'unavailable' });
});

it('does not take something else for HTTP', async () => {
  const server = createTcpServer((socket) => socket.end('SSH-2.0-OpenSSH_9.2\r\n'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  clean.push(() => server.close());
  await expect(get((server.address() as AddressInfo).port)).rejects.toMatchObject({ code: 'unavailable' });
});

it('stops reading an answer that is too large', async () => {
  const port = await serve((_, response) => void response.end(Buffer.alloc(2000)));
  await expect(get(port, { maxBytes: 1999 })).rejects.toMatchObject({ code: 'too_large' });
  expect((await get(port, { maxBytes: 2000 })).body).toHaveLength(2000);
});

it('is called off, before and while it runs', async () => {
  let asked = 0;
  const whileItRuns = new AbortController();
  const port = await serve(() => {
    asked += 1;
    whileItRuns.abort();
  });
  await expect(get(port, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'timeout' });
  expect(asked).toBe(0);
  await expect(get(port, { signal: whileItRuns.signal })).rejects.toMatchObject({ code: 'timeout' });
  expect(asked).toBe(1);
});

it.each<object>([{ headers: { authorization: 'Bearer a\nb' } }, { path: '/a b' }])('refuses what HTTP cannot carry: %j', async (more) => {
  await expect(get(1, more)).rejects.toMatchObject({ code: 'invalid' });
});

it('says why nobody can be reached', async () => {
  await expect(get(1)).rejects.toMatchObject({ code: 'unavailable', message: expect.stringContaining('nothing listens there') });
  await expect(get(0, { socketPath: '/nowhere/x.sock' })).rejects.toMatchObject({
    code: 'unavailable',
    message: expect.stringContaining('/nowhere/x.sock cannot be reached: there is no such socket'),
  });
});

it('speaks over a unix socket', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'xc-'));
  clean.push(() => rm(folder, { recursive: true }));
  const socketPath = join(folder, 's');
  await serve((request, response) => response.end(request.url), socketPath);
  const answer = await httpRequest({ socketPath, method: 'GET', path: '/v1/x?y', timeoutMs: 5000 });
  expect(answer.body.toString()).toBe('/v1/x?y');
});

it('makes an AppError of any failing answer', () => {
  const answer = (status: number, body: unknown) => ({ status, headers: {}, body });
  expect(expectOk(answer(204, ''), 'x')).toBe('');
  expect(() => expectOk(answer(404, { error: { code: 'not_found', message: 'no', hint: 'h' } }), 'x')).toThrow(
    expect.objectContaining({ code: 'not_found', message: 'no', hint: 'h' }),
  );
  for (const body of ['<html>', undefined, null, [], { error: { code: 'made_up', message: 'no' } }, { error: { code: 'internal' } }]) {
    expect(errorFromBody(answer(502, body), 'the thing')).toMatchObject({
      code: 'engine',
      message: expect.stringContaining('the thing answered 502'),
    });
  }
});
