import { randomBytes } from 'node:crypto';
import { type Connection, createConnection, type RowDataPacket } from 'mysql2/promise';
import { run } from '#core/spawn.ts';
import { xdbStage } from '#test/xdb-image.ts';
import { docker, eventually } from '#test/xdb-lab.ts';

/** A database server that is none of ours: a plain MariaDB with its own settings, numbering and accounts. */
export interface OutsideServer {
  name: string;
  address: string;
  user: string;
  password: string;
  /** As its administrator. */
  sql<T extends object = Record<string, unknown>>(statement: string): Promise<T[]>;
  connect(): Promise<Connection>;
  remove(): Promise<void>;
}

const INSTALL = [
  'mariadb-install-db --no-defaults --datadir=/tmp/m --auth-root-authentication-method=normal --skip-test-db >/dev/null 2>&1',
  `printf "CREATE USER IF NOT EXISTS admin@'%%' IDENTIFIED BY 'admin';\\nGRANT ALL ON *.* TO admin@'%%' WITH GRANT OPTION;\\n" > /tmp/init.sql`,
  'exec mariadbd --no-defaults --datadir=/tmp/m --socket=/tmp/m.sock --port=3306 --innodb-buffer-pool-size=64M --init-file=/tmp/init.sql "$@"',
].join(' && ');

/** @param settings of the server, as `--name=value` */
export async function startOutside(network: string, settings: readonly string[]): Promise<OutsideServer> {
  const image = await xdbStage('member');
  const name = `xcaas-test-outside-${randomBytes(4).toString('hex')}`;
  await docker(
    ...['run', '--detach', '--name', name, '--network', network, '--label', 'xcaas.test=xdb', '--user', '7481:7481'],
    ...['--entrypoint', 'bash', image, '-c', INSTALL, 'server', ...settings],
  );
  const remove = async () => {
    await run('docker', ['rm', '--force', '--volumes', name]);
  };
  try {
    const address = await docker('inspect', '--format', '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}', name);
    const server: OutsideServer = {
      ...{ name, address, user: 'mig', password: 'p@ss/w:rd', remove },
      async connect() {
        const connection = await createConnection({ host: address, user: 'admin', password: 'admin', connectTimeout: 3000 });
        connection.on('error', () => undefined);
        return connection;
      },
      async sql<T extends object>(statement: string) {
        const connection = await server.connect();
        try {
          const [rows] = await connection.query<RowDataPacket[]>(statement);
          return rows as unknown as T[];
        } finally {
          connection.destroy();
        }
      },
    };
    await eventually('the outside server answers', async () => (await server.sql('SELECT 1')).length === 1);
    await server.sql(`CREATE USER mig@'%' IDENTIFIED BY '${server.password}'`);
    await server.sql("GRANT REPLICATION SLAVE, BINLOG MONITOR, SELECT, SHOW VIEW, TRIGGER, EVENT ON *.* TO mig@'%'");
    return server;
  } catch (error) {
    await remove();
    throw error;
  }
}
