import { join } from 'node:path';
import process from 'node:process';
import { ownSupervisor, runMember, SUPERVISED } from '#member/program.ts';
import { createTcpDriver } from '#tcp/driver.ts';
import { createMariadb } from '#xdb/engine/mariadb/engine.ts';
import { createUserAdmin } from '#xdb/engine/mariadb/user-admin.ts';
import { readConfig, XDB_PORTS } from '#xdb/sidecar/config.ts';
import { startSidecar } from '#xdb/sidecar/sidecar.ts';

// For this program (images/xdb/Dockerfile), not for the engine's tools that it starts.
for (const name of Object.keys(process.env)) if (name.startsWith('MALLOC_')) delete process.env[name];

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
