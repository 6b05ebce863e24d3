import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { AppError } from '#core/errors.ts';
import { errorFromBody, isRecord } from '#core/http.ts';
import { waitFor } from '#core/sleep.ts';
import type { SpawnResult } from '#core/spawn.ts';
import { VERSION } from '#core/version.ts';
import { type Engines, startEngines } from './pool/engines.ts';
import type { PoolHost } from './pool/host.ts';
import { PLAIN_IMAGE } from './web/start.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const SETUP = `${ROOT}/xcaas`;

/** As setup has it: an appliance belongs to this version when its image and its sidecar are in the tree. */
const APPLIANCES = ['xlb', 'xdb', 'xcache'].filter((name) => existsSync(`${ROOT}controllers/programs/${name}.ts`));

/** Images a host of a test pool begins with: what `up` would build or stream, and what test containers run. */
export const POOL_IMAGES = [
  ...['build', 'consul', 'control', ...APPLIANCES].map((name) => `xcaas/${name}:${VERSION}`),
  PLAIN_IMAGE,
  'node:24-trixie-slim',
];

export interface Pool {
  engines: Engines;
  hosts: readonly PoolHost[];
  /** The host that founded the pool. */
  first: PoolHost;
  /** Hosts with an engine that are of no pool. */
  spares: readonly PoolHost[];
  /** Takes a spare into the pool with `./xcaas join`, and waits until the pool is whole. */
  join(host: PoolHost): Promise<void>;
  /** Runs `./xcaas …` on a host. */
  setup(host: PoolHost, args: readonly string[]): Promise<SpawnResult>;
  /** The tokens that the other hosts joined with. */
  joinTokens: string[];
  host(name: string): PoolHost;
  /** Runs `xcaas …` on a host, the first if not said, with an administrator's token. Answers of any exit code are returned. */
  cli(args: readonly string[], options?: CliOptions): Promise<SpawnResult>;
  /** The value of a command's `--json`. @throws AppError with the code the command gave */
  json<T = unknown>(args: readonly string[], options?: CliOptions): Promise<T>;
  /** Milliseconds of each step. */
  times: Record<string, number>;
  stop(): void;
}

export interface CliOptions {
  on?: PoolHost;
  timeoutMs?: number;
  /** In place of the administrator's. */
  token?: string;
}

export interface PoolOptions {
  /** How many hosts, each in a group of its own; 3 if not given. */
  hosts?: number;
  /** Further hosts that do not join; none if not given. */
  spares?: number;
  /** Prints what up and join say. */
  verbose?: boolean;
  /** Done to each host's engine before the host is part of the pool. */
  prepare?: (host: PoolHost) => Promise<void> | void;
}

/** A pool as a user makes it: `./xcaas up` on the first host, `./xcaas join` on the others, each with an engine of its own. */
export async function startPool({ hosts: count = 3, spares = 0, verbose = false, prepare }: PoolOptions = {}): Promise<Pool> {
  const times: Record<string, number> = {};
  const timed = async <T>(step: string, action: () => Promise<T>): Promise<T> => {
    const start = performance.now();
    try {
      return await action();
    } finally {
      times[step] = Math.round(performance.now() - start);
      if (verbose) process.stderr.write(`${step}: ${times[step]} ms\n`);
    }
  };
  const engines = await timed('engines', () => startEngines({ hosts: count + spares, images: POOL_IMAGES }));
  try {
    const [first, ...others] = engines.hosts.slice(0, count);
    if (first === undefined) throw new AppError('internal', 'a pool needs a host');
    for (const host of engines.hosts) await prepare?.(host);
    let token: string | undefined;
    const describe = (host: PoolHost) => {
      const label = (key: string) => host.labels[key] ?? '';
      return [
        ...['--name', host.name, '--advertise', host.address],
        ...['--group', label('com.alipay.acs.topic.group'), '--rack', label('com.alipay.acs.topic.rack')],
      ];
    };
    const say = (text: string) => {
      if (verbose) process.stderr.write(text);
    };
    const join = async (host: PoolHost) => {
      const invitation = await pool.json<{ token: string }>(['join-token']);
      pool.joinTokens.push(invitation.token);
      say((await timed(`join ${host.name}`, () => expectDone(host, SETUP, ['join', invitation.token, '--yes', ...describe(host)]))).stderr);
    };
    const members = [first, ...others];
    const pool = wrap(
      engines,
      { first, members },
      times,
      () => token,
      async (host) => {
        await join(host);
        members.push(host);
        await untilReady(pool, members.length);
      },
    );
    say((await timed('up', () => expectDone(first, SETUP, ['up', '--yes', ...describe(first)]))).stderr);
    // `up` writes a profile for the host it ran on only.
    token = (await pool.json<{ token: string }>(['token', 'create', 'tests', '--role', 'admin'])).token;
    for (const host of others) await join(host);
    await timed('whole', () => untilReady(pool, count));
    return pool;
  } catch (error) {
    engines.stop();
    throw error;
  }
}

