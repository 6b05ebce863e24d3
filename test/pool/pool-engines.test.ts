import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sleep, waitFor } from '#core/sleep.ts';
import { startLoad, startSockets } from '#test/http-driver.ts';
import { hierarchies } from '#test/pool/cgroup.ts';
import { type Engines, startEngines } from '#test/pool/engines.ts';
import { kernelHasDelay } from '#test/pool/faults.ts';
import type { PoolHost } from '#test/pool/host.ts';
import { sweepPools } from '#test/pool/remove.ts';
import { poolDir } from '#test/pool/state.ts';
import { swarmReady } from '#test/pool/swarm.ts';
import { nodeRunArgs, PLAIN_IMAGE, startWeb } from '#test/web/start.ts';

let pool: Engines;
let n1: PoolHost;
let n2: PoolHost;
let n3: PoolHost;

beforeAll(async () => {
  pool = await startEngines({ hosts: 3, images: [PLAIN_IMAGE], swarm: true });
  [n1, n2, n3] = pool.hosts as [PoolHost, PoolHost, PoolHost];
});
afterAll(() => pool?.stop());

const requestText = (socketPath: string): Promise<string> =>
  new Promise((resolve, reject) => {
    get({ socketPath, path: '/' }, (response) => {
      response.setEncoding('utf8').on('data', resolve);
    }).on('error', reject);
  });

/** Whether one host reaches another's engine port of Swarm, from inside. */
const reaches = async (from: PoolHost, to: PoolHost, port = 7946): Promise<boolean> => {
  const script = `const s=require('net').connect({host:'${to.address}',port:${port}});s.on('connect',()=>process.exit(0));s.on('error',()=>process.exit(1));setTimeout(()=>process.exit(2),1500)`;
  return (await from.exec(process.execPath, ['-e', script])).code === 0;
};

const running = async (host: PoolHost, name: string): Promise<boolean> => {
  const container = await host.docker.getContainer(name).inspect();
  return container.State.Running;
};

/** What is left of a pool anywhere on this machine. */
function remains(id: string): string[] {
  const text = (file: string, ...args: string[]) => spawnSync(file, args, { encoding: 'utf8' }).stdout;
  const left: string[] = [];
  const name = `xp-${id}`;
  if (existsSync(poolDir(id))) left.push(poolDir(id));
  if (readFileSync('/proc/self/mountinfo', 'utf8').includes(name)) left.push('mounts');
  for (const dir of hierarchies().all) if (existsSync(join(dir, name))) left.push(join(dir, name));
  if (text('ip', '-o', 'link').includes(name)) left.push('links');
  if (text('ip', 'netns').includes(name)) left.push('netns');
  if (text('iptables-save').includes(name)) left.push('iptables');
  if (readdirSync('/proc').some((pid) => /^\d+$/.test(pid) && commandLine(pid).includes(`${poolDir(id)}/`))) left.push('processes');
  return left;
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}

describe('engines of a pool', () => {
  it('are separate machines in one Swarm', async () => {
    const infos = await Promise.all(pool.hosts.map((host) => host.docker.info()));
    expect(infos.map((info) => info.Name)).toEqual(['n1', 'n2', 'n3']);
    expect(new Set(infos.map((info) => info.ID)).size).toBe(3);
    expect(infos[1]?.Labels).toContain('com.alipay.acs.topic.group=group2');
    expect((await n1.docker.listNodes()).map((node: { Description: { Hostname: string } }) => node.Description.Hostname).sort()).toEqual([
      'n1',
      'n2',
      'n3',
    ]);
    for (const host of pool.hosts) {
      const own = host.pids().map((pid) => commandLine(String(pid)).split('\0')[0]);
      expect(own).toContain('containerd');
      expect(own).toContain('dockerd');
    }
  });

  it('give programs their network, name, engine and root', async () => {
    const script =
      'console.log(JSON.stringify([require("os").hostname(),process.env.DOCKER_HOST,process.env.XCAAS_ROOT,require("os").networkInterfaces().eth0[0].address]))';
    expect(JSON.parse(await n2.run(process.execPath, ['-e', script]))).toEqual(['n2', n2.dockerHost, n2.root, n2.address]);
    expect((await n3.run('docker', ['info', '--format', '{{.Name}}'])).trim()).toBe('n3');
    expect(await n1.exec('sh', ['-c', 'cat; exit 3'], { input: 'in' })).toMatchObject({ code: 3, stdout: 'in' });
    const web = n2.start(process.execPath, ['-e', "require('http').createServer((q, s) => s.end('hello')).listen(7400, '127.0.0.1')"]);
    const { socketPath, stop } = await n2.forward(7400);
    const body = () => requestText(socketPath).catch(() => undefined);
    expect(await waitFor(body, { timeoutMs: 5000 })).toBe('hello');
    stop();
    web.kill('SIGKILL');
    expect(`${n1.root}/run/xcaas/secrets/${'x'.repeat(50)}`.length).toBeLessThan(108);
  });
});

