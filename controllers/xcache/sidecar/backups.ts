import { join } from 'node:path';
import { z } from 'zod';
import { type BackupFigures, figuresOf } from '#backup/figures.ts';
import { createJobs } from '#backup/jobs.ts';
import { expectAccount, type Place, placeOf, VOLUME } from '#backup/place.ts';
import { createBackupRecords } from '#backup/records.ts';
import { probeStore } from '#backup/stores/probe.ts';
import { under } from '#backup/stores/store.ts';
import { openStore } from '#backup/stores/url.ts';
import { AppError } from '#core/errors.ts';
import { validate } from '#core/validate.ts';
import type { AdminRoute } from '#member/admin.ts';
import { ABOVE } from '#xcache/backup/catalog.ts';
import { CacheBackupRecord } from '#xcache/backup/schema.ts';
import type { CacheSituation } from '#xcache/backup/situation.ts';
import { doDelete, doFull, doVerify, keepToPlan, type WorkDeps } from '#xcache/backup/work.ts';
import { peerSecretOf } from '#xcache/peer-secret.ts';
import { cacheKeys } from '#xcache/store.ts';
import type { Common } from './common.ts';
import { XCACHE_PORTS } from './config.ts';
import { serveVolume } from './volume-peer.ts';

export interface MemberBackups {
  routes: AdminRoute[];
  figures(): BackupFigures;
  start(): void;
  stop(): Promise<void>;
}

const ProbeBody = z.object({
  store: z.string().max(500),
  account: z.object({ user: z.string().max(500), secret: z.string().max(1000).optional() }).optional(),
});

/** Backups of this member: what the records ask it for, and what the others may read of its volume. */
export function createBackups(
  common: Common,
  { situation, contents }: { situation: () => CacheSituation | undefined; contents: WorkDeps['contents'] },
): MemberBackups {
  const { deps, consul, credentials } = common;
  const { cache, member, paths } = deps.config;
  const { log } = deps;
  const now = () => new Date();
  const records = createBackupRecords(consul, CacheBackupRecord, cacheKeys(cache));
  const work: WorkDeps = {
    ...{ cache, member, records, contents, log, now, scratch: join(paths.backup, 'scratch') },
  };
  const place = ({ spec }: Pick<CacheSituation, 'spec'>, address: string): Place => {
    const secrets = credentials.current();
    expectAccount(spec, secrets);
    return placeOf(spec, secrets, { volume: paths.backup, address, ...(address === VOLUME ? {} : { above: ABOVE }) });
  };
  const jobs = createJobs<CacheBackupRecord, CacheSituation>({
    ...{ member, records, situation, log, now, placeOf: place },
    scheduled: (fields) => ({ ...fields, cache }),
    work: { full: (job) => doFull(work, job), verify: (job) => doVerify(work, job), delete: (job) => doDelete(work, job) },
    keep: ({ spec }, where, known, busy) => keepToPlan(work, { place: where, known, keep: spec.backup.keep, busy }),
  });
  const server = serveVolume({
    ...{ port: XCACHE_PORTS.peer, tls: paths.tls, log },
    secret() {
      const secrets = credentials.current();
      return secrets === undefined ? undefined : peerSecretOf(secrets);
    },
    store() {
      const present = situation();
      if (present === undefined) throw new AppError('unavailable', 'this member does not know its cache yet');
      return place(present, VOLUME).store;
    },
  });

  return {
    figures: () => figuresOf(jobs.known()),
    start: jobs.start,
    async stop() {
      server.close();
      server.closeAllConnections();
      await jobs.stop();
    },
    routes: [
      { method: 'GET', path: '/backup', handle: () => ({ body: { job: jobs.running() ?? null } }) },
      {
        method: 'POST',
        path: '/backup/probe',
        async handle({ body }) {
          const { store, account } = validate(ProbeBody, body, 'the place for backups');
          const opened = openStore(store, { volume: paths.backup, ...(account === undefined ? {} : { credentials: account }) });
          await probeStore(store === VOLUME ? opened : under(opened, ABOVE.slice(0, -1)), cache);
          return {};
        },
      },
    ],
  };
}
