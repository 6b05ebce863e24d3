import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { startLoad } from '#test/http-driver.ts';
import type { LoadReport } from '#test/load/report.ts';
import type { PoolHost } from '#test/pool/host.ts';
import { startWeb } from '#test/web/start.ts';
import { type CliOptions, type Pool, startPool } from '#test/xcaas.ts';
import { lbStatus, lbUrl, makeLb, membersOn, type NodeJson, peerStates, until, untilSame, untilWhole, webOn } from './lb-pool.ts';

/** Where members go and where not; what is refused, and in which words. */
// What is waited for is bounded one by one.
vi.setConfig({ testTimeout: 400_000, hookTimeout: 400_000 });

let pool: Pool;
beforeAll(async () => {
  pool = await startPool({ spares: 1, verbose: process.env.XCAAS_VERBOSE !== undefined });
});
afterAll(() => pool?.stop());

const nodesOf = async (name: string) => (await lbStatus(pool, name)).instances.map(({ node }) => node).sort();
const destroy = (name: string) => pool.json(['lb', 'destroy', name, '--yes']);

async function refusal(args: string[], options: CliOptions = {}): Promise<{ code: string; message: string; hint: string; exit: number }> {
  const { code: exit, stdout } = await pool.cli([...args, '--json'], options);
  const { error } = JSON.parse(stdout) as { error?: { code: string; message: string; hint?: string } };
  expect(error, `${args.join(' ')} should be refused: ${stdout}`).toBeDefined();
  return { code: error!.code, message: error!.message, hint: error!.hint ?? '', exit };
}

describe('where members go', () => {
  it('to other groups first, and to the same hosts when there are more than hosts', async () => {
    await pool.json(['lb', 'create', '--replicas', '3', '--publish', '9080:80', 'spread']);
    expect(await nodesOf('spread')).toEqual(['n1', 'n2', 'n3']);

    const many = await pool.json<{ status: string; sentence: string }>(['lb', 'create', '--replicas', '4', '--publish', '9084:80', 'many']);
    expect(many).toMatchObject({ status: 'READY', sentence: expect.stringContaining('4 of 4 members serve on 3 hosts') });
    // One port of a host for all members there: the first of them has it.
    for (const host of pool.hosts) {
      expect(await host.run('curl', ['-s', '-o', '/dev/null', '-w', '%{http_code}', lbUrl(host, 9084)])).toBe('503');
    }
    await destroy('many');
  });

  it('not to drained hosts; without any other it waits, says why, and goes on when there is one', async () => {
    await pool.json(['node', 'drain', 'n3']);
    await pool.json(['lb', 'create', 'calm']);
    expect(await nodesOf('calm')).toEqual(['n1', 'n2']);
    // What lives there goes on.
    expect(await nodesOf('spread')).toContain('n3');

    for (const node of ['n1', 'n2']) await pool.json(['node', 'drain', node]);
    expect(await refusal(['lb', 'create', '--replicas', '1', 'nowhere'])).toMatchObject({
      exit: 1,
      code: 'no_host',
      message: expect.stringMatching(/no host for nowhere-1: 3 hosts, 3 alive, 0 not drained/),
      hint: expect.stringContaining('xcaas'),
    });
    expect(await lbStatus(pool, 'nowhere')).toMatchObject({ status: 'FAILED', sentence: expect.stringContaining('0 not drained') });
    for (const node of ['n1', 'n2', 'n3']) await pool.json(['node', 'undrain', node]);
    await untilSame('the one that had no place serves', 60, async () => (await lbStatus(pool, 'nowhere')).status, 'READY');
    await destroy('nowhere');
    await destroy('calm');
  });

  it('labels are set, shown and removed; what is no label is refused by name', async () => {
    const labelled = await pool.json<{ labels: Record<string, string> }>(['node', 'label', 'n2', 'storage=nvme', 'zone=a']);
    expect(labelled.labels).toMatchObject({ storage: 'nvme', zone: 'a' });
    const removed = await pool.json<{ labels: Record<string, string> }>(['node', 'label', 'n2', 'zone=', 'storage=']);
    expect(removed.labels).not.toHaveProperty('zone');

    expect(await refusal(['node', 'label', 'n2', 'a;b=c'])).toMatchObject({ exit: 2, message: expect.stringContaining('a;b') });
    expect(await refusal(['node', 'label', 'nope', 'a=b'])).toMatchObject({ exit: 3, message: expect.stringContaining('nope') });
  });

  it('waits for a port that a container of somebody else has, says whose, and takes it when it is free', async () => {
    for (const host of pool.hosts) await startWeb(host, { name: 'squatter', network: 'bridge', publish: ['9090:8080'] });
    const refused = await refusal(['lb', 'create', '--publish', '9090:80', 'late']);
    expect(refused).toMatchObject({
      code: 'port_taken',
      exit: 4,
      message: expect.stringMatching(/9090 is taken by the container squatter/),
    });
    expect(await lbStatus(pool, 'late')).toMatchObject({ status: 'FAILED', sentence: expect.stringContaining('squatter') });

    for (const host of pool.hosts) await host.run('docker', ['rm', '--force', 'squatter']);
    await untilSame('the load balancer has the port', 60, async () => (await lbStatus(pool, 'late')).status, 'READY');
    const [holder] = await nodesOf('late');
    expect(await pool.first.run('curl', ['-s', '-o', '/dev/null', '-w', '%{http_code}', lbUrl(pool.host(holder!), 9090)])).toBe('503');
    await destroy('late');
  });
});

