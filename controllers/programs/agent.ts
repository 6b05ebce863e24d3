import { z } from 'zod';
import { type Agent, startAgent } from '#agent/agent.ts';
import { toAppError } from '#core/errors.ts';
import { createLogger } from '#core/log.ts';
import { hostPaths } from '#core/paths.ts';
import { sleep } from '#core/sleep.ts';

/** `agent.mjs`: the program of one host; see docs/architecture.md. */
const Environment = z.object({
  /** Prefix of all paths; empty on a host of its own. */
  XCAAS_ROOT: z.string().default(''),
  XCAAS_DOCKER_SOCKET: z.string().default('/var/run/docker.sock'),
  XCAAS_NETWORK: z.string().default('xcaas'),
});

const log = createLogger({ name: 'agent' });
const environment = Environment.parse(process.env);
const stopping = new AbortController();
let agent: Agent | undefined;

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.once(signal, () => {
    log.info({ signal }, 'ending');
    stopping.abort();
    // Whatever hangs, the container's stop must not have to wait for SIGKILL.
    setTimeout(() => process.exit(0), 8000).unref();
    void agent?.close().then(() => process.exit(0));
  });
}
process.on('unhandledRejection', (reason) => log.error({ err: reason }, 'a rejection was not handled'));

/** The host may still be on its way into the pool: its certificate and token come when they come. */
while (agent === undefined && !stopping.signal.aborted) {
  try {
    agent = await startAgent({
      paths: hostPaths(environment.XCAAS_ROOT),
      dockerSocket: environment.XCAAS_DOCKER_SOCKET,
      poolNetwork: environment.XCAAS_NETWORK,
      log,
    });
  } catch (thrown) {
    const error = toAppError(thrown);
    log.warn({ code: error.code, err: error.message, hint: error.hint }, 'the agent cannot start yet; it tries again');
    await sleep(2000, stopping.signal);
  }
}
if (stopping.signal.aborted) {
  await agent?.close();
  process.exit(0);
}
