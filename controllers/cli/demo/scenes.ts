import { AppError } from '#core/errors.ts';
import { sleep } from '#core/sleep.ts';
import type { Mark } from './explain.ts';
import type { Load } from './load.ts';
import type { DemoPool } from './pool.ts';
import { WEB_PORT, type web as Web } from './web.ts';

export const NETWORK = 'xcaas';
const webName = (index: number): string => `demo-web-${index}`;
/** Every container the demo may have made. */
export const ALL_CONTAINERS = [1, 2, 3, 4].map(webName);
const DRAIN_SECONDS = 10;

export interface Stage {
  pool: DemoPool;
  web: typeof Web;
  load: Load;
  marks: Mark[];
  signal: AbortSignal;
  /** A command, as a user would type it. */
  command(text: string): void;
  /** What came of it. */
  result(text: string): void;
}

/** Three containers that answer; the load is not there yet. */
export async function startContainers({ pool, web, signal, command, result }: Omit<Stage, 'load' | 'marks'>): Promise<void> {
  for (const name of ALL_CONTAINERS.slice(0, 3)) {
    command(`docker run --name ${name} --network ${NETWORK} …  &&  lb add_container demo-lb --type=xlb -l container=${name}`);
    await web.run(name, '1', NETWORK);
    const start = performance.now();
    await pool.add(name, WEB_PORT);
    signal.throwIfAborted();
    result(`${name} is live after ${ms(performance.now() - start)}`);
  }
}

/** What happens under the requests, in this order. */
export const scenes: readonly { name: string; play(stage: Stage, seconds: number): Promise<void> }[] = [
  {
    name: 'nothing happens',
    play: async ({ signal }, seconds) => {
      await sleep(seconds * 1000, signal);
    },
  },
  {
    name: 'one container killed',
    async play({ pool, web, load, marks, signal, command, result }, seconds) {
      const name = webName(2);
      command(`docker kill ${name}`);
      const mark: Mark = { container: name, from: Date.now(), to: Number.POSITIVE_INFINITY };
      marks.push(mark);
      await web.kill(name);
      mark.to = Date.now();
      const gone = await pool.gone(name);
      signal.throwIfAborted();
      if (gone === undefined)
        throw new AppError('timeout', `${name} is dead and still listed as up after 30 s`, { hint: 'lb status demo-lb' });
      result(`${name} is out of the load balancer ${ms(gone)} after its death`);
      await sleep(seconds * 1000, signal);
      signal.throwIfAborted();

      command(`docker start ${name}`);
      const start = Date.now();
      await web.start(name);
      result(`${name} answers again ${await answers(load, name, '1', start)} after it was started; it is followed by its name`);
      await sleep(seconds * 500, signal);
    },
  },
  {
    name: 'one container added',
    async play({ pool, web, load, signal, command, result }, seconds) {
      const name = webName(4);
      command(`docker run --name ${name} --network ${NETWORK} …`);
      await web.run(name, '1', NETWORK);
      signal.throwIfAborted();
      command(`lb add_container demo-lb --type=xlb -l container=${name}`);
      const first = answers(load, name, '1', Date.now());
      first.catch(() => undefined);
      await pool.add(name, WEB_PORT);
      result(`${name} answers its first request after ${await first}`);
      await sleep(seconds * 1000, signal);
    },
  },
  {
    name: 'one container drained',
    async play({ pool, load, signal, command, result }, seconds) {
      const name = webName(1);
      command(`lb remove_container demo-lb -l container=${name} --drain ${DRAIN_SECONDS}`);
      const start = performance.now();
      let most = 0;
      await pool.removeContainer(name, DRAIN_SECONDS, (active) => {
        most = Math.max(most, active);
      });
      signal.throwIfAborted();
      const done = Date.now();
      result(`${name} is out after ${ms(performance.now() - start)}; at most ${most} of its requests were in flight, all ended`);
      const late = await load.answer((answer) => answer.container === name && answer.sent > done, Math.max(1000, seconds * 1000));
      if (late !== undefined) throw new AppError('internal', `${name} answered a request that was sent after it was drained`);
    },
  },
  {
    name: 'rolling restart',
    async play({ pool, web, load, signal, command, result }, seconds) {
      for (const name of [2, 3, 4].map(webName)) {
        signal.throwIfAborted();
        command(`xcaas stop ${name} --drain ${DRAIN_SECONDS}  &&  docker rm ${name}  &&  docker run --name ${name} … version 2`);
        const start = performance.now();
        await pool.stop(name, DRAIN_SECONDS, () => undefined);
        const stopped = performance.now() - start;
        signal.throwIfAborted();
        await web.remove(name);
        const again = Date.now();
        await web.run(name, '2', NETWORK);
        result(`${name} was stopped after ${ms(stopped)}; version 2 answers ${await answers(load, name, '2', again)} after docker run`);
      }
      await sleep(seconds * 500, signal);
    },
  },
];

/** @returns how long it took until a request sent after `since` was answered by the container @throws AppError `timeout` */
async function answers(load: Load, container: string, version: string, since: number): Promise<string> {
  const fits = (answer: { container: string; version: string; sent: number }) =>
    answer.container === container && answer.version === version && answer.sent >= since;
  const first = await load.answer(fits, 60_000);
  if (first === undefined) throw new AppError('timeout', `${container} has answered no request for 60 s`, { hint: 'lb status demo-lb' });
  return ms(Date.now() - since);
}

export function ms(value: number): string {
  return value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(1)} s`;
}
