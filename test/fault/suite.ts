import { cpSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AppError, messageOf } from '#core/errors.ts';
import { run } from '#core/spawn.ts';
import { VERSION } from '#core/version.ts';
import type { PoolHost } from '#test/pool/host.ts';
import { type Pool, startPool } from '#test/xcaas.ts';
import type { Clients } from './clients.ts';
import type { Fault } from './fault.ts';
import { describeRun, type FaultResult, type RunResult } from './results.ts';
import { createRunner, type Runner, type RunnerParts } from './runner.ts';
import type { ServiceWorld } from './world.ts';

/** A service on a pool of three, clients that write to it, and somebody who breaks things. */
export interface Suite<W, F> {
  world: W;
  clients: Clients;
  runner: Runner<F>;
  /** Journals, results, and what was found when something went wrong. */
  folder: string;
  /** Keeps a result, and the table of all of them, on disk. */
  keep(result: FaultResult): RunResult;
  /** Saves logs, records and journals of this moment. @returns the folder */
  diagnose(name: string): Promise<string>;
  stop(): Promise<void>;
}

/** What of a suite is the service's own. */
export interface SuiteParts<W, F> {
  seed: number;
  /** Done to each host before it is part of the pool. */
  prepare?: (host: PoolHost) => void;
  world(pool: Pool): W;
  /** Makes the service, whole. */
  make(world: W): Promise<void>;
  /** Starts the clients. */
  begin(world: W, journals: string): Promise<Omit<RunnerParts<W, F>, 'world' | 'say'> & { stop?(): void }>;
}

export async function startServiceSuite<W extends ServiceWorld, F extends Fault<W>>(parts: SuiteParts<W, F>): Promise<Suite<W, F>> {
  const { seed, prepare } = parts;
  const folder = mkdtempSync(join(process.env.XCAAS_FAULT_FOLDER ?? tmpdir(), `xcaas-fault-${seed}-`));
  const journals = join(folder, 'journals');
  mkdirSync(journals);
  const say = (text: string) => process.stderr.write(`  ${text}\n`);
  say(`results and journals: ${folder}`);
  const pool = await startPool({ verbose: process.env.XCAAS_VERBOSE !== undefined, ...(prepare ? { prepare } : {}) });
  let begun: Awaited<ReturnType<typeof parts.begin>> | undefined;
  const end = async () => {
    begun?.stop?.();
    await begun?.clients.stop().catch((error: unknown) => say(`the clients did not end: ${messageOf(error)}`));
    pool.stop();
  };
  try {
    const world = parts.world(pool);
    try {
      await parts.make(world);
    } catch (error) {
      say(`see ${await diagnose(world, { folder: join(folder, 'create'), journals })}`);
      throw error;
    }
    begun = await parts.begin(world, journals);
    const runner = createRunner<W, F>({ ...begun, world, say });
    const result: RunResult = { seed, started: new Date().toISOString(), seconds: 0, faults: [] };
    const start = performance.now();
    return {
      ...{ world, clients: begun.clients, runner, folder, stop: end },
      keep(one) {
        result.faults.push(one);
        result.seconds = Math.round((performance.now() - start) / 1000);
        writeFileSync(join(folder, 'results.json'), `${JSON.stringify(result, null, 2)}\n`);
        writeFileSync(join(folder, 'results.txt'), describeRun(result));
        return result;
      },
      diagnose: (name) => diagnose(world, { folder: join(folder, name), journals }),
    };
  } catch (error) {
    await end();
    throw error;
  }
}

/**
 * The product's own image, with the settings of tests in its environment.
 *
 * @param variant names it among those of this appliance; `dev` if empty
 * @returns its tag, on every host
 */
export async function testImage(pool: Pool, appliance: 'xdb' | 'xcache', variant: string, env: Record<string, string>): Promise<string> {
  const tag = `xcaas-test/${appliance}-fault:${variant === '' ? 'dev' : variant.replaceAll(/[^A-Za-z0-9]/g, '-').toLowerCase()}`;
  const settings = Object.entries(env).map(([key, value]) => `${key}=${value}`);
  const dockerfile = [`FROM xcaas/${appliance}:${VERSION}`, ...settings.map((setting) => `ENV ${setting}`), ''].join('\n');
  const { code, stderr } = await run('docker', ['build', '--quiet', '--tag', tag, '-'], { input: dockerfile, timeoutMs: 120_000 });
  if (code !== 0) throw new AppError('engine', `the image could not be built: ${stderr}`);
  await pool.engines.loadImages([tag]);
  return tag;
}

async function diagnose(world: ServiceWorld, { folder, journals }: { folder: string; journals: string }): Promise<string> {
  mkdirSync(folder, { recursive: true });
  const { kind, name, pool } = world;
  const keep = async (file: string, ask: () => Promise<string>) =>
    writeFileSync(join(folder, file), await ask().catch((error: unknown) => `${messageOf(error)}\n`));
  const living = pool.hosts.filter(({ power }) => power === 'on');
  const [on] = living;
  if (on !== undefined) {
    for (const [what, file] of [
      ['status', 'status.json'],
      ['events', 'events.txt'],
    ] as const)
      await keep(file, async () => {
        const json = what === 'status' ? ['--json'] : [];
        return (await pool.cli([kind, what, name, ...json], { on, timeoutMs: 20_000 })).stdout;
      });
    await keep('records.json', () => world.consul(on, 'GET', `/kv/xcaas/${kind}/${name}/?recurse`));
  }
  for (const host of living) {
    const names = (await host.docker.listContainers({ all: true }).catch(() => [])).map(({ Names }) => Names[0]!.slice(1));
    for (const container of names)
      await keep(`${host.name}-${container}.log`, () =>
        host.exec('docker', ['logs', '--timestamps', '--tail', '3000', container]).then(({ stdout, stderr }) => stdout + stderr),
      );
  }
  cpSync(journals, join(folder, 'journals'), { recursive: true });
  return folder;
}
