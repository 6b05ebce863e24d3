import { dirname, join } from 'node:path';
import type { Logger } from '#core/log.ts';

/** Where one MariaDB of a member lies and how it is spoken to. The same for every start of it. */
export interface MariadbOptions {
  /** The engine's data directory. Its neighbours `<dataDir>.new` and `<dataDir>.old` are used while data are made and thrown away. */
  dataDir: string;
  socketPath: string;
  /** Where the engine's extra port answers: open also when hung commits have used up all connections. */
  extra: { host: string; port: number };
  /** Password of the accounts of ours, read for every connection; undefined while it is not known. */
  agentPassword(): string | undefined;
  log: Logger;
  /** User that this process runs as, and by which the engine's tools log in through the socket. */
  systemUser?: string;
  /** The file with what is the same for every member. */
  defaultsFile?: string;
  /** For the engine's tools; on the data's own volume. */
  tmpDir?: string;
  programs?: Partial<Programs>;
}

export interface Programs {
  server: string;
  client: string;
  backup: string;
  unstream: string;
  binlog: string;
  dump: string;
  install: string;
}

/** Everything with its defaults, as the image has it (images/xdb/README.md). */
export interface Setting extends Required<Omit<MariadbOptions, 'programs'>> {
  programs: Programs;
}

export function withDefaults(options: MariadbOptions): Setting {
  return {
    systemUser: 'mysql',
    defaultsFile: '/etc/mysql/my.cnf',
    tmpDir: join(dirname(options.dataDir), 'tmp'),
    ...options,
    programs: {
      server: '/usr/sbin/mariadbd',
      client: '/usr/bin/mariadb',
      backup: '/usr/bin/mariadb-backup',
      unstream: '/usr/bin/mbstream',
      binlog: '/usr/bin/mariadb-binlog',
      dump: '/usr/bin/mariadb-dump',
      install: '/usr/bin/mariadb-install-db',
      ...options.programs,
    },
  };
}
