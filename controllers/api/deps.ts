import type { ControlMetrics } from '#api/metrics.ts';
import type { ConsulClient } from '#core/consul/client.ts';
import type { Logger } from '#core/log.ts';
import type { AgentClient } from '#pool/agent-client.ts';
import type { Host } from '#pool/host.ts';
import type { CacheDeps } from '#xcache/operations/deps.ts';
import type { DbDeps } from '#xdb/operations/deps.ts';
import type { LbDeps } from '#xlb/operations/deps.ts';

/** What the routes need of the world; `controllers/programs/control.ts` makes it. */
export interface ApiDeps {
  consul: ConsulClient;
  log: Logger;
  version: string;
  hosts(): Promise<Host[]>;
  agent(host: Host): AgentClient;
  lb: LbDeps;
  db: DbDeps;
  cache: CacheDeps;
  /** Name of the host that leads, or undefined. */
  leader(): Promise<string | undefined>;
  /** True on the replica that leads; the others answer nothing but their health. */
  leading(): boolean;
  /** A join token for one further host. */
  joinToken(): Promise<{ token: string; expires: string }>;
  metrics: ControlMetrics;
  now(): Date;
}
