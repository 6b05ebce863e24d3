import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { startLoad } from '#test/http-driver.ts';
import type { LoadReport } from '#test/load/report.ts';
import type { PoolHost } from '#test/pool/host.ts';
import { type Pool, startPool } from '#test/xcaas.ts';
import {
  consulLeader,
  controlLeader,
  lbStatus,
  lbUrl,
  makeLb,
  membersOn,
  peerStates,
  until,
  untilNodesReady,
  untilSame,
  untilWhole,
  webOn,
} from './lb-pool.ts';

/**
 * A host is lost without a word. What bounds the time until a request that was sent to it is sent elsewhere, each with the settings of a load balancer
 * that nobody changed:
 *   a new connection: 1 s (connect timeout), then the next peer;
 *   a request on a connection that was open: TCP gives up what is not acknowledged (13 s), or its keep-alive finds out (11 s);
 *   from then on: no request at all, once the passive check (1 failure) or the active one (2 × every 2 s, each at most 1 s) has taken the peer out.
 */
const BOUND_MS = 20_000;

// What is waited for is bounded one by one.
vi.setConfig({ testTimeout: 400_000, hookTimeout: 400_000 });

let pool: Pool;
beforeAll(async () => {
  pool = await startPool({ verbose: process.env.XCAAS_VERBOSE !== undefined });
  await makeLb(pool, { name: 'web', port: 8080 });
});
afterAll(() => pool?.stop());

const others = (host: PoolHost) => pool.hosts.filter((other) => other !== host);
const memberHosts = async (on: PoolHost) => (await lbStatus(pool, 'web', on)).instances.map(({ node }) => pool.host(node));

function say(what: string, report: LoadReport): void {
  const { sent, failed, byReason, latency, longestGapMs } = report;
  process.stderr.write(
    `  ${what}: ${sent} requests, ${failed} failed ${JSON.stringify(byReason)}, longest without a success ${longestGapMs} ms, p99 ${latency.p99} ms, slowest ${latency.max} ms\n`,
  );
}

describe('a host that is killed under load', () => {
  let lost: PoolHost;
  let witness: PoolHost;

  it('fails no idempotent request for longer than the health checks need', async () => {
    const [control, consul] = [await controlLeader(pool, pool.first), await consulLeader(pool, pool.first)];
    const holders = await memberHosts(pool.first);
    lost = holders.find((host) => host !== control && host !== consul) ?? holders[0]!;
    const serving = holders.find((host) => host !== lost)!;
    witness = serving;

    const fast = await startLoad({ url: lbUrl(serving, 8080), rps: 100, timeoutMs: BOUND_MS });
    // Always some whose answer is still to begin, a third of them on the host that dies.
    const slow = await startLoad({ url: lbUrl(serving, 8080, '/slow?ms=1500'), concurrency: 12, timeoutMs: BOUND_MS });
    await until('requests run', 20, async () => ((await slow.report()).ok > 12 ? true : undefined));
    const { byServer } = await fast.report();
    expect(Object.keys(byServer)).toContain(webOn(lost, 'web'));

    lost.kill();
    const killedAt = performance.now();
    await untilSame(
      'the load balancer sends nothing more to the dead host',
      40,
      async () => (await peerStates(pool, 'web', witness)).filter((peer) => peer.endsWith(' up')),
      others(lost)
        .map((host) => `${webOn(host, 'web')} up`)
        .sort(),
    );
    await until('the slowest request is over', 60, async () => (performance.now() - killedAt > BOUND_MS + 2000 ? true : undefined));
    const reports = { fast: await fast.stop(), slow: await slow.stop() };
    say('short requests', reports.fast);
    say('requests of 1.5 s', reports.slow);

    expect(reports.fast.failures).toEqual([]);
    expect(reports.slow.failures).toEqual([]);
    expect(reports.fast.latency.max).toBeLessThan(BOUND_MS);
    expect(reports.fast.longestGapMs).toBeLessThan(5000);
  });

  it('is named by the status, and its member moves to another host', async () => {
    const seen = new Set<string>();
    try {
      await until('the member runs on another host', 120, async () => {
        const { status, sentence, instances } = await lbStatus(pool, 'web', witness);
        const nodes = instances.map(({ node }) => node);
        seen.add(`${status}: ${sentence} (members on ${nodes.join(', ')})`);
        return status === 'READY' && !nodes.includes(lost.name) && new Set(nodes).size === 2 ? true : undefined;
      });
    } finally {
      process.stderr.write(`  said on the way:\n${[...seen].map((line) => `    ${line}\n`).join('')}`);
    }

    expect([...seen].some((line) => line.startsWith('DEGRADED') && line.includes(lost.name))).toBe(true);
    const status = await pool.json<{ status: string; sentence: string }>(['status'], { on: witness });
    expect(status).toMatchObject({ status: 'DEGRADED', sentence: expect.stringContaining(lost.name) });
    for (const host of others(lost)) {
      expect(await host.run('curl', ['-s', '-o', '/dev/null', '-w', '%{http_code}', lbUrl(host, 8080)])).toBe('200');
    }
  });

  it('comes back: the member that lives elsewhere now is removed, its containers serve again', async () => {
    await lost.boot();
    await untilNodesReady(pool, 60, witness);
    await untilSame('nothing stray is left on the host', 60, () => membersOn(lost), []);
    await untilWhole(pool, 'web', 60, witness);

    expect((await pool.json<{ status: string }>(['status'], { on: witness })).status).toBe('READY');
  });
});

describe('the host that leads both the control replicas and Consul is killed', () => {
  it('stops nothing that serves, and another answers', async () => {
    const leader = await bothLeaders();
    const [other] = others(leader);
    const serving = (await memberHosts(pool.first)).find((host) => host !== leader)!;
    const load = await startLoad({ url: lbUrl(serving, 8080), rps: 50, timeoutMs: BOUND_MS });
    await until('requests run', 20, async () => ((await load.report()).ok > 50 ? true : undefined));

    leader.kill();
    await until('the API answers from another host', 30, async () => {
      const { code, stdout } = await pool.cli(['nodes', '--json'], { on: other!, timeoutMs: 40_000 });
      return code === 0 && JSON.parse(stdout).length === 3 ? true : undefined;
    });
    // And it acts, not only answers.
    await pool.json(['node', 'label', other!.name, 'tried=yes'], { on: other! });
    await until('the slowest request is over', 60, async () => ((await load.report()).seconds > 30 ? true : undefined));
    const report = await load.stop();
    say('requests meanwhile', report);
    expect(report.failures).toEqual([]);
    expect(report.longestGapMs).toBeLessThan(5000);

    await leader.boot();
    await untilNodesReady(pool, 60, other!);
    await untilWhole(pool, 'web', 90, other!);
  });

  /** Control is made to change its leader until it is where Consul's is. */
  async function bothLeaders(): Promise<PoolHost> {
    const { value } = await until('one host leads both', 120, async () => {
      const [control, consul] = [await controlLeader(pool, pool.first), await consulLeader(pool, pool.first)];
      if (control !== undefined && control === consul) return control;
      await control?.run('docker', ['restart', 'xcaas-control']);
      return undefined;
    });
    return value;
  }
});
