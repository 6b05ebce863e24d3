import type { BackupStore } from '#backup/stores/store.ts';
import type { ConsulClient } from '#core/consul/client.ts';
import type { Logger } from '#core/log.ts';
import type { Engine } from '#xdb/engine/engine.ts';
import type { Credentials, DbSpec } from '#xdb/schema.ts';
import type { Situation } from './situation.ts';

/** What the backups of one member need of its sidecar. */
export interface BackupServiceDeps {
  db: string;
  member: string;
  consul: Pick<ConsulClient, 'kv'>;
  engine: Pick<Engine, 'dump' | 'flavor'>;
  /** An engine for another data directory of this member. */
  engineAt(dataDir: string): Pick<Engine, 'load'>;
  /** Account that reads every table, through the engine's socket. */
  agentUser: string;
  credentials(): Credentials | undefined;
  /** As it was last read: what was stored can be restored while no engine runs. */
  spec(): DbSpec | undefined;
  /** Undefined while the member's engine or its records are not there. */
  situation(): Situation | undefined;
  /** What other members of this database have on their volumes. */
  peers(): readonly BackupStore[];
  paths: { volume: string; data: string; engineSocket: string };
  log: Logger;
  now?: () => Date;
}
