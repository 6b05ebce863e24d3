import { AppError } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import type { BackupService } from '#xdb/backup/service/service.ts';
import type { Engine } from '#xdb/engine/engine.ts';
import { createDonor } from './clone-server.ts';
import { type SidecarConfig, XDB_PORTS } from './config.ts';
import type { MemberDisk } from './disk.ts';
import { partOf } from './part.ts';
import { startPeerServer } from './peer-server.ts';
import { serveStore } from './peer-store.ts';
import type { Turn } from './turn.ts';

export interface OwnPeersOptions {
  config: SidecarConfig;
  tls: { ca: string; certificate: string; privateKey: string };
  engine: Pick<Engine, 'dump'>;
  /** What the members of this database know each other by. */
  secret(): string | undefined;
  disk: Pick<MemberDisk, 'now'>;
  backups: Pick<BackupService, 'own'>;
  last(): Turn | undefined;
  log: Logger;
}

/** What other members of this database may ask of this one: a copy of the leader's data, its backups, its position. */
export function startOwnPeers({ config, tls, engine, secret, disk, backups, last, log }: OwnPeersOptions) {
  const donor = createDonor({
    engine,
    leading() {
      const heads = partOf(last()).heads;
      // Its data may have gone since that turn.
      return heads !== undefined && heads.sync.leader.gen === disk.now().gen
        ? { gen: heads.sync.leader.gen, epoch: heads.sync.epoch }
        : undefined;
    },
    log,
  });
  return startPeerServer({
    ...{ db: config.db, tls, log, port: XDB_PORTS.peer, secret, clone: donor },
    store: (socket, object) => serveStore(backups.own(), socket, object),
    async position() {
      const { gen } = disk.now();
      const facts = last()?.facts;
      const slave = facts?.slave;
      if (gen === null || facts === undefined || slave === undefined)
        throw new AppError('unavailable', 'this member does not follow anybody now');
      return { gen, boot: facts.instance, received: slave.ioGtid, from: slave.io === 'running' ? (slave.master ?? null) : null };
    },
  });
}
