/** A database's client as a program of its own, so that it can run where the database is reachable; see {@link serveClient}. */
import { type LoopOrders, serveClient } from './client-loop.ts';
import { connect, type Endpoint } from './connect.ts';
import { runWorker } from './worker.ts';

export interface ClientOrders extends LoopOrders {
  endpoint: Endpoint;
  /** Deadline of a statement of a worker without a pool. */
  freshQueryMs: number;
  epochSql?: string;
}

serveClient<ClientOrders>(({ endpoint, freshQueryMs, epochSql }, options, deps) => {
  const own = options.kind === 'steady' ? endpoint : { ...endpoint, queryMs: freshQueryMs };
  let turn = options.worker - 1;
  return runWorker({ ...options, epochSql }, { ...deps, connect: () => connect(own, turn++) });
});
