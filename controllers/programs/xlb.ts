import process from 'node:process';
import { messageOf, toAppError } from '#core/errors.ts';
import { createLogger } from '#core/log.ts';
import { createTcpDriver } from '#tcp/driver.ts';
import { readConfig } from '#xlb/sidecar/config.ts';
import { type Sidecar, startSidecar } from '#xlb/sidecar/sidecar.ts';

/**
 * The sidecar of a load balancer's member. nginx and HAProxy run beside it and go on without it: it may end at any moment, and whoever supervises it
 * starts it again.
 */
const log = createLogger({ name: 'xlb' });

let sidecar: Sidecar | undefined;
let ending = false;

async function end(code: number, keepRecord: boolean): Promise<void> {
  if (ending) return;
  ending = true;
  // Whatever hangs must not keep the container from stopping.
  setTimeout(() => process.exit(code), 3000).unref();
  await sidecar?.stop(keepRecord).catch((error: unknown) => log.warn({ err: messageOf(error) }, 'the sidecar could not stop cleanly'));
  process.exit(code);
}

function crash(what: string, thrown: unknown): void {
  log.fatal({ err: thrown, code: toAppError(thrown).code }, what);
  void end(1, true);
}

process.on('SIGTERM', () => void end(0, false));
process.on('SIGINT', () => void end(0, false));
process.on('uncaughtException', (error) => crash('uncaught exception', error));
process.on('unhandledRejection', (error) => crash('unhandled rejection', error));

try {
  const config = readConfig(process.env);
  const { haproxySocket, haproxyMaster, haproxyState } = config.paths;
  const tcp = createTcpDriver({ runtimeSocket: haproxySocket, masterSocket: haproxyMaster, stateDir: haproxyState, log });
  sidecar = await startSidecar({
    config,
    tcp,
    log,
    onStale() {
      log.info('the token for Consul has changed; starting again with the new one');
      void end(0, true);
    },
  });
} catch (error) {
  crash('the sidecar could not start', error);
}
