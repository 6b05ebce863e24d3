import { join } from 'node:path';
import process from 'node:process';
import { setMaxParserCache } from 'mysql2';
import { ownSupervisor, runMember, SUPERVISED } from '#member/program.ts';
import { createTcpDriver } from '#tcp/driver.ts';
import { createMariadb } from '#xdb/engine/mariadb/engine.ts';
import { createUserAdmin } from '#xdb/engine/mariadb/user-admin.ts';
import { readConfig, XDB_PORTS } from '#xdb/sidecar/config.ts';
import { startSidecar } from '#xdb/sidecar/sidecar.ts';

// A few dozen statements are all that is ever asked; mysql2 puts half a megabyte aside for more.
setMaxParserCache(200);

/** The sidecar of a database's member, beside MariaDB and HAProxy (images/xdb). */
await runMember({ name: 'xdb', ...SUPERVISED }, (program) => {
  const { log } = program;
  const config = readConfig(process.env);
  const { haproxySocket, haproxyMaster, haproxyState } = config.paths;
  return startSidecar({
    ...program,
    connectSupervisor: (onEvent) => ownSupervisor(log, onEvent),
    config,
    tcp: createTcpDriver({ runtimeSocket: haproxySocket, masterSocket: haproxyMaster, stateDir: haproxyState, log }),
    engine(agentPassword) {
      const extra = { host: '127.0.0.1', port: XDB_PORTS.extra };
      const engine = createMariadb({ dataDir: config.paths.data, socketPath: config.paths.engineSocket, extra, agentPassword, log });
      return { engine, users: createUserAdmin(engine) };
    },
    engineAt: (dataDir) =>
      createMariadb({
        dataDir,
        socketPath: join(dataDir, 'engine.sock'),
        extra: { host: '127.0.0.1', port: 0 },
        agentPassword: () => undefined,
        log,
      }),
  });
});
