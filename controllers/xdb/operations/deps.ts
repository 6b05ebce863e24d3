import type { ServiceDeps } from '#pool/service-deps.ts';
import type { UpstreamFacts } from '#xdb/engine/engine.ts';
import type { DbStore } from '#xdb/store.ts';
import type { UpstreamAsked } from '#xdb/upstream/standing.ts';

/** What the operations of databases need of the world. */
export interface DbDeps extends ServiceDeps<DbStore> {
  /** What a database server says of itself, asked from this host. @throws AppError `unavailable`, `forbidden`, `invalid` */
  inspectMaster(master: UpstreamAsked): Promise<UpstreamFacts>;
}
