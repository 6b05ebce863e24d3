import { AppError, messageOf } from '#core/errors.ts';
import { sleep } from '#core/sleep.ts';
import type { PoolHost } from '#test/pool/host.ts';
import { startWeb } from '#test/web/start.ts';
import type { Pool } from '#test/xcaas.ts';

/** What the tests of a pool with a load balancer look at. */
export interface LbJson {
  status: string;
  sentence: string;
  instances: { id: string; node: string; sentence: string }[];
  targets: { name: string; peers: PeerJson[] }[];
}
export interface PeerJson {
  address: string;
  container: string;
  state: string;
  active: number;
  requests: number;
}
export interface NodeJson {
  name: string;
  state: string;
  manager: boolean;
}

export const lbStatus = (pool: Pool, name: string, on?: PoolHost) =>
  pool.json<LbJson>(['lb', 'status', name], on === undefined ? {} : { on });

export async function peersOf(pool: Pool, name: string, on?: PoolHost): Promise<PeerJson[]> {
  return (await lbStatus(pool, name, on)).targets.flatMap((target) => target.peers);
}

/** `web-n1 up`, sorted. */
export async function peerStates(pool: Pool, name: string, on?: PoolHost): Promise<string[]> {
  return (await peersOf(pool, name, on)).map(({ container, state }) => `${container} ${state}`).sort();
}

export const lbUrl = (host: PoolHost, port: number, path = '/') => `http://${host.address}:${port}${path}`;

/** A load balancer with a web container on each host, linked by name. */
export async function makeLb(pool: Pool, { name, port, replicas }: { name: string; port: number; replicas?: number }): Promise<void> {
  const more = replicas === undefined ? [] : ['--replicas', String(replicas)];
  await pool.json(['lb', 'create', '--listen', 'http:80', '--publish', `${port}:80`, ...more, name]);
  await Promise.all(pool.hosts.map((host) => startWeb(host, { name: webOn(host, name), network: 'xcaas', restart: 'unless-stopped' })));
  for (const host of pool.hosts)
    await pool.json(['lb', 'add_container', name, '--type=xlb', '-l', `container=${webOn(host, name)}`, '-l', 'port=8080']);
}

export const webOn = (host: PoolHost, lb: string) => `${lb}-on-${host.name}`;

/**
 * Looks until something is so; a look that fails counts as "not yet". Says how long it took.
 *
 * @returns what was seen and the milliseconds
 */
export async function until<T>(what: string, seconds: number, look: () => Promise<T | undefined>): Promise<{ value: T; ms: number }> {
  const start = performance.now();
  let last = '';
  while (performance.now() - start < seconds * 1000) {
    try {
      const value = await look();
      const ms = performance.now() - start;
      if (value !== undefined) {
        measured(what, ms);
        return { value, ms };
      }
    } catch (error) {
      last = messageOf(error);
    }
    await sleep(300);
  }
  throw new AppError('timeout', `not within ${seconds} s: ${what}${last === '' ? '' : `; the last look failed: ${last}`}`);
}

/** As {@link until}, for a value that must become what is expected; what it was instead is in the error. */
export async function untilSame<T>(what: string, seconds: number, look: () => Promise<T>, expected: T): Promise<number> {
  let last: T | undefined;
  try {
    const { ms } = await until(what, seconds, async () => {
      last = await look();
      return JSON.stringify(last) === JSON.stringify(expected) ? true : undefined;
    });
    return ms;
  } catch (error) {
    throw new AppError('timeout', `${messageOf(error)}; it was ${JSON.stringify(last)}, not ${JSON.stringify(expected)}`, { cause: error });
  }
}

export function measured(what: string, ms: number): void {
  process.stderr.write(`  measured: ${what}: ${(ms / 1000).toFixed(1)} s\n`);
}

/** Every host of the pool answers. */
export function untilNodesReady(pool: Pool, seconds: number, on?: PoolHost): Promise<number> {
  return untilSame(
    'all hosts ready',
    seconds,
    async () => (await pool.json<NodeJson[]>(['nodes'], on === undefined ? {} : { on })).map(({ name, state }) => `${name} ${state}`),
    pool.hosts.map(({ name }) => `${name} ready`),
  );
}

/** READY, with all members, and all web containers of {@link makeLb} up. */
export async function untilWhole(pool: Pool, name: string, seconds: number, on?: PoolHost): Promise<void> {
  await untilSame(`${name} is READY`, seconds, async () => (await lbStatus(pool, name, on)).status, 'READY');
  await untilSame(
    `all targets of ${name} are up`,
    seconds,
    () => peerStates(pool, name, on),
    pool.hosts.map((host) => `${webOn(host, name)} up`).sort(),
  );
}

/** Address of the control that leads, as a host's agent reaches it. */
export async function controlLeader(pool: Pool, on: PoolHost): Promise<PoolHost | undefined> {
  const health = JSON.parse(await on.run('curl', ['-s', '-m', '10', 'http://127.0.0.1:7400/v1/health'])) as { controlAddress?: string };
  return pool.hosts.find(({ address }) => address === health.controlAddress);
}

export async function consulLeader(pool: Pool, on: PoolHost): Promise<PoolHost | undefined> {
  const socket = `${on.root}/run/xcaas/consul/http.sock`;
  const leader = JSON.parse(await on.run('curl', ['-s', '-m', '10', '--unix-socket', socket, 'http://consul/v1/status/leader'])) as string;
  return pool.hosts.find(({ address }) => leader.startsWith(`${address}:`));
}

/** Names of the containers of members on a host, with their state. */
export async function membersOn(host: PoolHost): Promise<string[]> {
  const containers = await host.docker.listContainers({ all: true, filters: { label: ['xcaas.member'] } });
  return containers.map(({ Names, State }) => `${Names[0]?.slice(1)} ${State}`).sort();
}
