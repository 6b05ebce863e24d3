import { messageOf, toAppError } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import type { TcpDriver } from '#tcp/driver.ts';
import type { LbSpec } from '#xlb/schema.ts';
import type { Endpoints } from './endpoints.ts';
import { tcpConfig } from './tcp-config.ts';

/** The TCP listeners of a load balancer, kept by HAProxy's driver. */
export interface TcpPart {
  /** Brings HAProxy to the structure of a specification. @returns whether it runs with it */
  follow(spec: LbSpec): Promise<boolean>;
  /** Looks whether HAProxy runs, and after a restart gives it what it may have missed. */
  look(): Promise<void>;
  /** Tries at the next turn again what was refused. */
  retry(): void;
  state(): { listeners: number; running: boolean; oldWorkers: number; rejected: string | undefined; unsaved: string | undefined };
}

/** Peers that are leaving go when their last connection has ended, which nobody says: they are looked after this often, in milliseconds. */
const SETTLE_MS = 30_000;
/** After this time a refused structure is tried once more, in milliseconds. */
const RETRY_MS = 60_000;

export function createTcpPart({
  driver,
  endpoints,
  log,
}: {
  driver: TcpDriver;
  endpoints: Pick<Endpoints, 'tcpTables' | 'retryTcp'>;
  log: Logger;
}): TcpPart {
  let applied: string | undefined;
  let refused: { config: string; reason: string; at: number } | undefined;
  let listeners = 0;
  let running = false;
  let oldWorkers = 0;
  let unsaved: string | undefined;
  let settledAt = performance.now();

  async function follow(spec: LbSpec): Promise<boolean> {
    const config = tcpConfig(spec);
    const text = JSON.stringify(config);
    if (text === applied) return true;
    // HAProxy is not woken for a load balancer that never had a TCP listener.
    if (config.listeners.length === 0 && listeners === 0 && applied === undefined && (await neverUsed())) {
      applied = text;
      return true;
    }
    if (refused?.config === text && performance.now() - refused.at < RETRY_MS) return false;
    try {
      const tables = endpoints.tcpTables().map(({ content, version }) => ({
        backend: content.name,
        version,
        peers: content.peers.map(({ id, address, port, weight, state }) => ({ id, address, port, weight, state })),
      }));
      await driver.applyConfig(config, tables);
      applied = text;
      refused = undefined;
      listeners = config.listeners.length;
      endpoints.retryTcp();
      await look();
      return true;
    } catch (thrown) {
      const error = toAppError(thrown);
      log.warn({ code: error.code, err: error.message }, 'a TCP structure was refused');
      refused = { config: text, reason: `the TCP listeners could not be changed: ${error.message}`, at: performance.now() };
      return false;
    }
  }

  async function neverUsed(): Promise<boolean> {
    return (await driver.readTables().catch(() => [])).length === 0;
  }

  async function look(): Promise<void> {
    if (listeners === 0) return;
    const was = running;
    const status = await driver.status().catch(() => undefined);
    running = status?.running ?? false;
    oldWorkers = status?.oldWorkers ?? 0;
    unsaved = status?.unsaved;
    if (!running || (was && performance.now() - settledAt < SETTLE_MS)) return;
    settledAt = performance.now();
    await driver.settle().catch((error: unknown) => log.warn({ err: messageOf(error) }, 'TCP tables could not be settled'));
  }

  return {
    follow,
    look,
    retry() {
      refused = undefined;
    },
    state: () => ({ listeners, running, oldWorkers, rejected: refused?.reason, unsaved }),
  };
}
