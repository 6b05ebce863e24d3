import type { ServiceDeps } from '#pool/service-deps.ts';
import type { CacheStore } from '#xcache/store.ts';

/** What the operations of caches need of the world. */
export type CacheDeps = ServiceDeps<CacheStore>;
