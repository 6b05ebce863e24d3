import type { Logger } from '#core/log.ts';
import type { AgentClient } from '#pool/agent-client.ts';
import type { Events } from '#pool/events.ts';
import type { Host } from '#pool/host.ts';
import type { ServiceInUse } from '#pool/services.ts';
import type { LbStore } from '#xlb/store.ts';

/** What the operations of load balancers need of the world. */
export interface LbDeps {
  store: LbStore;
  log: Logger;
  hosts(): Promise<Host[]>;
  agent(host: Host): AgentClient;
  events: Events;
  /** All services of the pool: their names and host ports are not to be had twice. */
  services(): Promise<ServiceInUse[]>;
  /** Seals certificates. */
  poolKey: Buffer;
  /** Tells the controller that something changed, so that it looks at once. */
  markDirty(lb: string): void;
  now(): Date;
}
