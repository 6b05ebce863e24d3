import { backupKeys } from '#backup/place.ts';
import { type BackupStore, under } from '#backup/stores/store.ts';
import { unionStore } from '#backup/stores/union.ts';
import { openStore } from '#backup/stores/url.ts';
import type { ConsulClient } from '#core/consul/client.ts';
import { parseRecord } from '#core/consul/records.ts';
import { AppError, messageOf } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import type { CredentialsSource } from '#member/credentials.ts';
import { restore } from '#xdb/backup/restore.ts';
import type { Scratch } from '#xdb/backup/scratch.ts';
import type { Engine } from '#xdb/engine/engine.ts';
import { HEARTBEAT_TABLE, OWN_SCHEMA } from '#xdb/engine/mariadb/names.ts';
import { type Credentials, type DbSpec, MemberStatus } from '#xdb/schema.ts';
import { dbKeys } from '#xdb/store.ts';
import { type SidecarConfig, XDB_PORTS } from './config.ts';
import { createPeerClient } from './peer-client.ts';
import { peerStore } from './peer-store.ts';

export interface RestoreOriginOptions {
  config: SidecarConfig;
  engine: Pick<Engine, 'load'>;
  consul: Pick<ConsulClient, 'kv'>;
  credentials: CredentialsSource<Credentials>;
  log: Logger;
}

type Origin = NonNullable<DbSpec['origin']>;

/** A restore that failed is not tried again before so long, in milliseconds: it reads everything anew. */
const AGAIN_MS = 30_000;
const SCRATCH_SHARE = 0.5;

/**
 * Birth of a database that is restored from a backup of another one: fills the empty data directory.
 *
 * @param progress said to whoever waits
 */
export function createOriginRestorer({ config, engine, consul, credentials, log }: RestoreOriginOptions) {
  const { member, paths } = config;
  let failed: { at: number; error: AppError } | undefined;

  return async function restoreOrigin(
    spec: DbSpec,
    origin: Origin,
    progress: (sentence: string) => void,
    signal: AbortSignal,
  ): Promise<void> {
    if (failed !== undefined && performance.now() - failed.at < AGAIN_MS) throw failed.error;
    const secrets = credentials.current()?.origin;
    const keys = backupKeys({ backupKeys: secrets?.backupKeys });
    const tls = { ca: paths.ca, certificate: paths.certificate, privateKey: paths.privateKey };
    const peers = createPeerClient({ db: origin.from, member, tls, secret: () => secrets?.peerSecret });
    try {
      const done = await restore({
        store: await storeOf(origin, secrets),
        keyOf: (id) => keys.find((key) => key.id === id),
        target: origin.gtid === '' ? { kind: 'backup', id: origin.backup } : { kind: 'gtid', gtid: origin.gtid, id: origin.backup },
        engine,
        scratch: { dataDir: paths.data, runDir: '/tmp/xdb-restore', memoryBytes: spec.memoryBytes * SCRATCH_SHARE },
        progress(sentence) {
          log.info({ from: origin.from, sentence }, 'restore');
          progress(sentence);
        },
        finish: (scratch) => forgetOrigin(scratch),
        signal,
      });
      log.info({ from: origin.from, ...done }, 'the data were restored');
      failed = undefined;
    } catch (error) {
      const known = error instanceof AppError ? error : new AppError('internal', messageOf(error), { cause: error });
      failed = {
        at: performance.now(),
        error: new AppError(known.code, `${spec.name} cannot be restored: ${known.message}`, { cause: error }),
      };
      throw failed.error;
    }

    async function storeOf({ from, store, history }: Origin, given: Credentials['origin']): Promise<BackupStore> {
      if (store !== 'volume') {
        return under(openStore(store, { volume: '', ...(given?.store ? { credentials: given.store } : {}) }), `${from}/${history}`);
      }
      const stores = (await livingMembers(from)).map(({ member: id, address }) =>
        peerStore(peers, () => ({ member: id, address, port: XDB_PORTS.peer })),
      );
      const [first, ...others] = stores;
      if (first === undefined) throw new AppError('unavailable', `no member of ${from} runs: its backups are on their volumes`);
      return unionStore(
        first,
        () => others,
        (missing, error) => log.warn({ store: missing.name, err: messageOf(error) }, 'a volume cannot be read'),
      );
    }
  };

  async function livingMembers(from: string): Promise<MemberStatus[]> {
    const entries = await consul.kv.list(dbKeys(from).membersPrefix);
    return entries.filter(({ session, value }) => session !== undefined && value !== '').map((entry) => parseRecord(MemberStatus, entry));
  }
}

/** What belongs to the other database and not to its data. */
async function forgetOrigin(scratch: Scratch): Promise<void> {
  const sql = await scratch.sql();
  try {
    const accounts = await sql.query<{ user: string; host: string }>("SELECT user, host FROM mysql.global_priv WHERE user LIKE 'repl\\_%'");
    for (const { user, host } of accounts) await sql.query('DROP USER ?@?', [user, host]);
    await sql.query(`DELETE FROM ${OWN_SCHEMA}.${HEARTBEAT_TABLE}`);
  } finally {
    sql.close();
  }
}