describe('an overlay', () => {
  beforeAll(async () => {
    await n1.run('docker', ['network', 'create', '--driver', 'overlay', '--attachable', 'ov']);
    await Promise.all([
      startWeb(n2, { name: 'web2', network: 'ov', aliases: ['web'], restart: 'unless-stopped' }),
      startWeb(n3, { name: 'web3', network: 'ov', aliases: ['web'], restart: 'unless-stopped' }),
    ]);
  });

  it('carries large bodies between hosts', async () => {
    const load = await startLoad({
      url: 'http://web2:8080/echo',
      bodyBytes: 1_048_576,
      expectEcho: true,
      concurrency: 2,
      waitOkMs: 10_000,
      inContainer: { host: n1, network: 'ov' },
    });
    await sleep(1500);
    const report = await load.stop();
    expect(report.failed, JSON.stringify(report.failures[0])).toBe(0);
    expect(report.byServer).toEqual({ web2: report.ok });
    expect(report.ok).toBeGreaterThan(3);
  });

  it('keeps WebSockets open', async () => {
    const inContainer = { host: n1, network: 'ov' };
    // The name of a container elsewhere comes by gossip, a while after its start.
    await (await startLoad({ url: 'http://web3:8080/', rps: 1, waitOkMs: 10_000, inContainer })).stop();
    const sockets = await startSockets({ url: 'ws://web3:8080/ws', count: 10, heartbeatMs: 100, inContainer });
    await waitFor(async () => ((await sockets.report()).opened === 10 ? true : undefined), { timeoutMs: 20_000 });
    await sleep(700);
    expect(await sockets.stop()).toMatchObject({ opened: 10, alive: 10, died: [] });
  });

  it('loses the requests to a host that is cut off, and no others after healing', async () => {
    const load = await startLoad({
      url: 'http://web2:8080/',
      rps: 50,
      timeoutMs: 1000,
      waitOkMs: 10_000,
      inContainer: { host: n1, network: 'ov' },
    });
    await sleep(600);
    expect(await load.report()).toMatchObject({ failed: 0 });
    n2.cut();
    await sleep(2500);
    n2.heal();
    const cut = await load.report();
    expect(cut.failed).toBeGreaterThan(20);
    const back = await waitFor(async () => ((await load.report()).ok > cut.ok + 20 ? true : undefined), { timeoutMs: 10_000 });
    expect(back).toBe(true);
    const report = await load.stop();
    expect(report.longestGapMs).toBeGreaterThan(1000);
    expect(report.sent).toBe(report.ok + report.failed);
  });

  it('hangs with a frozen host, and goes on when it thaws', async () => {
    const load = await startLoad({
      url: 'http://web2:8080/',
      rps: 50,
      timeoutMs: 1000,
      waitOkMs: 10_000,
      inContainer: { host: n1, network: 'ov' },
    });
    await sleep(400);
    n2.freeze();
    await expect(n2.exec('true')).rejects.toThrow('frozen');
    await sleep(2500);
    const frozen = await load.report();
    n2.thaw();
    expect(frozen.byReason.timeout).toBeGreaterThan(0);
    // Refused by nobody; the engines forget the names of a host whose gossip they miss, some sooner.
    expect(Object.keys(frozen.byReason).filter((reason) => reason !== 'timeout' && reason !== 'dns')).toEqual([]);
    expect(await waitFor(async () => ((await load.report()).ok > frozen.ok + 20 ? true : undefined), { timeoutMs: 10_000 })).toBe(true);
    await load.stop();
    expect(await running(n2, 'web2')).toBe(true);
  });
});

describe('network faults', () => {
  it('cut two hosts off from one another, or one way only', async () => {
    expect(await reaches(n2, n3)).toBe(true);
    n2.cutFrom(n3);
    expect(await Promise.all([reaches(n2, n3), reaches(n3, n2), reaches(n2, n1), reaches(n1, n3)])).toEqual([false, false, true, true]);
    n3.heal();
    expect(await Promise.all([reaches(n2, n3), reaches(n3, n2)])).toEqual([true, true]);
    n2.dropOneWay(n3, 'out');
    // A TCP handshake needs both ways; what still arrives at n2 is counted there.
    const arrived = async () => Number(/RX:.*\n\s+\d+\s+(\d+)/.exec(await n2.run('ip', ['-s', 'link', 'show', 'eth0']))?.[1]);
    const before = await arrived();
    expect(await reaches(n3, n2)).toBe(false);
    expect(await arrived()).toBeGreaterThan(before);
    n2.heal();
    expect(await reaches(n3, n2)).toBe(true);
  });

  it('cut a host off for some ports only', async () => {
    n2.cutPorts([2377, 8300]);
    n1.cutPorts([8301]);
    // The manager's port, and the one that all hosts gossip on.
    expect(await Promise.all([reaches(n2, n1, 2377), reaches(n3, n1, 2377), reaches(n2, n1), reaches(n1, n2)])).toEqual([
      false,
      true,
      true,
      true,
    ]);
    n1.heal();
    expect(await reaches(n2, n1, 2377)).toBe(false);
    n2.heal();
    expect(await reaches(n2, n1, 2377)).toBe(true);
  });

  it('unplug, slow down', async () => {
    n3.cut('unplugged');
    expect(await n3.run('ip', ['link', 'show', 'eth0'])).toContain('NO-CARRIER');
    n3.heal();
    expect(await reaches(n1, n3)).toBe(true);
    n3.rate(1000);
    expect(await n3.run('tc', ['qdisc', 'show', 'dev', 'eth0'])).toContain('rate 1Mbit');
    n3.heal();
    if (kernelHasDelay()) {
      n3.slow(50);
      expect(await n3.run('tc', ['qdisc', 'show', 'dev', 'eth0'])).toContain('netem');
      n3.heal();
    } else {
      expect(() => n3.slow(50)).toThrow(expect.objectContaining({ code: 'not_implemented' }));
    }
    expect(await reaches(n1, n3)).toBe(true);
  });
});

