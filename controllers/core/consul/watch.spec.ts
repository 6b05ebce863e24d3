import type { ServerResponse } from 'node:http';
import { afterEach, describe, expect, it } from 'vitest';
import { createConsul } from '#core/consul/client.ts';
import { type WatchMeta, type WatchOptions, watchConsul } from '#core/consul/watch.ts';
import type { AppError } from '#core/errors.ts';
import { silentLogger } from '#core/log.ts';
import { sleep, waitFor } from '#core/sleep.ts';
import { type ScriptedServer, startScript } from '#test/http-script.ts';

const open: { close(): void | Promise<void> }[] = [];
afterEach(async () => {
  for (const each of open.splice(0)) await each.close();
});

const answer =
  (body: unknown, index: number, headers: Record<string, string> = {}, status = 200) =>
  (_: unknown, response: ServerResponse) => {
    response.writeHead(status, {
      'content-type': 'application/json',
      'x-consul-index': String(index),
      'x-consul-knownleader': 'true',
      ...headers,
    });
    response.end(JSON.stringify(body));
  };
/** As Consul does while nothing changes: no answer. */
const silence = () => undefined;

async function follow(server: ScriptedServer, options: Partial<WatchOptions<unknown>> = {}) {
  const seen: unknown[] = [];
  const metas: WatchMeta[] = [];
  const errors: AppError[] = [];
  const stop = new AbortController();
  const consul = createConsul({ host: '127.0.0.1', port: server.port });
  const ended = watchConsul<unknown>({
    consul,
    path: '/v1/health/service/web',
    parse: ({ body }) => body,
    onChange(value, meta) {
      seen.push(value);
      metas.push(meta);
    },
    onError: (error) => errors.push(error),
    log: silentLogger(),
    signal: stop.signal,
    retryMs: { first: 5, max: 20 },
    ...options,
  });
  open.push(server, consul, {
    async close() {
      stop.abort();
      await ended;
    },
  });
  return { seen, metas, errors, stop, ended };
}

const until = (condition: () => boolean) => waitFor(async () => (condition() ? true : undefined), { timeoutMs: 5000, intervalMs: 5 });

describe('watchConsul', () => {
  it('blocks on the index of the answer before', async () => {
    const server = await startScript(answer(['a'], 7), answer(['b'], 9), silence);
    const { seen } = await follow(server);
    await until(() => server.asked.length === 3);

    expect(seen).toEqual([['a'], ['b']]);
    expect(server.asked).toEqual([
      '/v1/health/service/web',
      '/v1/health/service/web?index=7&wait=60s',
      '/v1/health/service/web?index=9&wait=60s',
    ]);
  });

  it('starts again from nothing when the index goes back', async () => {
    const server = await startScript(answer(['a'], 100), answer(['a'], 3), answer(['b'], 4), silence);
    const { seen } = await follow(server);
    await until(() => server.asked.length === 4);

    expect(server.asked[2]).toBe('/v1/health/service/web');
    expect(seen).toEqual([['a'], ['b']]);
  });

  it('never sends an index of 0, which would not block', async () => {
    const server = await startScript(answer(['a'], 0), answer(['a'], 0), answer(['a'], 5), silence);
    await follow(server);
    await until(() => server.asked.length === 4);

    expect(server.asked.some((url) => /index=0/.test(url))).toBe(false);
  });

  it('tells a change of content, not of index', async () => {
    const server = await startScript(answer(['a'], 1), answer(['a'], 2), answer(['a'], 3), answer(['b'], 4), silence);
    const { seen } = await follow(server);
    await until(() => server.asked.length === 5);

    expect(seen).toEqual([['a'], ['b']]);
  });

  it('does not believe a server that knows no leader, however empty its answer', async () => {
    const server = await startScript(answer(['a'], 5), answer([], 6, { 'x-consul-knownleader': 'false' }), answer(['a'], 7), silence);
    const { seen, errors } = await follow(server);
    await until(() => server.asked.length === 4);

    expect(seen).toEqual([['a']]);
    expect(errors.map(({ code }) => code)).toEqual(['unavailable']);
  });

  it('goes on after 500s and starts again from nothing', async () => {
    const server = await startScript(
      answer(['a'], 5),
      answer('no leader', 0, {}, 500),
      answer('rpc error', 0, {}, 500),
      answer(['b'], 6),
      silence,
    );
    const { seen, errors } = await follow(server);
    await until(() => server.asked.length === 5);

    expect(seen).toEqual([['a'], ['b']]);
    expect(errors).toHaveLength(2);
    expect(server.asked[2]).toBe('/v1/health/service/web');
  });

  it('goes on after a 400, unlike other clients', async () => {
    const server = await startScript(answer('bad', 0, {}, 400), answer(['a'], 6), silence);
    const { seen } = await follow(server);
    await until(() => seen.length === 1);

    expect(seen).toEqual([['a']]);
  });

  it('goes on after answers that break off and bodies that are no JSON', async () => {
    const server = await startScript(
      (_, response) => {
        response.writeHead(200, { 'content-type': 'application/json', 'x-consul-index': '5', 'content-length': '100' });
        response.write('["a"');
        response.destroy();
      },
      (_, response) => {
        response.writeHead(200, { 'content-type': 'application/json', 'x-consul-index': '5' });
        response.end('["a"');
      },
      answer(['b'], 6),
      silence,
    );
    const { seen, errors } = await follow(server);
    await until(() => seen.length === 1);

    expect(seen).toEqual([['b']]);
    expect(errors).toHaveLength(2);
  });

  it('notices a connection that died without a word', async () => {
    const server = await startScript(answer(['a'], 5), silence, answer(['b'], 6), silence);
    const { seen, errors } = await follow(server, { waitSeconds: 0.01, graceMs: 50 });
    await until(() => seen.length === 2);

    expect(seen).toEqual([['a'], ['b']]);
    expect(errors[0]?.code).toBe('timeout');
  });

  it('hands an update over again when its listener threw', async () => {
    const server = await startScript(answer(['a'], 5), answer(['a'], 5), silence);
    let calls = 0;
    const seen: unknown[] = [];
    await follow(server, {
      onChange(value) {
        calls += 1;
        if (calls === 1) throw new Error('not now');
        seen.push(value);
      },
    });
    await until(() => seen.length === 1);

    expect(seen).toEqual([['a']]);
    expect(calls).toBe(2);
  });

  it('bounds its rate when the index rises with every answer', async () => {
    let index = 0;
    const server = await startScript((request, response) => {
      index += 1;
      answer([index], index)(request, response);
    });
    const { seen } = await follow(server, { ratePerSecond: 20 });
    await sleep(500);

    // 2 at once and then 20 a second, with room for a slow machine's timers.
    expect(server.asked.length).toBeLessThanOrEqual(2 + 0.5 * 20 + 4);
    expect(seen.length).toBeGreaterThanOrEqual(2);
  });

  it('tells when rights removed entries from the answer', async () => {
    const server = await startScript(answer([], 5, { 'x-consul-results-filtered-by-acls': 'true', 'x-consul-lastcontact': '12' }), silence);
    const { metas } = await follow(server);
    await until(() => metas.length === 1);

    expect(metas[0]).toEqual({ index: 5, knownLeader: true, lastContactMs: 12, filtered: true });
  });

  it('ends at once when told, also while a query blocks', async () => {
    const server = await startScript(answer(['a'], 5), silence);
    const { seen, stop, ended } = await follow(server);
    await until(() => server.asked.length === 2);
    stop.abort();

    await expect(ended).resolves.toBeUndefined();
    expect(seen).toHaveLength(1);
  });
});