describe('what is served', () => {
  it('bodies of 1 MiB go through both members to containers of all hosts and back', async () => {
    await makeLb(pool, { name: 'big', port: 9091 });
    await untilWhole(pool, 'big', 30);
    const url = (await nodesOf('big')).map((node) => lbUrl(pool.host(node), 9091, '/whole'));
    const load = await startLoad({ url, method: 'POST', bodyBytes: 2 ** 20, expectEcho: true, concurrency: 3, timeoutMs: 20_000 });
    await until('100 bodies of 1 MiB', 60, async () => ((await load.report()).ok >= 100 ? true : undefined));
    const report: LoadReport = await load.stop();

    expect(report.failures).toEqual([]);
    const stats = await Promise.all(
      pool.hosts.map(
        async (host) => JSON.parse(await host.run('docker', ['exec', webOn(host, 'big'), 'node', '-e', STATS])) as { posts: number },
      ),
    );
    expect(stats.every(({ posts }) => posts > 10)).toBe(true);
  });

  it('a container created again is followed by name, and gone when it was added by id', async () => {
    const [host] = pool.hosts as [PoolHost];
    const named = webOn(host, 'big');
    const byId = await startWeb(host, { name: 'by-id', network: 'xcaas' });
    await pool.json(['lb', 'add_container', 'big', '-l', `container=${byId.slice(0, 12)}`, '-l', 'port=8080']);
    expect(await peerStates(pool, 'big')).toContain('by-id up');

    await host.run('docker', ['rm', '--force', named, 'by-id']);
    await untilSame(
      'both are out',
      20,
      () => peerStates(pool, 'big'),
      pool.hosts
        .slice(1)
        .map((other) => `${webOn(other, 'big')} up`)
        .sort(),
    );
    await startWeb(host, { name: named, network: 'xcaas' });
    await startWeb(host, { name: 'by-id', network: 'xcaas' });
    await untilWhole(pool, 'big', 30);
    await pool.json(['lb', 'remove_container', 'big', '-l', `container=${byId.slice(0, 12)}`, '--drain', '0']);
    await host.run('docker', ['rm', '--force', 'by-id']);
  });
});

const STATS = "fetch('http://127.0.0.1:8080/stats').then((r) => r.text()).then(console.log)";

