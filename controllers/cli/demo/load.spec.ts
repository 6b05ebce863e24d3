import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import type { Failure } from './explain.ts';
import { type Load, quantile, startLoad } from './load.ts';

let server: http.Server | undefined;
let load: Load | undefined;
afterEach(async () => {
  await load?.stop();
  server?.closeAllConnections();
  server?.close();
});

/** A server that answers as the demo's containers do, or as `respond` says. */
async function listen(respond?: (response: http.ServerResponse) => void): Promise<string> {
  server = http.createServer((request, response) => {
    request.resume();
    if (respond) respond(response);
    else response.end(JSON.stringify({ container: 'demo-web-1', version: '1' }));
  });
  await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

function start(url: string): Failure[] {
  const failures: Failure[] = [];
  load = startLoad({ urls: [url], rps: 200, onFailure: (failure) => failures.push(failure) });
  return failures;
}

describe('the load of the demo', () => {
  it('counts every answer, by who gave it and by what was going on', async () => {
    const failures = start(await listen());
    await load?.answer(() => true, 5000);
    load?.stage('second');
    await load?.answer(({ container, version, sent }) => container === 'demo-web-1' && version === '1' && sent > 0, 5000);
    const report = await load?.stop();
    const totals = load?.totals();

    expect(failures).toEqual([]);
    expect(totals?.answered).toBe(totals?.requests);
    expect(report?.stages.reduce((sum, { requests }) => sum + requests, 0)).toBe(totals?.requests);
    expect(report?.answeredBy).toEqual([{ container: 'demo-web-1', version: '1', requests: totals?.requests }]);
  });

  it.each([
    ['another status', (response: http.ServerResponse) => response.writeHead(502).end(), 'status 502'],
    ['an answer that is not the application’s', (response: http.ServerResponse) => response.end('<html>'), 'a wrong answer'],
    ['a connection that breaks', (response: http.ServerResponse) => response.socket?.destroy(), 'reset'],
    [
      'an answer that breaks off',
      (response: http.ServerResponse) => {
        response.writeHead(200, { 'content-length': '100' });
        response.write('{', () => response.socket?.destroy());
      },
      'truncated',
    ],
  ])('counts %s as failed', async (_what, respond, reason) => {
    const failures = start(await listen(respond));
    await expect.poll(() => failures.length, { timeout: 5000 }).toBeGreaterThan(0);
    await load?.stop();

    expect(new Set(failures.map((failure) => failure.reason))).toEqual(new Set([reason]));
    expect(load?.totals()).toMatchObject({ answered: 0, failed: failures.length, requests: failures.length });
  });

  it('counts nobody listening as failed', async () => {
    const url = await listen();
    await new Promise((resolve) => server?.close(resolve));
    const failures = start(url);
    await expect.poll(() => failures.length, { timeout: 5000 }).toBeGreaterThan(0);

    expect(failures[0]?.reason).toBe('refused');
  });

  it('says when nobody fitting answered in time', async () => {
    start(await listen());

    expect(await load?.answer(({ container }) => container === 'another', 50)).toBeUndefined();
  });
});

describe('quantile', () => {
  it('is a value of the list, and 0 of an empty one', () => {
    expect([quantile([1, 2, 3, 4], 0.5), quantile([1, 2, 3, 4], 1), quantile([], 0.5)]).toEqual([3, 4, 0]);
  });
});
