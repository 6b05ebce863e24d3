import { z } from 'zod';
import type { ApiClient } from '#cli/api-client.ts';
import { AppError, hasCode } from '#core/errors.ts';
import { waitFor } from '#core/sleep.ts';

/** The load balancer as far as the demo looks at it. */
const Lb = z.looseObject({
  status: z.string(),
  sentence: z.string(),
  network: z.string(),
  publish: z.array(z.object({ hostPort: z.number(), port: z.number() })),
  instances: z.array(z.looseObject({ node: z.string() })),
  targets: z.array(z.looseObject({ peers: z.array(z.looseObject({ container: z.string(), state: z.string() })) })),
});
export type Lb = z.infer<typeof Lb>;
const Nodes = z.array(z.looseObject({ name: z.string(), address: z.string() }));
const Line = z.looseObject({ active: z.number(), sentence: z.string(), done: z.boolean() });

/** What the demo asks of the pool, for one load balancer: each is what a verb of the command line does. */
export function createDemoPool(api: ApiClient, lb: string, signal: AbortSignal) {
  const path = `/v1/lbs/${lb}`;
  const look = async () => Lb.parse(await api.get(path));
  const state = async (container: string) =>
    (await look()).targets.flatMap(({ peers }) => peers).find((peer) => peer.container === container)?.state;

  async function lines(to: string, body: unknown, tell: (active: number) => void): Promise<void> {
    let done = false;
    await api.lines('POST', to, body, (value) => {
      const line = Line.parse(value);
      done = line.done;
      tell(line.active);
    });
    if (!done) throw new AppError('unavailable', 'the control plane stopped in the middle of a drain', { hint: 'xcaas status' });
  }

  return {
    look,
    state,

    /** @returns where it answers: a URL for each of its members' hosts */
    async create(port: number): Promise<string[]> {
      await api.post('/v1/lbs', { name: lb, listen: ['http:80'], publish: [`${port}:80`] });
      const ready = await waitFor(async () => ((await look()).status === 'READY' ? look() : undefined), { timeoutMs: 120_000, signal });
      if (ready === undefined) throw new AppError('timeout', `${lb} is not READY: ${(await look()).sentence}`, { hint: 'xcaas status' });
      const nodes = Nodes.parse(await api.get('/v1/nodes'));
      const addresses = ready.instances.map(({ node }) => nodes.find(({ name }) => name === node)?.address);
      return [...new Set(addresses)].flatMap((address) => (address === undefined ? [] : [`http://${address}:${port}/`]));
    },

    /** Returns when all its members can reach the container. */
    async add(container: string, port: number): Promise<void> {
      const { target } = z.looseObject({ target: z.string() }).parse(await api.post(`${path}/containers`, { container, port }));
      const live = await waitFor(
        async () => (z.looseObject({ live: z.boolean() }).parse(await api.get(`${path}/targets/${target}`)).live ? true : undefined),
        { timeoutMs: 60_000, intervalMs: 50, signal },
      );
      if (!live && !signal.aborted)
        throw new AppError('timeout', `${container} is not live in ${lb} after 60 s`, { hint: `lb status ${lb}` });
    },

    removeContainer: (container: string, drainSeconds: number, tell: (active: number) => void) =>
      lines(`${path}/containers/remove`, { container, drainSeconds }, tell),

    stop: (container: string, drainSeconds: number, tell: (active: number) => void) =>
      lines(`/v1/containers/${container}/stop`, { drainSeconds }, tell),

    /** @returns milliseconds until no member sends the container requests any more, or undefined when that took too long */
    async gone(container: string): Promise<number | undefined> {
      const start = performance.now();
      const gone = await waitFor(async () => ((await state(container)) === 'up' ? undefined : true), {
        timeoutMs: 30_000,
        intervalMs: 20,
        signal,
      });
      return gone ? performance.now() - start : undefined;
    },

    /** Also when there is none, or half of one. */
    async destroy(containers: readonly string[]): Promise<void> {
      for (const container of containers)
        await ignoreMissing(lines(`${path}/containers/remove`, { container, drainSeconds: 0 }, () => undefined));
      await ignoreMissing(api.delete(path));
      const gone = await waitFor(
        async () => {
          try {
            await api.get(path);
            return undefined;
          } catch (error) {
            if (hasCode(error, 'not_found')) return true;
            throw error;
          }
        },
        { timeoutMs: 60_000 },
      );
      if (!gone) throw new AppError('timeout', `${lb} is still being removed after 60 s`, { hint: 'xcaas status' });
    },

    exists: async (): Promise<boolean> => {
      try {
        await api.get(path);
        return true;
      } catch (error) {
        if (hasCode(error, 'not_found')) return false;
        throw error;
      }
    },
  };
}
export type DemoPool = ReturnType<typeof createDemoPool>;

async function ignoreMissing(work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!hasCode(error, 'not_found')) throw error;
  }
}
