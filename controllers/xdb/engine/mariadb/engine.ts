import { randomUUID } from 'node:crypto';
import type { Engine } from '#xdb/engine/engine.ts';
import { dump, load } from './clone.ts';
import { connectLocal } from './connect.ts';
import { discardReceived } from './discard.ts';
import { compareGtid } from './gtid.ts';
import { hasData, initialise, wipe } from './initialise.ts';
import { WRITER } from './names.ts';
import { type MariadbOptions, withDefaults } from './options.ts';
import { createRelayLog } from './relay.ts';
import { openSession } from './session.ts';
import type { Sql } from './sql.ts';
import { startCommand } from './start-options.ts';
import { beginAt, importUpstream } from './upstream/import.ts';
import { inspectUpstream } from './upstream/inspect.ts';

export interface MariadbEngine extends Engine {
  /**
   * A connection that writes as users do, for what operations do: in the binlog, waiting for its acknowledgement, refused while the engine is read-only. To be closed.
   */
  connectWriter(options: { timeoutMs: number }): Promise<Sql>;
}

/** MariaDB 11.8 behind the interface of an engine, for the process that runs beside it in a member's container. */
export function createMariadb(options: MariadbOptions): MariadbEngine {
  const setting = withDefaults(options);
  const relay = createRelayLog(setting.dataDir);
  return {
    flavor: 'mariadb',
    hasData: () => hasData(setting),
    initialise: ({ agentPassword }) => initialise(setting, agentPassword),
    wipe: () => wipe(setting),
    discardReceived: () => discardReceived(setting.dataDir),
    async commandLine(start) {
      const { programs, defaultsFile, dataDir, socketPath } = setting;
      return startCommand({ ...start, server: programs.server, defaultsFile, dataDir, socketPath, instance: randomUUID() });
    },
    connect: ({ timeoutMs }) => openSession(setting, relay, timeoutMs),
    connectWriter: ({ timeoutMs }) => connectLocal(setting, WRITER, timeoutMs),
    dump: (to, { signal }) => dump(setting, to, signal),
    load: (from, { signal }) => load(setting, from, signal),
    inspectUpstream,
    importUpstream: (master, what, options) => importUpstream(setting, master, what, options),
    beginAt: (position) => beginAt(setting, position),
    compare: compareGtid,
  };
}
