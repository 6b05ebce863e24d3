import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { sleep } from '#core/sleep.ts';
import { startLoad } from '#test/http-driver.ts';
import type { PoolHost } from '#test/pool/host.ts';
import { type Pool, startPool } from '#test/xcaas.ts';
import {
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
} from '../pool/lb-pool.ts';

/** Hosts that live and are not heard, a leader that sleeps, power that goes and comes. Nobody types a command in between. */
// What is waited for is bounded one by one.
vi.setConfig({ testTimeout: 600_000, hookTimeout: 400_000 });

let pool: Pool;
beforeAll(async () => {
  pool = await startPool({ verbose: process.env.XCAAS_VERBOSE !== undefined });
  // A member on each host, so that none moves while its host is away: what is cut off has to come back by itself.
  await makeLb(pool, { name: 'web', port: 8080, replicas: 3 });
});
afterAll(() => pool?.stop());

const others = (host: PoolHost) => pool.hosts.filter((other) => other !== host);
const answers = (host: PoolHost) => host.run('curl', ['-s', '-m', '5', '-o', '/dev/null', '-w', '%{http_code}', lbUrl(host, 8080)]);
const webState = async (host: PoolHost) => (await host.docker.getContainer(webOn(host, 'web')).inspect()).State;

async function describeHost(host: PoolHost): Promise<string> {
  const { Status, Error: error } = await webState(host);
  return `${host.name}: ${(await membersOn(host)).join(', ')}; ${webOn(host, 'web')} ${Status} ${error}`;
}

/** See test/pool/pool-lost.test.ts. */
const BOUND_MS = 20_000;

describe('a host is cut off without a word', () => {
  it('both sides go on serving what they have, and find together again', async () => {
    const leader = await controlLeader(pool, pool.first);
    const holders = (await lbStatus(pool, 'web')).instances.map(({ node }) => pool.host(node));
    const host = holders.find((candidate) => candidate !== leader)!;
    const serving = holders.find((candidate) => candidate !== host)!;
    const load = await startLoad({ url: lbUrl(serving, 8080), rps: 50, timeoutMs: BOUND_MS });
    await until('requests run', 20, async () => ((await load.report()).ok > 50 ? true : undefined));

    host.cut('silent');
    await untilSame(
      'the load balancer sends nothing more over there',
      40,
      async () => (await peerStates(pool, 'web', serving)).filter((peer) => peer.endsWith(' up')),
      others(host)
        .map((other) => `${webOn(other, 'web')} up`)
        .sort(),
    );
    // The member on the other side still serves its own host's container, with what it knew last.
    await untilSame(
      'the side that is cut off serves',
      30,
      () => host.run('curl', ['-s', '-m', '15', '-o', '/dev/null', '-w', '%{http_code}', lbUrl(host, 8080)]),
      '200',
    );
    const { code, stdout } = await pool.cli(['nodes', '--json'], { on: host });
    expect(code).not.toBe(0);
    expect(JSON.parse(stdout).error).toMatchObject({ code: expect.stringMatching(/unavailable|timeout/), message: expect.any(String) });
    process.stderr.write(`  said on the side that is cut off: ${JSON.parse(stdout).error.message}\n`);

    host.heal();
    await untilNodesReady(pool, 60, serving);
    // Docker's NetworkDB takes the cut host's entries of the overlay out and needs up to a minute or two after it is back to have them again (moby#53141).
    await untilWhole(pool, 'web', 240, serving);
    const report = await load.stop();
    process.stderr.write(
      `  requests: ${report.sent}, failed ${report.failed}, slowest ${report.latency.max} ms, longest gap ${report.longestGapMs} ms\n`,
    );
    expect(report.failures).toEqual([]);
    // Each member is where its record says, and nowhere else.
    const placed = (await lbStatus(pool, 'web', serving)).instances.map(({ id, node }) => `${node} ${id} running`).sort();
    await untilSame(
      'no member is there twice',
      60,
      async () =>
        (await Promise.all(pool.hosts.map(async (one) => (await membersOn(one)).map((text) => `${one.name} ${text}`)))).flat().sort(),
      placed,
    );
  });
});

