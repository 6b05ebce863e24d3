import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { waitFor } from '#core/sleep.ts';
import { startLoad } from '#test/http-driver.ts';
import type { PoolHost } from '#test/pool/host.ts';
import { startWeb } from '#test/web/start.ts';
import { type Pool, startPool } from '#test/xcaas.ts';
import { peerStates, untilSame } from './lb-pool.ts';

/** The owner's way: a pool of three hosts, a load balancer, containers that come and go under load. */
let pool: Pool;
beforeAll(async () => {
  pool = await startPool({ verbose: process.env.XCAAS_VERBOSE !== undefined });
});
afterAll(() => pool?.stop());

interface LbJson {
  status: string;
  sentence: string;
  instances: { id: string; node: string }[];
  targets: { name: string; peers: { address: string; container: string; state: string; active: number; requests: number }[] }[];
}

const lb = (name = 'web') => pool.json<LbJson>(['lb', 'status', name]);
const peers = async (name = 'web') => (await lb(name)).targets.flatMap((target) => target.peers);
const url = (host: PoolHost, path = '/') => `http://${host.address}:8080${path}`;

describe('a pool of three hosts', () => {
  it('is whole, and says what it survives', async () => {
    const nodes = await pool.json<{ name: string; state: string; group: string; manager: boolean }[]>(['nodes']);

    expect(nodes.map(({ name, state, group, manager }) => ({ name, state, group, manager }))).toEqual([
      { name: 'n1', state: 'ready', group: 'group1', manager: true },
      { name: 'n2', state: 'ready', group: 'group2', manager: true },
      { name: 'n3', state: 'ready', group: 'group3', manager: true },
    ]);
    // Managers count from when their agents have seen that their engines are.
    const survives = async () => (await pool.json<{ survives: string }>(['status'])).survives;
    await untilSame(
      'it survives any loss',
      60,
      async () => (await survives()).includes('the loss of any one host or of any one group'),
      true,
    );
  });

  it('makes a load balancer whose members are in different groups', async () => {
    const made = await pool.json<LbJson>(['lb', 'create', '--listen', 'http:80', '--publish', '8080:80', 'web']);

    expect(made.status).toBe('READY');
    expect(new Set(made.instances.map(({ node }) => node)).size).toBe(2);
  });

  it('says the same again, and refuses another specification showing the difference', async () => {
    expect((await pool.json<LbJson>(['lb', 'create', '--listen', 'http:80', '--publish', '8080:80', 'web'])).status).toBe('READY');

    const other = await pool.cli(['lb', 'create', '--listen', 'http:81', '--json', 'web']);
    expect(other.code).toBe(4);
    expect(JSON.parse(other.stdout).error).toMatchObject({ code: 'conflict', message: expect.stringContaining('http:81') });
  });

  it('answers 503 with its page while nothing serves', async () => {
    const [member] = (await lb()).instances;
    const answer = await pool
      .host(member?.node ?? '')
      .run('curl', ['-s', '-o', '/dev/null', '-w', '%{http_code}', url(pool.host(member?.node ?? ''))]);

    expect(answer).toBe('503');
  });

  it('serves containers of any host, found by name from any host', async () => {
    for (const host of pool.hosts) await startWeb(host, { name: `web-${host.name}`, network: 'xcaas' });
    for (const host of pool.hosts)
      await pool.json(['lb', 'add_container', 'web', '--type=xlb', '-l', `container=web-${host.name}`, '-l', 'port=8080']);

    expect((await peers()).map(({ container, state }) => `${container} ${state}`).sort()).toEqual(['web-n1 up', 'web-n2 up', 'web-n3 up']);
    const load = await startLoad({ url: published(await lb()), concurrency: 4 });
    await waitFor(async () => ((await load.report()).sent >= 300 ? true : undefined), { timeoutMs: 30_000 });
    const report = await load.stop();
    expect(report.failed).toBe(0);
    expect(Object.keys(report.byServer).sort()).toEqual(['web-n1', 'web-n2', 'web-n3']);
  });

  it('loses no request while containers are drained out and added again', async () => {
    const load = await startLoad({ url: published(await lb()), rps: 100 });
    for (const host of pool.hosts) {
      await pool.json(['lb', 'remove_container', 'web', '-l', `container=web-${host.name}`, '--drain', '5']);
      expect((await peers()).some(({ container }) => container === `web-${host.name}`)).toBe(false);
      await pool.json(['lb', 'add_container', 'web', '-l', `container=web-${host.name}`, '-l', 'port=8080']);
    }
    const report = await load.stop();

    expect(report.failures).toEqual([]);
    expect(report.sent).toBeGreaterThan(100);
  });

  it('updates three containers one after another without a failed request', async () => {
    const load = await startLoad({ url: published(await lb()), rps: 100 });
    for (const host of pool.hosts) {
      await pool.json(['stop', `web-${host.name}`, '--drain', '10']);
      await host.run('docker', ['rm', `web-${host.name}`]);
      await startWeb(host, { name: `web-${host.name}`, network: 'xcaas', env: { WEB_VERSION: '2' } });
      const live = await waitFor(
        async () => ((await peers()).some(({ container, state }) => container === `web-${host.name}` && state === 'up') ? true : undefined),
        { timeoutMs: 20_000 },
      );
      expect(live).toBe(true);
    }
    const report = await load.stop();

    expect(report.failures).toEqual([]);
  });

  it('lets requests of 20 s end before their containers go, and shows the count falling', async () => {
    const [member] = (await lb()).instances;
    const at = pool.host(member?.node ?? '');
    // Enough that every container has some of both, whichever worker takes them.
    const requests = [20_000, 8000].flatMap((ms) =>
      Array.from({ length: 9 }, async () => {
        const answer = await pool.first.run('curl', ['-s', '-m', '40', '-w', ' %{http_code}', url(at, `/slow?ms=${ms}`)]);
        return { ms, code: answer.slice(-3), container: JSON.parse(answer.slice(0, -4)).container as string };
      }),
    );
    await waitFor(async () => ((await peers()).reduce((sum, { active }) => sum + active, 0) >= 18 ? true : undefined), { timeoutMs: 7000 });
    const start = performance.now();
    const timed = async (args: string[]) => ({ ...(await pool.cli(args)), seconds: (performance.now() - start) / 1000 });
    const [removed, stopped] = await Promise.all([
      timed(['lb', 'remove_container', 'web', '-l', 'container=web-n1', '--drain', '30']),
      timed(['stop', 'web-n2', '--drain', '30']),
    ]);
    const answers = await Promise.all(requests);

    expect(answers.filter(({ code }) => code !== '200')).toEqual([]);
    for (const container of ['web-n1', 'web-n2'])
      expect(answers.filter((one) => one.container === container && one.ms === 20_000).length).toBeGreaterThan(0);
    for (const { code, stderr, seconds } of [removed, stopped]) {
      const counts = [...stderr.matchAll(/^(\d+) requests? in flight/gm)].map((match) => Number(match[1]));
      process.stderr.write(`  measured: a drain of ${seconds.toFixed(1)} s, in flight: ${counts.join(', ')}\n`);
      expect(code).toBe(0);
      expect(counts.length).toBeGreaterThan(1);
      expect(counts).toEqual(counts.toSorted((a, b) => b - a));
      expect(seconds).toBeLessThan(30);
    }
    expect(await pool.host('n2').run('docker', ['inspect', '-f', '{{.State.Status}}', 'web-n2'])).toBe('exited\n');

    await pool.host('n2').run('docker', ['start', 'web-n2']);
    await pool.json(['lb', 'add_container', 'web', '-l', 'container=web-n1', '-l', 'port=8080']);
    await untilSame('all three serve again', 60, () => peerStates(pool, 'web'), ['web-n1 up', 'web-n2 up', 'web-n3 up']);
  });

  it('refuses what cannot be, and says what to type next', async () => {
    const refusals: [string[], number, RegExp][] = [
      [['lb', 'status', 'nope'], 3, /there is no load balancer/],
      [['lb', 'add_container', 'web', '-l', 'container=nope'], 3, /nope/],
      [['lb', 'add_container', 'web', '-l', 'container=web-n1'], 2, /port/],
      [['lb', 'create', '--publish', '8080:80', 'other'], 4, /8080 is published by the load balancer web/],
      [['lb', 'create', 'bad;name'], 2, /name/],
      [['lb', 'create', '$(reboot)'], 2, /name/],
      [['lb', 'listener', 'add', 'web', 'http:80'], 4, /listens on port 80 already/],
      [['lb', 'destroy', 'web', '--yes'], 4, /web-n1/],
    ];
    for (const [args, code, message] of refusals) {
      const answer = await pool.cli([...args, '--json']);
      const { error } = JSON.parse(answer.stdout);
      expect({ args, code: answer.code, message: error.message }).toEqual({ args, code, message: expect.stringMatching(message) });
      expect(error.hint ?? '').not.toBe('');
    }
    expect((await lb()).status).toBe('READY');
  });

  it('is removed once nothing is linked to it', async () => {
    for (const host of pool.hosts) await pool.json(['lb', 'remove_container', 'web', '-l', `container=web-${host.name}`, '--drain', '1']);
    await pool.json(['lb', 'destroy', 'web', '--yes']);

    expect(await pool.json(['lb', 'list'])).toEqual([]);
    for (const host of pool.hosts) {
      expect(await host.run('docker', ['ps', '-aq', '--filter', 'label=xcaas.kind=lb'])).toBe('');
    }
  });
});

/** The published port on each host where a member lives. */
function published(seen: LbJson): string[] {
  return seen.instances.map(({ node }) => url(pool.host(node)));
}