describe('who may', () => {
  it('a token that may read changes nothing', async () => {
    const { token } = await pool.json<{ token: string }>(['token', 'create', 'reader', '--role', 'read']);
    expect((await pool.json<{ name: string }[]>(['lb', 'list'], { token })).map(({ name }) => name)).toContain('big');
    for (const args of [
      ['lb', 'create', 'mine'],
      ['lb', 'destroy', 'big', '--yes'],
      ['node', 'drain', 'n1'],
      ['stop', webOn(pool.first, 'big')],
      ['join-token'],
      ['token', 'create', 'more', '--role', 'admin'],
    ]) {
      const refused = await refusal(args, { token });
      expect({ args, ...refused }).toMatchObject({ args, code: 'forbidden', exit: 1, message: expect.stringContaining('read') });
    }
    expect(await refusal(['lb', 'list'], { token: 'x'.repeat(40) })).toMatchObject({ code: 'unauthenticated' });
    expect((await lbStatus(pool, 'big')).status).toBe('READY');
  });

  it("an agent hears no one without a certificate of the pool, and obeys none but control's", async () => {
    const [target, from] = pool.hosts as [PoolHost, PoolHost];
    const pki = `${from.root}/var/lib/xcaas/pki`;
    const foreign = `${from.root}/run/foreign`;
    await from.run('openssl', [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1'],
      ...['-subj', '/OU=control/CN=me', '-keyout', `${foreign}.key`, '-out', `${foreign}.pem`],
    ]);
    const call = (more: string[]) =>
      from.exec('curl', [
        '-sS',
        '-m',
        '10',
        '--cacert',
        `${pki}/ca.pem`,
        ...more,
        '-w',
        '\n%{http_code}',
        `https://${target.address}:7401/v1/members/spread-1`,
      ]);
    const change = ['-X', 'DELETE', '-H', 'x-xcaas-fence: 999999999'];

    for (const more of [[], ['--cert', `${foreign}.pem`, '--key', `${foreign}.key`]]) {
      const { code, stdout, stderr } = await call([...change, ...more]);
      expect({ code, stdout, stderr }).toMatchObject({ code: expect.not.stringContaining('never'), stdout: expect.stringMatching(/000$/) });
      expect(code).not.toBe(0);
    }
    const asAgent = await call([...change, '--cert', `${pki}/host.pem`, '--key', `${pki}/host.key`]);
    expect(asAgent.stdout).toMatch(/"forbidden"[\s\S]*403$/);
    expect((await lbStatus(pool, 'spread')).instances).toHaveLength(3);
  });

  it('a join token is for one host', async () => {
    const [spare] = pool.spares as [PoolHost];
    const { code, stderr } = await pool.setup(spare, [
      'join',
      pool.joinTokens[0]!,
      '--yes',
      '--name',
      spare.name,
      '--advertise',
      spare.address,
    ]);
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/this join token was used by host n2 at 20/);
    expect(stderr).toContain('xcaas join-token');
    expect((await pool.json<NodeJson[]>(['nodes'])).map(({ name }) => name)).toEqual(['n1', 'n2', 'n3']);
  });
});

describe('a host that is taken out', () => {
  it('is not, while it lives or members live there; is, once it is dead and drained', async () => {
    expect(await refusal(['node', 'remove', 'n3', '--yes'])).toMatchObject({
      code: 'in_use',
      exit: 4,
      message: expect.stringContaining('spread-'),
    });
    const dead = pool.host('n3');
    dead.kill();
    await untilSame(
      'the pool knows that it is gone',
      40,
      async () => (await pool.json<NodeJson[]>(['nodes'])).find(({ name }) => name === 'n3')?.state,
      'down',
    );
    expect(await refusal(['node', 'remove', 'n3', '--yes'])).toMatchObject({
      code: 'in_use',
      hint: expect.stringContaining('node drain n3'),
    });
    await pool.json(['node', 'drain', 'n3']);
    await until('it can be removed', 120, async () => {
      const { code } = await pool.cli(['node', 'remove', 'n3', '--yes', '--json']);
      return code === 0 ? true : undefined;
    });

    expect((await pool.json<NodeJson[]>(['nodes'])).map(({ name }) => name)).toEqual(['n1', 'n2']);
    const members = await pool.first.run('docker', ['exec', 'xcaas-consul', 'consul', 'version']);
    expect(members).toContain('Consul');
    await untilSame('all of spread serve', 60, async () => (await lbStatus(pool, 'spread')).sentence, '3 of 3 members serve on 2 hosts');
    expect(await refusal(['node', 'remove', 'n2', '--yes'])).toMatchObject({ code: 'in_use' });
    await destroy('spread');
    await until('n2 is empty but for others', 30, async () =>
      (await membersOn(pool.host('n2'))).every((name) => !name.startsWith('spread')) ? true : undefined,
    );
  });

  it('is not, while its agent runs', async () => {
    for (const host of pool.hosts.slice(0, 2))
      await pool.json(['lb', 'remove_container', 'big', '-l', `container=${webOn(host, 'big')}`, '--drain', '1']);
    await pool.cli(['lb', 'remove_container', 'big', '-l', `container=${webOn(pool.host('n3'), 'big')}`, '--drain', '1']);
    await destroy('big');
    expect(await refusal(['node', 'remove', 'n2', '--yes'])).toMatchObject({
      code: 'conflict',
      exit: 4,
      message: 'n2 cannot be removed: its agent is running',
      hint: expect.stringContaining('./xcaas down'),
    });
  });
});