/**
 * Every host answers, and as many as the pool's size asks for are managers, also to Swarm and Consul: with two of three there already the loss of one
 * would stop what needs a majority.
 */
async function untilReady(pool: Pool, count: number): Promise<void> {
  const managers = count >= 5 ? 5 : count >= 3 ? 3 : 1;
  let last = '';
  const ready = await waitFor(
    async () => {
      const { code, stdout } = await pool.cli(['nodes', '--json']);
      last = stdout;
      if (code !== 0) return undefined;
      const nodes = JSON.parse(stdout) as { state: string; manager: boolean }[];
      const whole =
        nodes.filter((node) => node.state === 'ready').length === count && nodes.filter((node) => node.manager).length === managers;
      if (!whole) return undefined;
      const [swarm, consul] = [await swarmManagers(pool.hosts), await consulServers(pool.first)];
      last = `managers of the Swarm: ${swarm.join(', ')}; Consul servers: ${consul}`;
      return swarm.length === managers && consul === managers ? true : undefined;
    },
    { timeoutMs: 120_000, intervalMs: 500 },
  );
  if (!ready) throw new AppError('timeout', `the pool did not become whole: ${last}`);
}

async function swarmManagers(hosts: readonly PoolHost[]): Promise<string[]> {
  const infos = await Promise.all(
    hosts.map(async (host) => ({ host, info: (await host.docker.info()) as { Swarm: { ControlAvailable: boolean } } })),
  );
  return infos.filter(({ info }) => info.Swarm.ControlAvailable).map(({ host }) => host.name);
}

/** Members of Consul's raft, which says so without a token. */
async function consulServers(host: PoolHost): Promise<number> {
  const socket = `${host.root}/run/xcaas/consul/http.sock`;
  return (JSON.parse(await host.run('curl', ['-s', '-m', '5', '--unix-socket', socket, 'http://consul/v1/status/peers'])) as string[])
    .length;
}

function wrap(
  engines: Engines,
  { first, members }: { first: PoolHost; members: readonly PoolHost[] },
  times: Record<string, number>,
  admin: () => string | undefined,
  join: Pool['join'],
): Pool {
  const cli: Pool['cli'] = (args, { on = first, timeoutMs = 180_000, token = admin() } = {}) =>
    on.exec(`${ROOT}/bin/xcaas`, args, { timeoutMs, ...(token === undefined ? {} : { env: { XCAAS_TOKEN: token } }) });
  return {
    engines,
    get hosts() {
      return members;
    },
    get spares() {
      return engines.hosts.filter((host) => !members.includes(host));
    },
    first,
    join,
    setup: (host, args) => host.exec(SETUP, args, { timeoutMs: 300_000, cwd: ROOT }),
    joinTokens: [],
    host: (name) => engines.host(name),
    cli,
    async json<T>(args: readonly string[], options?: CliOptions) {
      const { code, stdout, stderr } = await cli([...args, '--json'], options);
      const value = parse(stdout, `xcaas ${args.join(' ')} ended with ${code}: ${stderr}`);
      // A status verb ends with 1 or 6 for what is not as it should be, and says its value all the same.
      if (code !== 0 && isRecord(value) && isRecord(value.error))
        throw errorFromBody({ status: 500, headers: {}, body: value }, args.join(' '));
      return value as T;
    },
    times,
    stop: () => engines.stop(),
  };
}

function parse(text: string, what: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new AppError('internal', `${what}; its output is not JSON: ${text.slice(0, 500)}`, { cause });
  }
}

async function expectDone(host: PoolHost, file: string, args: string[]): Promise<SpawnResult> {
  const result = await host.exec(file, args, { timeoutMs: 300_000, cwd: ROOT });
  if (result.code !== 0) {
    throw new AppError(
      'internal',
      `${args[0]} on ${host.name} ended with ${result.code}:\n${(result.stderr || result.stdout).slice(-4000)}`,
    );
  }
  return result;
}
