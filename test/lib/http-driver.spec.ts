import { type ChildProcess, spawn } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sleep } from '#core/sleep.ts';
import { httpLoad, startLoad, startSockets } from './http-driver.ts';
import { SERVER } from './web/start.ts';

/** A target on a port of its own. */
async function serve(name: string, port: number, env: Record<string, string> = {}): Promise<ChildProcess> {
  const child = spawn(process.execPath, [SERVER], {
    env: { ...process.env, WEB_NAME: name, PORT: String(port), ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await new Promise((resolve) => child.stdout?.once('data', resolve));
  return child;
}

const base = 20_000 + (process.pid % 20_000);
const url = (path: string, port = base) => `http://127.0.0.1:${port}${path}`;
let web: ChildProcess;
beforeAll(async () => {
  web = await serve('w1', base);
});
afterAll(() => {
  web.kill('SIGKILL');
});

describe('httpLoad', () => {
  it('fills in what is not said', () => {
    expect(httpLoad({ url: 'http://a/' })).toMatchObject({
      kind: 'http',
      urls: ['http://a/'],
      concurrency: 8,
      method: 'GET',
      keepAlive: true,
      timeoutMs: 5000,
    });
    expect(httpLoad({ url: 'http://a/', bodyBytes: 5 }).method).toBe('POST');
  });
  it.each([{ url: [] }, { url: ['http://a', 'https://b'] }, { url: 'http://a', rps: 0 }, { url: 'http://a', rps: 1e9 }])(
    'refuses %j',
    (options) => {
      expect(() => httpLoad(options)).toThrow(expect.objectContaining({ code: 'usage' }));
    },
  );
});

describe('startLoad', () => {
  it('keeps a rate, and every request is in the account', async () => {
    const load = await startLoad({ url: url('/'), rps: 200 });
    await sleep(1000);
    const report = await load.stop();
    expect(report).toMatchObject({ failed: 0, byReason: {}, failures: [] });
    expect(report.sent).toBe(report.ok);
    expect(report.byServer).toEqual({ w1: report.ok });
    expect(report.sent).toBeGreaterThan(100);
    expect(report.sent).toBeLessThan(400);
  });

  it('sees bodies come back whole, with and without kept connections', async () => {
    for (const keepAlive of [true, false]) {
      const load = await startLoad({ url: url('/echo'), concurrency: 2, bodyBytes: 100_000, expectEcho: true, keepAlive });
      await sleep(300);
      const report = await load.stop();
      expect(report.failed, JSON.stringify(report.failures[0])).toBe(0);
      expect(report.ok).toBeGreaterThan(2);
    }
  });

  it('explains each failure', async () => {
    const cases: [string, Parameters<typeof startLoad>[0]][] = [
      ['refused', { url: 'http://127.0.0.1:1/' }],
      ['status_503', { url: url('/status?code=503') }],
      ['timeout', { url: url('/hang'), timeoutMs: 200 }],
      ['closed', { url: url('/close'), keepAlive: false }],
    ];
    await Promise.all(
      cases.map(async ([reason, options]) => {
        const load = await startLoad({ ...options, concurrency: 2 });
        await sleep(600);
        const report = await load.stop();
        expect(Object.keys(report.byReason)).toEqual([reason]);
        expect(report).toMatchObject({ ok: 0, failed: report.sent });
        expect(report.failures[0]).toMatchObject({ reason, time: expect.stringMatching(/^\d{4}-.*Z$/) });
      }),
    );
  });

  it('measures how long a target was away', async () => {
    const other = await serve('w2', base + 1);
    const load = await startLoad({ url: url('/', base + 1), rps: 100 });
    await sleep(300);
    other.kill('SIGKILL');
    await sleep(700);
    const again = await serve('w2', base + 1);
    await sleep(400);
    const report = await load.stop();
    again.kill('SIGKILL');
    expect(report.longestGapMs).toBeGreaterThan(650);
    expect(report.longestGapMs).toBeLessThan(5000);
    expect(report.failed).toBeGreaterThan(20);
    expect(report.sent).toBe(report.ok + report.failed);
  });
});

describe('startSockets', () => {
  it('keeps sockets talking, and tells who died when and why', async () => {
    const other = await serve('w3', base + 2);
    const sockets = await startSockets({ url: `ws://127.0.0.1:${base + 2}/ws`, count: 20, heartbeatMs: 50, perSecond: 1000 });
    await sleep(600);
    expect(await sockets.report()).toMatchObject({ opened: 20, alive: 20, died: [], wrong: 0, byServer: { w3: 20 } });
    other.kill('SIGTERM');
    await sleep(500);
    const report = await sockets.stop();
    expect(report).toMatchObject({ alive: 0, failedToOpen: 0 });
    expect(report.died).toHaveLength(20);
    expect(report.died[0]).toMatchObject({ reason: 'closed', code: 1001, server: 'w3' });
    expect(report.echoes).toBeGreaterThan(50);
  });

  it('says of a target that hangs that its sockets are silent', async () => {
    const other = await serve('w4', base + 3);
    const sockets = await startSockets({ url: `ws://127.0.0.1:${base + 3}/ws`, count: 3, heartbeatMs: 50, timeoutMs: 400 });
    await sleep(300);
    other.kill('SIGSTOP');
    await sleep(1000);
    const report = await sockets.stop();
    other.kill('SIGKILL');
    expect(report.died.map((death) => death.reason)).toEqual(['silent', 'silent', 'silent']);
  });
});
