import { createBell } from '#core/bell.ts';
import { messageOf } from '#core/errors.ts';
import { readIfThere, writeFileAtomic } from '#core/files.ts';
import type { Logger } from '#core/log.ts';
import type { TcpDriver } from '#tcp/driver.ts';
import type { TcpConfigInput, TcpTableInput } from '#tcp/schema.ts';
import { EndpointTable } from './endpoint-table.ts';

/** The ports that clients use: one leads to the master, one to the slaves. HAProxy serves them on, whatever becomes of the sidecar. */
export interface Endpoint {
  /** What is known to be right: read from the disk at first. */
  current(): EndpointTable | undefined;
  /** Leads the ports there; returns at once. Connections to whom they no longer lead to are cut. */
  lead(table: EndpointTable): void;
  /** Whether HAProxy was seen to hold the newest table. */
  live(): boolean;
  stop(): Promise<void>;
}

/** Ports that clients use, and the one of the engines behind them. */
export interface EndpointPorts {
  master: number;
  slave: number;
  engine: number;
}

const configOf = (ports: EndpointPorts): TcpConfigInput => ({
  // No client of these services ends its side and listens on.
  halfClosedMs: 1000,
  listeners: [
    { port: ports.master, backend: 'master' },
    { port: ports.slave, backend: 'slave' },
  ],
  backends: [
    { name: 'master', connectTimeoutMs: 1000, onRemoved: 'cut', onMarkedDown: 'shutdown-sessions' },
    { name: 'slave', algorithm: 'least_conn', connectTimeoutMs: 1000, onRemoved: 'cut', onMarkedDown: 'shutdown-sessions' },
  ],
});

/** Between two looks whether HAProxy still holds the table (it may have been restarted), in milliseconds. */
const SETTLE_MS = 10_000;
const RETRY_MS = 300;

export interface EndpointOptions {
  driver: TcpDriver;
  /** File of the last known good table. */
  path: string;
  log: Logger;
  ports: EndpointPorts;
  /** HAProxy holds the newest table. */
  onLive?: () => void;
}

/** Makes HAProxy's file from what was known last and begins to follow. A damaged file is none: the ports then lead nowhere until the record was read. */
export async function startEndpoint({ driver, path, log, ports, onLive }: EndpointOptions): Promise<Endpoint> {
  const stopping = new AbortController();
  let current = await load(path, log);
  let live = false;
  let structured = false;
  let dirty = true;
  let version = 0;
  const bell = createBell(stopping.signal);
  let complaint = '';

  await driver.prepare();

  async function apply(): Promise<void> {
    if (!structured) {
      await driver.applyConfig(configOf(ports));
      structured = true;
    }
    const table = current;
    if (table === undefined) return;
    // Versions only rise, also over a restart and over a clock that is set back a little.
    version = Math.max(version + 1, Date.now());
    const outcomes = [];
    for (const one of tablesOf(table, version, ports.engine)) outcomes.push(await driver.applyTable(one, { allowEmpty: true }));
    if (table === current) {
      dirty = false;
      live = outcomes.every((outcome) => outcome.live);
      if (live) onLive?.();
    }
  }

  const running = (async () => {
    while (!stopping.signal.aborted) {
      let pause = SETTLE_MS;
      try {
        if (dirty || !structured) await apply();
        else live = (await driver.settle()).every((outcome) => outcome.live);
        complaint = '';
      } catch (error) {
        live = false;
        pause = RETRY_MS;
        const text = messageOf(error);
        if (text !== complaint) log.warn({ err: text }, 'the endpoint could not be led to where it should');
        complaint = text;
      }
      if (dirty && complaint === '' && current !== undefined) continue;
      await bell.wait(pause);
    }
  })();

  return {
    current: () => current,
    lead(table) {
      if (JSON.stringify(table) === JSON.stringify(current)) return;
      log.info(
        { epoch: table.epoch, master: table.master?.id ?? null, slaves: table.slaves.map(({ id }) => id) },
        'the endpoint leads elsewhere',
      );
      current = table;
      dirty = true;
      live = false;
      bell.ring();
      writeFileAtomic(path, JSON.stringify(table)).catch((error: unknown) =>
        log.warn({ err: messageOf(error) }, 'where the endpoint leads could not be saved'),
      );
    },
    live: () => live,
    async stop() {
      stopping.abort();
      await running;
    },
  };
}

/** A master is another peer in each epoch, so that a change of epochs cuts what was connected before, even if the same member leads again. */
export function tablesOf(table: EndpointTable, version: number, port: number): TcpTableInput[] {
  const master = table.master === null ? [] : [{ id: `${table.master.id}.${table.epoch}`, address: table.master.address, port }];
  const slaves = table.slaves.map(({ id, address }) => ({ id, address, port }));
  return [
    { backend: 'master', version, peers: master },
    { backend: 'slave', version, peers: slaves.length > 0 ? slaves : master },
  ];
}

async function load(path: string, log: Logger): Promise<EndpointTable | undefined> {
  try {
    const text = await readIfThere(path);
    return text === undefined ? undefined : EndpointTable.parse(JSON.parse(text));
  } catch (error) {
    log.warn({ err: messageOf(error) }, 'the saved endpoint is damaged and is not used');
    return undefined;
  }
}
