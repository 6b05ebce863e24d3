import { Socket } from 'node:net';
import process from 'node:process';
import { messageOf, toAppError } from '#core/errors.ts';
import { createLogger } from '#core/log.ts';
import { createTcpDriver } from '#tcp/driver.ts';
import { readConfig } from '#xcache/sidecar/config.ts';
import { readGuards } from '#xcache/sidecar/guards.ts';
import { type Sidecar, startSidecar } from '#xcache/sidecar/sidecar.ts';
import { createSupervisor } from '#xdb/sidecar/supervisor.ts';

/**
 * The sidecar of a cache's member, beside its engine and HAProxy, under a supervisor (images/xcache). It may end at any moment: the engine goes on until the supervisor
 * has missed its word for some seconds, and a new sidecar goes on from the records and what it finds.
 */
const log = createLogger({ name: 'xcache' });

/** Where the supervisor speaks. */
const SUPERVISOR_FD = 3;

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
  if (config.testGuards !== '') log.warn({ guards: config.testGuards }, 'this member is under test: it is not safe');
  sidecar = await startSidecar({
    config,
    guards: readGuards(config.testGuards),
    log,
    tcp: createTcpDriver({ runtimeSocket: haproxySocket, masterSocket: haproxyMaster, stateDir: haproxyState, log }),
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
