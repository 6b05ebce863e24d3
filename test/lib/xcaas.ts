import { fileURLToPath } from 'node:url';
import { AppError } from '#core/errors.ts';
import { waitFor } from '#core/sleep.ts';
import type { SpawnResult } from '#core/spawn.ts';
import { VERSION } from '#core/version.ts';
import { type Engines, startEngines } from './pool/engines.ts';
import type { PoolHost } from './pool/host.ts';
import { PLAIN_IMAGE } from './web/start.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const SETUP = `${ROOT}/xcaas`;

/** Images a host of a test pool begins with: what `up` would build or stream, and what test containers run. */
export const POOL_IMAGES = [
  ...['build', 'consul', 'control', 'xlb'].map((name) => `xcaas/${name}:${VERSION}`),
  PLAIN_IMAGE,
  'node:24-trixie-slim',
];

export interface Pool {
  engines: Engines;
  hosts: readonly PoolHost[];
  /** The host that founded the pool. */
  first: PoolHost;
  host(name: string): PoolHost;
  /** Runs `xcaas …` on a host, the first if not said. Answers of any exit code are returned. */
  cli(args: readonly string[], options?: { on?: PoolHost; timeoutMs?: number }): Promise<SpawnResult>;
  /** The value of a command's `--json`. @throws AppError with the code the command gave */
  json<T = unknown>(args: readonly string[], options?: { on?: PoolHost; timeoutMs?: number }): Promise<T>;
  /** Milliseconds of each step. */
  times: Record<string, number>;
  stop(): void;
}

export interface PoolOptions {
  /** How many hosts, each in a group of its own; 3 if not given. */
  hosts?: number;
  /** Prints what up and join say. */
  verbose?: boolean;
}

/** A pool as a user makes it: `./xcaas up` on the first host, `./xcaas join` on the others, each with an engine of its own. */
export async function startPool({ hosts: count = 3, verbose = false }: PoolOptions = {}): Promise<Pool> {
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
  const engines = await timed('engines', () => startEngines({ hosts: count, images: POOL_IMAGES }));
  try {
    const [first, ...others] = engines.hosts;
    if (first === undefined) throw new AppError('internal', 'a pool needs a host');
    const pool = wrap(engines, first, times);
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
    say((await timed('up', () => expectDone(first, SETUP, ['up', '--yes', ...describe(first)]))).stderr);
    for (const host of others) {
      const { token } = await pool.json<{ token: string }>(['join-token']);
      say((await timed(`join ${host.name}`, () => expectDone(host, SETUP, ['join', token, '--yes', ...describe(host)]))).stderr);
    }
    await timed('whole', () => untilReady(pool, count));
    return pool;
  } catch (error) {
    engines.stop();
    throw error;
  }
}

/** Every host answers, and as many are managers as the pool's size asks for. */
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
      return whole ? true : undefined;
    },
    { timeoutMs: 120_000, intervalMs: 500 },
  );
  if (!ready) throw new AppError('timeout', `the pool did not become whole: ${last}`);
}

function wrap(engines: Engines, first: PoolHost, times: Record<string, number>): Pool {
  const cli: Pool['cli'] = (args, { on = first, timeoutMs = 180_000 } = {}) => on.exec(`${ROOT}/bin/xcaas`, args, { timeoutMs });
  return {
    engines,
    hosts: engines.hosts,
    first,
    host: (name) => engines.host(name),
    cli,
    async json<T>(args: readonly string[], options?: { on?: PoolHost; timeoutMs?: number }) {
      const { code, stdout, stderr } = await cli([...args, '--json'], options);
      const value = parse(stdout, `xcaas ${args.join(' ')} ended with ${code}: ${stderr}`);
      if (code !== 0 && code !== 6) {
        const { error } = value as { error: { code: 'internal'; message: string; hint?: string } };
        throw new AppError(error.code, error.message, error.hint === undefined ? {} : { hint: error.hint });
      }
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
