import type { JobsSituation } from '#backup/jobs.ts';
import type { CacheSpec } from '#xcache/schema.ts';

/** What backups have to know of a member at a moment; from the sidecar's last turn. */
export interface CacheSituation extends JobsSituation {
  spec: CacheSpec;
  engineVersion: string;
  usedBytes: number;
}
