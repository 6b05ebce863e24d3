import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { build } from 'esbuild';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type ConsulClient, createConsul } from '#core/consul/client.ts';
import { sleep, waitFor } from '#core/sleep.ts';
import { startConsul, type TestConsul } from '#test/consul.ts';

/** Seconds; the host's programs use 10. */
const TTL = 2;
const LONG = process.env.XCAAS_LONG === '1';

let server: TestConsul;
let consul: ConsulClient;
let folder: string;
let program: string;

beforeAll(async () => {
  server = await startConsul();
  consul = createConsul({ socketPath: server.socketPath, token: server.token });
  folder = await mkdtemp(join(tmpdir(), 'xc-'));
  program = join(folder, 'contender.mjs');
  const banner = "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);";
  await build({
    entryPoints: [join(import.meta.dirname, 'contender.ts')],
    outfile: program,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    banner: { js: banner },
    logLevel: 'warning',
  });
});
afterAll(async () => {
  consul?.close();
  await server?.stop();
  if (folder !== undefined) await rm(folder, { recursive: true });
});

interface Line {
  leads?: number;
  command?: number;
  refused?: number;
  ended?: number;
  /** `process.hrtime`: one clock for all processes of this machine. */
  at?: string;
}
class Contender {
  readonly lines: Line[] = [];
  readonly errors: string[] = [];
  private readonly child: ChildProcess;

  constructor(key: string, ttl: number) {
    this.child = spawn(process.execPath, [program, server.socketPath, server.token, key, String(ttl)], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    createInterface({ input: this.child.stdout! }).on('line', (line) => this.lines.push(JSON.parse(line) as Line));
    createInterface({ input: this.child.stderr! }).on('line', (line) => this.errors.push(line));
  }
  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }
  async leads(atLeast = 1): Promise<number> {
    const led = () => this.lines.flatMap((line) => line.leads ?? [])[atLeast - 1];
    const fence = await waitFor(async () => led(), { timeoutMs: 90_000, intervalMs: 10 });
    if (fence === undefined) throw new Error(`it never led: ${this.errors.join('\n')}`);
    return fence;
  }
  async stop(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const gone = new Promise((resolve) => this.child.once('exit', resolve));
    this.child.kill('SIGCONT');
    this.child.kill('SIGKILL');
    await gone;
  }
}
const contenders: Contender[] = [];
afterEach(async () => {
  for (const each of contenders.splice(0)) await each.stop();
});
function contender(key: string, ttl = TTL): Contender {
  const made = new Contender(key, ttl);
  contenders.push(made);
  return made;
}

/** Freezes the leader for longer than Consul keeps its session, and looks at what it does when it wakes. */
async function freezeLeader(key: string, ttl: number, frozenMs: number): Promise<void> {
  const first = contender(key, ttl);
  const oldFence = await first.leads();
  const second = contender(key, ttl);
  await sleep(1000);
  expect(second.lines).toEqual([]);

  first.kill('SIGSTOP');
  // What it wrote before is still on its way through the pipe.
  await sleep(200);
  const before = first.lines.length;
  const [newFence] = await Promise.all([second.leads(), sleep(frozenMs)]);
  expect(newFence).toBeGreaterThan(oldFence);
  const woken = process.hrtime.bigint();
  first.kill('SIGCONT');
  await waitFor(async () => first.lines.some((line) => line.ended === oldFence) || undefined, { timeoutMs: 10_000, intervalMs: 10 });

  const after = first.lines.slice(before);
  expect(after).toContainEqual(expect.objectContaining({ ended: oldFence }));
  expect(after.filter((line) => line.command !== undefined && BigInt(line.at!) > woken)).toEqual([]);
  // The one who took over noticed nothing.
  await sleep(500);
  expect(second.lines.filter((line) => line.ended !== undefined || line.refused !== undefined)).toEqual([]);
  expect((await consul.kv.get(key, { consistent: true }))?.lockIndex).toBe(newFence);
}

describe('the leader lock with real processes', () => {
  it('passes to the next at once when its holder stops, with a higher fence', async () => {
    const first = contender('lock/stop');
    const fence = await first.leads();
    const second = contender('lock/stop');
    await sleep(1000);
    const start = performance.now();
    first.kill('SIGTERM');
    expect(await second.leads()).toBe(fence + 1);
    expect(performance.now() - start).toBeLessThan(TTL * 1000);
  });

  it('passes to the next after a crash', async () => {
    const first = contender('lock/crash');
    const fence = await first.leads();
    const second = contender('lock/crash');
    first.kill('SIGKILL');
    expect(await second.leads()).toBe(fence + 1);
  });

  it('a leader frozen for longer than its session does nothing after it woke', () => freezeLeader('lock/freeze', TTL, TTL * 2000 + 2000));

  it.skipIf(!LONG)('the same with the TTL that control uses', () => freezeLeader('lock/freeze-long', 10, 30_000), 180_000);

  it('survives a Consul that crashes and comes back, and is held by one at the end', async () => {
    const both = [contender('lock/consul'), contender('lock/consul')];
    await waitFor(async () => both.some(({ lines }) => lines.length > 0) || undefined, { timeoutMs: 20_000 });
    await server.restart();
    await sleep(TTL * 2000 + 2000);
    const mark = both.map(({ lines }) => lines.length);
    await sleep(500);
    const commanding = both.map(({ lines }, i) => lines.slice(mark[i]).filter(({ command }) => command !== undefined));
    expect(commanding.filter((lines) => lines.length > 0)).toHaveLength(1);
    const fence = commanding.flat()[0]!.command;
    expect((await consul.kv.get('lock/consul', { consistent: true }))?.lockIndex).toBe(fence);
    expect(both.flatMap(({ errors }) => errors)).toEqual([]);
  });

  it('a leader cut off from Consul stops by itself before another may lead', async () => {
    const first = contender('lock/paused');
    await first.leads();
    const start = process.hrtime.bigint();
    await server.pause();
    try {
      const ended = await waitFor(async () => first.lines.find((line) => line.ended !== undefined), {
        timeoutMs: TTL * 1000 + 3000,
        intervalMs: 10,
      });
      expect(ended).toBeDefined();
      const last = first.lines.findLast((line) => line.command !== undefined);
      // No command later than its TTL after the last renewal that could have been confirmed.
      expect(Number(BigInt(last!.at!) - start) / 1e9).toBeLessThanOrEqual(TTL + 0.2);
    } finally {
      await server.unpause();
    }
    expect(await first.leads(2)).toBeGreaterThan(await first.leads(1));
  });
});