describe('power', () => {
  it('gone, takes processes and /run with it; back, the disk and the containers are there', async () => {
    writeFileSync(join(n3.root, 'run/volatile'), 'x');
    writeFileSync(join(n3.root, 'var/lib/kept'), 'x');
    const pids = n3.pids();
    expect(pids.length).toBeGreaterThan(3);
    n3.kill();
    expect(pids.filter((pid) => existsSync(`/proc/${pid}/exe`))).toEqual([]);
    await expect(n3.exec('true')).rejects.toThrow('off');
    await n3.boot();
    expect(readdirSync(join(n3.root, 'run'))).not.toContain('volatile');
    expect(existsSync(join(n3.root, 'var/lib/kept'))).toBe(true);
    await swarmReady(n1, 3);
    expect(await waitFor(async () => ((await running(n3, 'web3')) ? true : undefined), { timeoutMs: 30_000 })).toBe(true);
    await n1.run('docker', [
      'run',
      '--rm',
      '--network',
      'ov',
      ...nodeRunArgs({ scripts: {} }),
      '-e',
      "fetch('http://web3:8080/').then(r=>r.text()).then(console.log)",
    ]);
  });

  it('of all at once comes back in any order', async () => {
    await pool.powerCycle([n3, n1, n2]);
    await swarmReady(n1, 3);
    expect(await reaches(n1, n3)).toBe(true);
  });
});

describe('a pool whose owner died', () => {
  const dir = mkdtempSync(join(tmpdir(), 'xcaas-sweep-'));
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  /** Starts a program that starts a pool of one host, runs a container in it, says its id and waits. */
  async function owner(): Promise<{ child: ChildProcess; id: string }> {
    const engines = fileURLToPath(new URL('../lib/pool/engines.ts', import.meta.url));
    const outfile = join(dir, 'owner.mjs');
    await build({
      stdin: {
        contents: `import { startEngines } from '${engines}'; const pool = await startEngines({ hosts: 1, images: ['${PLAIN_IMAGE}'] });
          await pool.hosts[0].run('docker', ['run', '-d', '--name', 'sleeper', '${PLAIN_IMAGE}', 'sleep', '1000']);
          console.log(pool.id); setInterval(() => {}, 1000);`,
        resolveDir: fileURLToPath(new URL('.', import.meta.url)),
      },
      outfile,
      bundle: true,
      platform: 'node',
      format: 'esm',
      external: ['cpu-features', '*.node'],
      define: { 'import.meta.url': JSON.stringify(pathToFileURL(engines)) },
      banner: {
        js: "import { createRequire as cr } from 'node:module'; const require = cr('/'); const __filename = '/x'; const __dirname = '/';",
      },
      logLevel: 'error',
    });
    const child = spawn(process.execPath, [outfile], { stdio: ['ignore', 'pipe', 'inherit'] });
    const id = await new Promise<string>((resolve, reject) => {
      child.stdout?.once('data', (data: Buffer) => resolve(data.toString().trim()));
      child.once('exit', (code) => reject(new Error(`ended with ${code}`)));
    });
    return { child, id };
  }

  it('by SIGKILL is swept away at the next start', async () => {
    const { child, id } = await owner();
    expect(remains(id)).toContain('processes');
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await gone;
    expect(remains(id)).toEqual(expect.arrayContaining([poolDir(id), 'mounts', 'links', 'netns', 'iptables', 'processes']));
    const next = await startEngines({ hosts: 1 });
    try {
      expect(remains(id)).toEqual([]);
    } finally {
      next.stop();
    }
    expect(remains(next.id)).toEqual([]);
    // The pool of this test, whose owner lives, is not touched by that.
    expect(sweepPools()).toEqual([]);
    await n1.docker.ping();
  });

  it('by SIGTERM is gone when it ends', async () => {
    const { child, id } = await owner();
    const gone = new Promise((resolve) => child.once('exit', (_, signal) => resolve(signal)));
    child.kill('SIGTERM');
    expect(await gone).toBe('SIGTERM');
    expect(remains(id)).toEqual([]);
  });

  it('of exhaustion (an exception while starting) leaves nothing behind', async () => {
    const before = readdirSync('/run/netns').length;
    await expect(startEngines({ hosts: 1, images: ['no-such-image:ever'] })).rejects.toMatchObject({ code: 'not_found' });
    expect(readdirSync('/run/netns').length).toBe(before);
  });
});
