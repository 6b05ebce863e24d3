import { run } from '#core/spawn.ts';
import { memberImage, startXcacheLab, type XcacheLab, type XcacheMember } from '#test/xcache-lab.ts';
import { docker, eventually } from '#test/xdb-lab.ts';
import { containerCpu } from '../cpu.ts';
import type { Plan, Row, Say } from '../figure.ts';
import { type Spread, spread, tell } from '../stats.ts';

const CONNECTIONS = 50;
const PIPELINE = 16;
const KEYS = 100_000;
const VALUE_BYTES = 64;
const TESTS = ['set', 'get'] as const;
type Test = (typeof TESTS)[number];
interface Rates extends Record<Test, number> {
  /** Microseconds of CPU time for a command, of both members: engines, endpoints, sidecars. */
  cpuMicros: number;
}

/**
 * Through the endpoint of a cache against its master's engine itself, from a container beside the members: the engine's own load generator, in pairs of rounds whose order alternates.
 * The endpoint is that of either member, by turns, as the cache's name leads to both.
 */
export async function endpoint(plan: Plan, say: Say): Promise<Row[]> {
  const lab = await startXcacheLab();
  const client = `${lab.network}-load`;
  try {
    const members: XcacheMember[] = [];
    for (const { id } of lab.spec.members) members.push(await lab.member(id));
    await eventually('master and replica are in sync', async () => (await lab.lead())?.insync.length === 1);
    const lead = await lab.lead();
    const master = members.find(({ id }) => id === lead?.master.id)!;
    const image = await memberImage();
    await docker(
      'run',
      '--detach',
      '--name',
      client,
      '--network',
      lab.network,
      '--label',
      'xcaas.test=xcache',
      '--entrypoint',
      'sleep',
      image,
      'infinity',
    );
    const used = async () =>
      (await Promise.all(members.map(({ container }) => containerCpu(container)))).reduce((sum, one) => sum + one, 0);
    const load = async (host: string, port: number): Promise<Rates> => {
      const [before, seconds] = [await used(), plan.roundSeconds];
      const found = rates(await bench(lab, client, { host, port, seconds }));
      return { ...found, cpuMicros: (((await used()) - before) * 1e6) / (total(found) * seconds) };
    };
    const direct = await master.address();
    const entries = await Promise.all(members.map((member) => member.address()));
    const results: Record<'ours' | 'engine', Rates[]> = { ours: [], engine: [] };
    await load(direct, ENGINE_PORT);
    for (let turn = 0; turn < plan.endpointRounds; turn += 1) {
      const entry = entries[turn % entries.length]!;
      for (const side of turn % 4 < 2 ? (['ours', 'engine'] as const) : (['engine', 'ours'] as const))
        results[side].push(await (side === 'ours' ? load(entry, ENDPOINT_PORT) : load(direct, ENGINE_PORT)));
      const [a, b] = [results.ours[turn]!, results.engine[turn]!];
      const where = entry === direct ? 'the master’s member' : 'the other member';
      say(
        `round ${turn + 1}, through ${where}: ${TESTS.map((test) => `${test} ${thousands(a[test])} against ${thousands(b[test])}, ${(a[test] / b[test]).toFixed(2)}`).join('; ')}`,
      );
    }
    const both = spread(results.ours.map((ours, at) => total(ours) / total(results.engine[at]!)));
    return [row(both, results), cpuRow(results)];
  } finally {
    await run('docker', ['rm', '--force', client]);
    await lab.stop();
  }
}

const ENDPOINT_PORT = 6379;
const ENGINE_PORT = 6378;

async function bench(
  lab: XcacheLab,
  client: string,
  { host, port, seconds }: { host: string; port: number; seconds: number },
): Promise<string> {
  const account = ['--user', lab.spec.user, '-a', lab.password];
  const load = ['-c', CONNECTIONS, '-P', PIPELINE, '-r', KEYS, '-d', VALUE_BYTES, '--duration', seconds, '-t', TESTS.join()].map(String);
  return docker('exec', client, 'valkey-benchmark', '-h', host, '-p', String(port), ...account, '--csv', ...load);
}

/** Lines of `"SET","123456.78",…`. */
function rates(text: string): Record<Test, number> {
  const of = (test: Test) => Number(new RegExp(`^"${test}","([\\d.]+)"`, 'im').exec(text)?.[1] ?? Number.NaN);
  const found = { set: of('set'), get: of('get') };
  if (Object.values(found).some(Number.isNaN)) throw new Error(`valkey-benchmark said no result: ${text.slice(0, 500)}`);
  return found;
}

const total = (one: Record<Test, number>) => one.set + one.get;
const thousands = (rate: number) => `${Math.round(rate / 1000)} k/s`;

function row(both: Spread, { ours, engine }: Record<'ours' | 'engine', Rates[]>): Row {
  const of = (test: Test) => spread(ours.map((one, at) => one[test] / engine[at]![test]));
  const median = (side: Rates[], test: Test) => spread(side.map((one) => one[test])).median;
  const told = TESTS.map(
    (test) => `${test} ${tell(of(test), 2)}, ${thousands(median(ours, test))} against ${thousands(median(engine, test))}`,
  );
  return {
    figure: `through the endpoint ÷ straight to the master’s engine, ${CONNECTIONS} connections, ${PIPELINE} commands in each pipeline`,
    bar: '≥ 0.9',
    measured: `${tell(both, 2)}; ${told.join('; ')}`,
    met: both.median >= 0.9,
    values: { ...both, set: of('set').median, get: of('get').median, setPerSecond: median(ours, 'set'), getPerSecond: median(ours, 'get') },
  };
}

/** Where load generator, engines and endpoints share the same cores, throughput is what is left of them: this is what the endpoint takes of it. */
function cpuRow({ ours, engine }: Record<'ours' | 'engine', Rates[]>): Row {
  const [through, straight] = [ours, engine].map((side) => spread(side.map(({ cpuMicros }) => cpuMicros)));
  return {
    figure: '… CPU time of both members for a command, through the endpoint against straight',
    bar: '',
    measured: `${tell(through!, 2, ' µs')} against ${tell(straight!, 2, ' µs')}`,
    met: undefined,
    values: { through: through!.median, straight: straight!.median },
  };
}
