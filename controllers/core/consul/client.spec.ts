import { setMaxListeners } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { afterEach, describe, expect, it } from 'vitest';
import { createConsul } from '#core/consul/client.ts';
import { startScript } from '#test/http-script.ts';

const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const each of open.splice(0)) await each.close();
});

type Answer = (request: IncomingMessage, response: ServerResponse) => void;
async function against(...script: Answer[]) {
  const server = await startScript(...script);
  const consul = createConsul({ host: '127.0.0.1', port: server.port, token: 'tok', readPausesMs: [1, 1] });
  open.push(consul, server);
  return { server, consul };
}
const says =
  (status: number, body: unknown, type = 'application/json'): Answer =>
  (_, response) =>
    response.writeHead(status, { 'content-type': type }).end(type === 'application/json' ? JSON.stringify(body) : String(body));

const text = 'text/plain; charset=utf-8';

describe('createConsul', () => {
  it.each([
    [500, 'No cluster leader', 'unavailable'],
    [503, 'starting', 'unavailable'],
    [429, 'too many', 'unavailable'],
    [403, 'Permission denied', 'forbidden'],
    [400, 'bad', 'engine'],
  ])('a %d is %s for every kind of call', async (status, said, code) => {
    const { consul } = await against(says(status, said, text));
    const expected = { code, message: expect.stringContaining(said) };
    await expect(consul.kv.get('a')).rejects.toMatchObject(expected);
    await expect(consul.kv.list('a/')).rejects.toMatchObject(expected);
    await expect(consul.kv.cas('a', '1', 0)).rejects.toMatchObject(expected);
    await expect(consul.kv.put('a', '1')).rejects.toMatchObject(expected);
    await expect(consul.kv.delete('a')).rejects.toMatchObject(expected);
    await expect(consul.kv.acquire('a', '1', 's')).rejects.toMatchObject(expected);
    await expect(consul.session.create({ name: 'x', ttlSeconds: 10, behavior: 'release' })).rejects.toMatchObject(expected);
    await expect(consul.session.renew('s')).rejects.toMatchObject(expected);
    await expect(consul.agent.services()).rejects.toMatchObject(expected);
    await expect(consul.agent.pass('c')).rejects.toMatchObject(expected);
    await expect(consul.health.service('web')).rejects.toMatchObject(expected);
  });

  it('nobody there is said so by every kind of call', async () => {
    const consul = createConsul({ host: '127.0.0.1', port: 1 });
    open.push(consul);
    await expect(consul.kv.get('a')).rejects.toMatchObject({ code: 'unavailable' });
    await expect(consul.kv.cas('a', '1', 0)).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('a lost race is false, which the package does not say', async () => {
    const { consul } = await against(says(200, false));
    expect(await consul.kv.cas('a', '1', 1)).toBe(false);
    expect(await consul.kv.delete('a', { cas: 1 })).toBe(false);
    expect(await consul.kv.acquire('a', '1', 's')).toBe(false);
    expect(await consul.kv.release('a', 's')).toBe(false);
    await expect(consul.kv.put('a', '1')).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('a session that is gone is no error', async () => {
    const { consul } = await against(says(404, 'Session id not found', text));
    expect(await consul.session.renew('s')).toBe(false);
    expect(await consul.kv.get('a')).toBeUndefined();
    expect(await consul.kv.list('a/')).toEqual([]);
  });

  it('encodes what stands in keys, and keeps their slashes', async () => {
    const { consul, server } = await against(says(404, '', text));
    await consul.kv.get('xcaas/a b/%2e?x#y/ü;$(id)');
    expect(server.asked).toEqual(['/v1/kv/xcaas/a%20b/%252e%3Fx%23y/%C3%BC%3B%24(id)']);
  });

  it.each(['xcaas/../tokens', 'xcaas/lb//spec', '/xcaas', './x', 'xcaas/..', '..', 'line\nbreak', 'nul\0', 'half \ud800'])(
    '%s is no key for any call',
    async (key) => {
      const { consul, server } = await against(says(200, true));
      for (const call of [
        () => consul.kv.get(key),
        () => consul.kv.list(key),
        () => consul.kv.put(key, ''),
        () => consul.kv.cas(key, '', 0),
        () => consul.kv.delete(key),
        () => consul.kv.deleteTree(key),
        () => consul.kv.acquire(key, '', 's'),
      ]) {
        await expect(call()).rejects.toMatchObject({ code: 'invalid' });
      }
      expect(server.asked).toEqual([]);
    },
  );

  it('reads values that are empty, or no text of ours', async () => {
    const row = (Key: string, Value: string | null) => ({
      Key,
      Value,
      ModifyIndex: 7,
      LockIndex: 2,
      Session: 's',
      Flags: 0,
      CreateIndex: 1,
    });
    const { consul } = await against(says(200, [row('a', null), row('b', Buffer.from('ü').toString('base64'))]));
    expect(await consul.kv.list('')).toEqual([
      { key: 'a', value: '', modifyIndex: 7, lockIndex: 2, session: 's' },
      { key: 'b', value: 'ü', modifyIndex: 7, lockIndex: 2, session: 's' },
    ]);
  });

  it('many blocking queries leave room for plain calls', async () => {
    const { consul, server } = await against((request, response) => {
      if (!request.url?.includes('index=')) says(404, '', text)(request, response);
    });
    const stop = new AbortController();
    setMaxListeners(0, stop.signal);
    const blocked = Array.from({ length: 80 }, (_, i) =>
      consul.request('GET', `/v1/kv/${i}`, { query: { index: 1 }, signal: stop.signal, timeoutMs: 60_000 }).catch(() => undefined),
    );
    expect(await consul.kv.get('plain')).toBeUndefined();
    expect(server.asked.length).toBeGreaterThan(64);
    stop.abort();
    await Promise.all(blocked);
  });
});
