import { z } from 'zod';
import type { ConsulClient } from '#core/consul/client.ts';
import type { Logger } from '#core/log.ts';
import { validate } from '#core/validate.ts';
import type { AdminRoute } from '#member/admin.ts';
import type { CredentialsSource } from '#member/credentials.ts';
import { RestoreWish } from '#xdb/backup/schema.ts';
import { type BackupService, createBackupService } from '#xdb/backup/service/service.ts';
import type { Situation } from '#xdb/backup/service/situation.ts';
import type { Engine } from '#xdb/engine/engine.ts';
import { AGENT } from '#xdb/engine/mariadb/names.ts';
import type { Credentials } from '#xdb/schema.ts';
import { type SidecarConfig, XDB_PORTS } from './config.ts';
import type { PeerClient } from './peer-client.ts';
import { peerStore } from './peer-store.ts';
import type { Turn } from './turn.ts';

export interface BackupsOptions {
  config: SidecarConfig;
  engine: Engine;
  engineAt(dataDir: string): Pick<Engine, 'load'>;
  consul: ConsulClient;
  credentials: CredentialsSource<Credentials>;
  peers: Pick<PeerClient, 'store'>;
  addressOf(member: string): string | undefined;
  last(): Turn | undefined;
  log: Logger;
}

/** Backups of this member, from what its sidecar sees. */
export function createBackups({
  config,
  engine,
  engineAt,
  consul,
  credentials,
  peers,
  addressOf,
  last,
  log,
}: BackupsOptions): BackupService {
  const { db, member, paths } = config;
  return createBackupService({
    ...{ db, member, consul, engine, engineAt, log, agentUser: AGENT },
    credentials: credentials.current,
    spec: () => last()?.view?.spec.value,
    situation: () => situationOf(last(), member),
    peers: () => {
      const others = last()?.view?.protocol.present.filter((id) => id !== member) ?? [];
      return others.flatMap((id) => {
        const address = addressOf(id);
        return address === undefined ? [] : [peerStore(peers, () => ({ member: id, address, port: XDB_PORTS.peer }))];
      });
    },
    paths: { volume: paths.backup, data: paths.data, engineSocket: paths.engineSocket },
  });
}

/** Pure. @returns undefined while the engine or the records are not there */
export function situationOf(turn: Turn | undefined, member: string): Situation | undefined {
  if (turn === undefined) return undefined;
  const { view, local, facts } = turn;
  const records = view?.protocol;
  const sync = records?.sync?.value;
  if (view === undefined || records === undefined || sync === undefined || facts === undefined) return undefined;
  const mine = local.disk.gen !== null && local.disk.gen !== undefined;
  const leads = sync.leader.id === member && sync.leader.gen === local.disk.gen && sync.state === 'open';
  // J3: in this epoch it follows, and was compared with the leader.
  const follows = sync.leader.id !== member && sync.state === 'open' && mine && records.data[member]?.value.ready === sync.epoch;
  return {
    spec: view.spec.value,
    epoch: sync.epoch,
    instance: facts.instance,
    engineVersion: facts.version,
    leads,
    faithful: leads || follows,
    sync: sync.sync?.id,
    present: records.present,
  };
}

const ProbeBody = z.object({
  store: z.string().max(500),
  account: z.object({ user: z.string().max(500), secret: z.string().max(1000).optional() }).optional(),
});

/** What a member answers of its backups. */
export function backupRoutes(service: BackupService): AdminRoute[] {
  return [
    { method: 'GET', path: '/backup', handle: () => ({ body: { archive: service.archive(), job: service.job() ?? null } }) },
    { method: 'GET', path: '/backup/windows', handle: async () => ({ body: { windows: await service.windows() } }) },
    {
      method: 'POST',
      path: '/backup/choose',
      handle: async ({ body }) => ({ body: await service.choose(validate(RestoreWish, body ?? {}, 'what is to be restored')) }),
    },
    {
      method: 'POST',
      path: '/backup/probe',
      async handle({ body }) {
        const { store, account } = validate(ProbeBody, body, 'the place for backups');
        await service.probe(store, account);
        return {};
      },
    },
  ];
}
