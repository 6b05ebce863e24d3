import { waitFor } from '#core/sleep.ts';
import { type Pool, startPool } from '#test/xcaas.ts';
import type { Plan, Row, Say } from '../figure.ts';
import { spread, tell } from '../stats.ts';

/** Hosts' images are there before; everything else is made by the command. */
export async function create(plan: Plan, say: Say): Promise<Row[]> {
  const pool = await startPool({ hosts: 3 });
  try {
    const size = ['--memory', '256m'];
    return [
      await times(pool, { what: 'a master and two replicas', args: ['--replicas', '2', ...size], bar: 15 }, plan, say),
      await times(pool, { what: 'a cluster of six', args: ['--mode', 'cluster', '--shards', '3', ...size], bar: 30 }, plan, say),
    ];
  } finally {
    pool.stop();
  }
}

async function times(
  pool: Pool,
  { what, args, bar }: { what: string; args: string[]; bar: number },
  { creates }: Plan,
  say: Say,
): Promise<Row> {
  const felt: number[] = [];
  for (let turn = 1; turn <= creates; turn += 1) {
    const name = `bench${turn}`;
    const began = performance.now();
    await pool.json(['cache', 'create', ...args, name], { timeoutMs: 180_000 });
    await untilUsed(pool, name);
    felt.push((performance.now() - began) / 1000);
    say(`${what}: ${felt.at(-1)!.toFixed(1)} s`);
    await pool.json(['cache', 'destroy', name, '--purge', '--yes'], { timeoutMs: 120_000 });
  }
  return {
    figure: `cache create → ${what}, written to and read from by name, ${creates} times`,
    bar: `≤ ${bar} s`,
    measured: tell(spread(felt), 1, ' s'),
    met: Math.max(...felt) <= bar,
    values: { ...spread(felt), times: creates },
  };
}

/** In a cluster the words lie in different shards. */
const WORDS = ['a', 'b', 'c', 'd', 'e', 'f'];

async function untilUsed(pool: Pool, name: string): Promise<void> {
  const connect = async (...command: string[]) => {
    const { code, stdout, stderr } = await pool.cli(['cache', 'connect', name, ...command], { timeoutMs: 30_000 });
    if (code !== 0) throw new Error(stderr);
    return stdout.trim();
  };
  for (const word of WORDS) {
    const used = async () => (await connect('set', word, `is ${word}`)) === 'OK' && (await connect('get', word)) === `is ${word}`;
    const done = await waitFor(
      () =>
        used()
          .then((is) => is || undefined)
          .catch(() => undefined),
      { timeoutMs: 60_000, intervalMs: 100 },
    );
    if (done !== true) throw new Error(`${word} could not be written to ${name}`);
  }
}
