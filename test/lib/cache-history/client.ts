/** A cache's client as a program of its own, so that it can run where the cache is reachable; see {@link serveClient}. */
import { type LoopOrders, serveClient } from '../history/client-loop.ts';
import { keepWriting } from '../history/writing.ts';
import { type CacheEndpoint, connect } from './connect.ts';

export interface CacheClientOrders extends LoopOrders {
  endpoint: CacheEndpoint;
}

serveClient<CacheClientOrders>(({ endpoint }, options, deps) => {
  const { client, worker } = options;
  let turn = worker - 1;
  return keepWriting(options, {
    ...deps,
    connect: () => connect(endpoint, turn++),
    next: () => ({
      ...{ rows: 1, chain: true },
      write: async (session, { seq, round }) => ({ run: await session.append({ round, client, worker }, seq), at: deps.now() }),
    }),
  });
});