describe('the control replica that leads is frozen', () => {
  it('another leads; after waking it does nothing, and who asked it hears so', async () => {
    const frozen = (await controlLeader(pool, pool.first))!;
    const [other] = others(frozen) as [PoolHost];
    const victim = webOn(other, 'web');
    const serving = pool.host((await lbStatus(pool, 'web')).instances[0]!.node);
    const log = async () => (await frozen.run('docker', ['logs', '--tail', '4000', 'xcaas-control'])).split('\n');
    const before = (await log()).length;

    // A command that waits for a request to end when the leader falls asleep: the next thing it wants is to stop the container.
    const slow = Array.from({ length: 6 }, () =>
      pool.first.run('curl', ['-s', '-m', '60', '-o', '/dev/null', '-w', '%{http_code}', lbUrl(serving, 8080, '/slow?ms=12000')]),
    );
    await until('requests are in flight', 10, async () =>
      (await lbStatus(pool, 'web')).targets
        .flatMap(({ peers }) => peers)
        .find(({ container, active }) => container === victim && active > 0)
        ? true
        : undefined,
    );
    const command = pool.cli(['stop', victim, '--drain', '60', '--json'], { on: frozen });
    await until('the container is drained', 10, async () =>
      (await peerStates(pool, 'web', other)).includes(`${victim} draining`) ? true : undefined,
    );
    await frozen.run('docker', ['pause', 'xcaas-control']);
    const start = performance.now();

    await untilSame('another leads', 30, async () => (await leads(other)) !== frozen.name, true);
    await pool.json(['node', 'label', other.name, 'while=frozen'], { on: other });
    expect(await Promise.all(slow)).toEqual(slow.map(() => '200'));
    await sleep(Math.max(0, 30_000 - (performance.now() - start)));
    await frozen.run('docker', ['unpause', 'xcaas-control']);

    const { code, stdout, stderr } = await command;
    process.stderr.write(`  who asked it heard: ${stdout.trim()} ${stderr.trim().split('\n').at(-1)}\n`);
    expect(code).toBe(1);
    expect(JSON.parse(stdout).error).toMatchObject({
      code: 'fenced',
      message: expect.stringMatching(/leads no longer|does not lead/),
      hint: expect.any(String),
    });
    expect((await other.docker.getContainer(victim).inspect()).State.Running).toBe(true);
    const said = (await log()).slice(before);
    expect(said.filter((line) => line.includes('no longer leading')).length).toBe(1);
    expect(await leads(other)).not.toBe(frozen.name);

    // The new leader finishes what the old one began.
    await pool.json(['stop', victim, '--drain', '5'], { on: other });
    await other.run('docker', ['start', victim]);
    await untilWhole(pool, 'web', 60, other);
  });

  async function leads(on: PoolHost): Promise<string | undefined> {
    const { stdout } = await pool.cli(['nodes', '--json'], { on });
    expect(Array.isArray(JSON.parse(stdout))).toBe(true);
    return (await controlLeader(pool, on))?.name;
  }
});

describe('all hosts lose their power at once', () => {
  it('and come back in another order: all is as it was, without a command', async () => {
    const [n1, n2, n3] = pool.hosts as [PoolHost, PoolHost, PoolHost];
    await pool.engines.powerCycle([n3, n1, n2], { pauseMs: 3000 });
    for (const host of pool.hosts) process.stderr.write(`  after the boot: ${await describeHost(host)}\n`);

    await untilNodesReady(pool, 90);
    await untilWhole(pool, 'web', 90);
    for (const host of pool.hosts) await untilSame(`${host.name} serves`, 30, () => answers(host), '200');
  });
});

describe('a host boots while no manager can be reached', () => {
  it('starts what belongs there as soon as the network can be attached', async () => {
    const leader = await controlLeader(pool, pool.first);
    const host = pool.hosts.find((candidate) => candidate !== leader)!;
    const witness = pool.hosts.find((candidate) => candidate !== host)!;
    host.cut();
    host.kill();
    await host.boot({ wait: false });
    await host.ready(180_000);
    // Longer than the engine itself keeps trying.
    await sleep(15_000);
    process.stderr.write(`  cut off: ${await describeHost(host)}\n`);
    expect((await membersOn(host)).every((member) => !member.endsWith(' running'))).toBe(true);
    for (const other of pool.hosts) if (other !== host) expect(await answers(other)).toBe('200');

    host.heal();
    await until('what belongs there runs', 90, async () =>
      (await membersOn(host)).every((member) => member.endsWith(' running')) ? true : undefined,
    );
    await until('the container of the user runs too', 90, async () => ((await webState(host)).Running ? true : undefined));
    await untilNodesReady(pool, 60, witness);
    await untilWhole(pool, 'web', 60, witness);
    await untilSame(`${host.name} serves`, 30, () => answers(host), '200');
  });
});
