import type { Logger } from '#core/log.ts';
import type { ImageReport } from '#pool/agent-api.ts';
import type { AgentClient } from '#pool/agent-client.ts';
import type { Events } from '#pool/events.ts';
import type { Host } from '#pool/host.ts';
import type { ServiceInUse } from '#pool/services.ts';

/** What the operations of services with data need of the world. */
export interface ServiceDeps<Store> {
  store: Store;
  log: Logger;
  hosts(): Promise<Host[]>;
  agent(host: Host): AgentClient;
  events: Events;
  /** All services of the pool: their names and host ports are not to be had twice. */
  services(): Promise<ServiceInUse[]>;
  /** An image that some host of the pool has; the built-in one when none is named. @throws AppError `not_found`, `invalid` when it is no such appliance */
  image(ref: string | undefined): Promise<ImageReport>;
  /** Seals credentials. */
  poolKey: Buffer;
  /** The pool's CA, as clients need it to know the servers. */
  caCert(): string;
  /** Tells the controller that something changed, so that it looks at once. */
  markDirty(service: string): void;
  now(): Date;
}
