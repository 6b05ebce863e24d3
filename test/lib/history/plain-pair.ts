import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { AppError } from '#core/errors.ts';
import { waitFor } from '#core/sleep.ts';
import { run } from '#core/spawn.ts';
import type { Endpoint } from './connect.ts';
import { type MemberSql, parseBatch } from './state.ts';
import { CREATE_TABLES } from './tables.ts';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const IMAGE = 'xcaas-test/xdb-engine:dev';

/** A MariaDB without anything of ours around it. */
export interface PlainEngine {
  name: string;
  serverId: number;
  address: string;
  sql: MemberSql;
  /** Ends it at once and takes its disk away. */
  destroy(): Promise<void>;
}

/**
 * Two MariaDB servers, the second following the first, as somebody may set them up by hand: what the client and the checker are tried against, since such a
 * pair loses what it acknowledged.
 */
export interface PlainPair {
  master: PlainEngine;
  slave: PlainEngine;
  /** Both addresses, the master first. */
  endpoint: Endpoint;
  /** The slave takes writes from now on, whatever the master does. */
  promote(epoch: number): Promise<void>;
  stop(): Promise<void>;
}

export const PLAIN_DATABASE = 'adb';
/** As the table of a real database, written by hand here. */
export const PLAIN_EPOCH = 'SELECT epoch FROM xcaas.heartbeat';

/** @param semiSync the master waits for the slave's acknowledgement without end */
export async function startPlainPair({ semiSync }: { semiSync: boolean }): Promise<PlainPair> {
  await docker('build', '--quiet', '--target', 'engine', '--tag', IMAGE, '--file', `${ROOT}images/xdb/Dockerfile`, ROOT);
  const prefix = `xcaas-history-${randomBytes(3).toString('hex')}`;
  const started: PlainEngine[] = [];
  const stop = async () => {
    for (const { name } of started) await docker('rm', '--force', '--volumes', name).catch(() => undefined);
  };
  try {
    const engines = await Promise.all([1, 2].map((serverId) => startEngine(`${prefix}-${serverId}`, serverId, started)));
    const [master, slave] = engines as [PlainEngine, PlainEngine];
    await master.sql('SET GLOBAL read_only = 0');
    if (semiSync) await master.sql('SET GLOBAL rpl_semi_sync_master_enabled = 1');
    await slave.sql(`SET GLOBAL rpl_semi_sync_slave_enabled = ${semiSync ? 1 : 0}`);
    await slave.sql(
      `CHANGE MASTER TO MASTER_HOST = '${master.address}', MASTER_PORT = 3305, MASTER_USER = 'repl', MASTER_PASSWORD = 'repl', MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1, MASTER_SSL = 0`,
    );
    await slave.sql('START SLAVE');
    for (const text of [
      'CREATE DATABASE xcaas',
      'CREATE TABLE xcaas.heartbeat (epoch INT NOT NULL)',
      'INSERT INTO xcaas.heartbeat VALUES (1)',
    ])
      await master.sql(text);
    for (const text of CREATE_TABLES) await master.sql(text);
    const there = await waitFor(async () => ((await slave.sql('SHOW TABLES')).length === CREATE_TABLES.length ? true : undefined), {
      timeoutMs: 20_000,
    });
    if (!there) throw new AppError('timeout', `the slave does not follow: ${JSON.stringify(await slave.sql('SHOW SLAVE STATUS'))}`);
    return {
      master,
      slave,
      endpoint: {
        hosts: [master, slave].map(({ address }) => ({ host: address, port: 3305 })),
        ...{ user: 'app', password: 'app', database: PLAIN_DATABASE, tls: 'plain', connectMs: 1000, queryMs: 5000 },
      },
      async promote(epoch) {
        await slave.sql('STOP SLAVE');
        await slave.sql('RESET SLAVE ALL');
        // First: whoever writes there must not read its predecessor's.
        await slave.sql(`UPDATE xcaas.heartbeat SET epoch = ${epoch}`);
        await slave.sql('SET GLOBAL read_only = 0');
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

const START = `set -e
if [ ! -d /var/lib/xdb/db/mysql ]; then
  mariadb-install-db --skip-test-db --auth-root-authentication-method=socket --auth-root-socket-user=mysql >/dev/null
fi
exec mariadbd --skip-ssl --server-id="$1" --init-file=/tmp/init.sql`;

/** Made anew at each start, so not in the binlog: accounts, and the database that all statements are for. */
const INIT = `SET sql_log_bin = 0;
CREATE DATABASE IF NOT EXISTS ${PLAIN_DATABASE};
CREATE USER IF NOT EXISTS app@'%' IDENTIFIED BY 'app';
GRANT ALL ON ${PLAIN_DATABASE}.* TO app@'%';
GRANT SELECT ON xcaas.* TO app@'%';
CREATE USER IF NOT EXISTS repl@'%' IDENTIFIED BY 'repl';
GRANT REPLICATION SLAVE ON *.* TO repl@'%';
`;

async function startEngine(name: string, serverId: number, started: PlainEngine[]): Promise<PlainEngine> {
  const script = `printf '%s' "$2" > /tmp/init.sql; ${START}`;
  const args = ['run', '--detach', '--name', name, '--label', 'xcaas.test=history', '--user', '7481:7481', '--entrypoint', 'sh', IMAGE];
  const engine: PlainEngine = {
    ...{ name, serverId, address: '' },
    async sql(text) {
      return parseBatch(await docker('exec', name, 'mariadb', '--batch', '--skip-column-names', PLAIN_DATABASE, '--execute', text));
    },
    destroy: async () => void (await docker('rm', '--force', '--volumes', name)),
  };
  started.push(engine);
  await docker(...args, '-c', script, 'sh', String(serverId), INIT);
  engine.address = (await docker('inspect', '--format', '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}', name)).trim();
  const up = await waitFor(() => engine.sql('SELECT 1').catch(() => undefined), { timeoutMs: 60_000, intervalMs: 200 });
  if (!up) throw new AppError('engine', `${name} did not start: ${(await docker('logs', '--tail', '20', name)).slice(-2000)}`);
  return engine;
}

async function docker(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run('docker', args, { timeoutMs: 300_000 });
  if (code !== 0) throw new AppError('engine', `docker ${args.slice(0, 3).join(' ')} ended with ${code}: ${stderr.slice(-1000)}`);
  return args[0] === 'logs' ? stdout + stderr : stdout;
}
