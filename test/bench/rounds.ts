import { sleep } from '#core/sleep.ts';
import { docker } from '../appliance/xlb-sidecar-lab.ts';
import { containerCpu, processUse } from './cpu.ts';
import type { Plan, Say } from './figure.ts';
import { type Spread, spread } from './stats.ts';
import type { Wrk, WrkOptions } from './wrk.ts';

export interface Side {
  container: string;
  url: string;
  /** Process in the container whose CPU time is counted apart: it does not serve requests. */
  sidecar?: string;
}

export interface Comparison {
  throughput: Spread;
  /** CPU time for each request of what serves them: all of the container but the sidecar. */
  cpu: Spread;
  /** The same with the sidecar, whose work goes with the changes and not with the requests. */
  cpuWhole: Spread;
  /** CPU time of the sidecar while it was measured, as a share of one core. */
  sidecarShare: Spread;
  perSecond: { ours: Spread; baseline: Spread };
  cpuMicros: { ours: Spread; baseline: Spread };
  requests: number;
  /** Failed requests of either side. */
  failed: { ours: number; baseline: number };
}

export interface RoundsOptions {
  ours: Side;
  baseline: Side;
  wrk: Wrk;
  load: Omit<WrkOptions, 'url' | 'seconds'>;
  plan: Pick<Plan, 'rounds' | 'roundSeconds'>;
  say: Say;
}

/** Time for the container that was frozen to find its feet, in milliseconds. */
const SETTLE_MS = 700;

/**
 * Loads both in turn, in pairs whose order alternates, and compares within each pair: what else the machine does meanwhile weighs on both alike.
 * The container that is not measured is frozen, so that it costs nothing; everything around them, Consul and its changes too, goes on.
 */
export async function compare({ ours, baseline, wrk, load, plan, say }: RoundsOptions): Promise<Comparison> {
  const sides = { ours, baseline };
  const results = { ours: [] as Result[], baseline: [] as Result[] };
  await docker('pause', baseline.container);
  let awake: keyof typeof sides = 'ours';
  const wake = async (name: keyof typeof sides) => {
    if (awake === name) return;
    await docker('pause', sides[awake].container);
    awake = name;
    await docker('unpause', sides[awake].container);
    await sleep(SETTLE_MS);
  };
  try {
    // Connections, compiled Lua, caches.
    for (const name of ['baseline', 'ours'] as const) {
      await wake(name);
      await wrk.run({ ...load, url: sides[name].url, seconds: 1 });
    }
    for (let round = 0; round < plan.rounds; round++) {
      const order = round % 2 === 0 ? (['ours', 'baseline'] as const) : (['baseline', 'ours'] as const);
      for (const name of order) {
        await wake(name);
        results[name].push(await measure(sides[name]));
      }
      const [a, b] = [results.ours.at(-1), results.baseline.at(-1)];
      if (a && b) say(`round ${round + 1}: ${told(a)} against ${told(b)}`);
    }
  } finally {
    await docker('unpause', sides[awake === 'ours' ? 'baseline' : 'ours'].container);
  }

  async function measure({ container, url, sidecar }: Side): Promise<Result> {
    const ofSidecar = async () => (sidecar === undefined ? 0 : (await processUse(container, sidecar)).cpu);
    const [sidecarBefore, before] = [await ofSidecar(), await containerCpu(container)];
    const result = await wrk.run({ ...load, url, seconds: plan.roundSeconds });
    const whole = (await containerCpu(container)) - before;
    const apart = (await ofSidecar()) - sidecarBefore;
    const { perSecond, requests, failed } = result;
    const [micros, wholeMicros] = [((whole - apart) * 1e6) / requests, (whole * 1e6) / requests];
    return { perSecond, micros, wholeMicros, sidecarShare: apart / result.seconds, requests, failed };
  }

  const pairs = results.ours.map((a, i) => [a, results.baseline[i]!] as const);
  const sum = (list: Result[], of: (result: Result) => number) => list.reduce((total, result) => total + of(result), 0);
  const of = (list: Result[], value: (result: Result) => number) => spread(list.map(value));
  return {
    throughput: spread(pairs.map(([a, b]) => a.perSecond / b.perSecond)),
    cpu: spread(pairs.map(([a, b]) => a.micros / b.micros)),
    cpuWhole: spread(pairs.map(([a, b]) => a.wholeMicros / b.wholeMicros)),
    sidecarShare: of(results.ours, (r) => r.sidecarShare),
    perSecond: { ours: of(results.ours, (r) => r.perSecond), baseline: of(results.baseline, (r) => r.perSecond) },
    cpuMicros: { ours: of(results.ours, (r) => r.micros), baseline: of(results.baseline, (r) => r.micros) },
    requests: sum(results.ours, (r) => r.requests),
    failed: { ours: sum(results.ours, (r) => r.failed), baseline: sum(results.baseline, (r) => r.failed) },
  };
}

interface Result {
  perSecond: number;
  micros: number;
  wholeMicros: number;
  sidecarShare: number;
  requests: number;
  failed: number;
}

const told = ({ perSecond, micros }: Result) => `${perSecond.toFixed(0)}/s at ${micros.toFixed(1)} µs`;
