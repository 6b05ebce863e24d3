import { mkdtemp, rm } from 'node:fs/promises';
import type { Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AppError } from '#core/errors.ts';
import { httpRequest, requestJson } from '#core/http.ts';
import { type AdminRoute, findRoute, serveAdmin } from './admin.ts';

const route = (method: AdminRoute['method'], path: string, handle: AdminRoute['handle'] = () => ({})): AdminRoute => ({
  method,
  path,
  handle,
});

describe('findRoute', () => {
  const routes = [route('GET', '/users'), route('GET', '/users/:name'), route('POST', '/users/:name/rotate')];
  it.each([
    ['GET', '/users', 0, {}],
    ['GET', '/users/al%20ice', 1, { name: 'al ice' }],
    ['POST', '/users/alice/rotate', 2, { name: 'alice' }],
  ])('%s %s', (method, path, index, params) => {
    expect(findRoute(routes, method, path)).toEqual({ route: routes[index], params });
  });
  it.each([
    ['POST', '/users'],
    ['GET', '/users/'],
    ['GET', '/users/a/b'],
    ['GET', '/'],
  ])('%s %s is none', (method, path) => {
    expect(findRoute(routes, method, path)).toBeUndefined();
  });
});

describe('serveAdmin', () => {
  let folder: string;
  let server: Server | undefined;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'xdb-admin-'));
  });
  afterEach(async () => {
    server?.closeAllConnections();
    server?.close();
    await rm(folder, { recursive: true, force: true });
  });

  it('hands over what was asked and says how it went', async () => {
    const socketPath = join(folder, 'run/admin.sock');
    server = await serveAdmin(socketPath, [
      route('PUT', '/users/:name', ({ params, query, body }) => ({ status: 201, body: { params, q: query.get('q'), body } })),
      route('GET', '/broken', () => {
        throw new AppError('conflict', 'not now', { hint: 'later' });
      }),
      route('GET', '/metrics', () => ({ text: 'a 1\n' })),
    ]);
    const ask = (method: string, path: string, body?: unknown) => requestJson({ socketPath, method, path, body, timeoutMs: 2000 });
    expect(await ask('PUT', '/users/eve?q=1', { a: 1 })).toMatchObject({
      status: 201,
      body: { params: { name: 'eve' }, q: '1', body: { a: 1 } },
    });
    expect(await ask('GET', '/broken')).toMatchObject({
      status: 409,
      body: { error: { code: 'conflict', message: 'not now', hint: 'later' } },
    });
    expect(await ask('GET', '/nothing')).toMatchObject({ status: 404 });
    expect((await ask('GET', '/metrics')).body).toBe('a 1\n');
    const damaged = await httpRequest({ socketPath, method: 'PUT', path: '/users/eve', body: '{', timeoutMs: 2000 });
    expect(damaged.status).toBe(400);
  });

  it('takes the place of a socket that a killed sidecar left', async () => {
    const socketPath = join(folder, 'admin.sock');
    const first = await serveAdmin(socketPath, []);
    server = await serveAdmin(socketPath, [route('GET', '/x', () => ({ body: 1 }))]);
    expect((await requestJson({ socketPath, method: 'GET', path: '/x', timeoutMs: 2000 })).body).toBe(1);
    first.close();
  });
});
