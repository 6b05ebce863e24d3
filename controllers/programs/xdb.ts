import { Socket } from 'node:net';
import { join } from 'node:path';
import process from 'node:process';
import { messageOf, toAppError } from '#core/errors.ts';
import { createLogger } from '#core/log.ts';
import { createTcpDriver } from '#tcp/driver.ts';
import { createMariadb } from '#xdb/engine/mariadb/engine.ts';
import { createUserAdmin } from '#xdb/engine/mariadb/user-admin.ts';
import { readConfig, XDB_PORTS } from '#xdb/sidecar/config.ts';
import { type Sidecar, startSidecar } from '#xdb/sidecar/sidecar.ts';
import { createSupervisor } from '#xdb/sidecar/supervisor.ts';

/**
 * The sidecar of a database's member, beside MariaDB and HAProxy, under a supervisor (images/xdb). It may end at any moment: the engine goes on until the supervisor
 * has missed its word for some seconds, and a new sidecar goes on from the records and what it finds.
 */
const log = createLogger({ name: 'xdb' });

/** Where the supervisor speaks. */
const SUPERVISOR_FD = 3;

// For this program (images/xdb/Dockerfile), not for the engine's tools that it starts.
for (const name of Object.keys(process.env)) if (name.startsWith('MALLOC_')) delete process.env[name];

let sidecar: Sidecar | undefined;
let ending = false;

async function end(code: number, keep: boolean): Promise<void> {
  if (ending) return;
  ending = true;
  // Whatever hangs must not keep the member from ending.
  setTimeout(() => process.exit(code), 2000).unref();
  await sidecar?.stop(keep).catch((error: unknown) => log.warn({ err: messageOf(error) }, 'the sidecar could not stop cleanly'));
  process.exit(code);
}

function crash(what: string, thrown: unknown): void {
  log.fatal({ err: thrown, code: toAppError(thrown).code }, what);
  void end(1, true);
}

// The supervisor says when the member ends; a signal to this process alone is somebody's mistake, and the engine goes on meanwhile.
process.on('SIGTERM', () => void end(0, true));
process.on('SIGINT', () => void end(0, true));
process.on('uncaughtException', (error) => crash('uncaught exception', error));
process.on('unhandledRejection', (error) => crash('unhandled rejection', error));

try {
  const config = readConfig(process.env);
  const { haproxySocket, haproxyMaster, haproxyState } = config.paths;
  sidecar = await startSidecar({
    config,
    log,
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
    connectSupervisor: (onEvent) =>
      createSupervisor({
        channel: new Socket({ fd: SUPERVISOR_FD }),
        log,
        onEvent,
        onGone() {
          log.fatal('the supervisor is gone');
          process.exit(1);
        },
      }),
    onStale() {
      log.info('the token for Consul has changed; starting again with the new one');
      void end(0, true);
    },
    onLeave: () => void end(0, false),
  });
} catch (error) {
  crash('the sidecar could not start', error);
}
