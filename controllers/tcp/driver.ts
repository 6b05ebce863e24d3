import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError, messageOf, toAppError } from '#core/errors.ts';
import { readIfThere, writeFileAtomic } from '#core/files.ts';
import type { Logger } from '#core/log.ts';
import { createQueue } from '#core/queue.ts';
import { createSaver } from '#core/saver.ts';
import { run } from '#core/spawn.ts';
import { validate } from '#core/validate.ts';
import { type CheckConfig, peersDownByCheck, runningGeneration, type SwapOutcome, swapConfig } from '#tcp/apply-config.ts';
import { convergeTable, type TableProgress } from '#tcp/apply-table.ts';
import { generationOf, renderConfig } from '#tcp/config.ts';
import { createMaster, isDown } from '#tcp/master.ts';
import { tcpMetrics } from '#tcp/metrics.ts';
import { proxyName, serverName } from '#tcp/names.ts';
import { describeTables, mustBeCut, observeServers, oldConnections } from '#tcp/observe.ts';
import { followOldWorkers } from '#tcp/old-workers.ts';
import { parseStat } from '#tcp/parse.ts';
import { createRuntime } from '#tcp/runtime.ts';
import { type LiveTable, TcpConfig, type TcpConfigInput, type TcpStatus, TcpTable, type TcpTableInput } from '#tcp/schema.ts';
import { createStore } from '#tcp/store.ts';

export interface TcpDriverOptions {
  /** `stats socket` of the worker; at most 80 characters, HAProxy adds some while it binds. */
  runtimeSocket: string;
  /** Socket that the master was started with (`haproxy -W -S <path>,mode,600 -f <stateDir>/haproxy.cfg`). */
  masterSocket: string;
  /** Survives restarts: the file HAProxy starts with, the last known configuration and tables. */
  stateDir: string;
  log: Logger;
  /**
   * Shortest time between two writes of tables to disk, in milliseconds: the first of a burst is written at once, then the newest. Each table is on disk before {@link TcpDriver.applyTable}
   * returns unless this is given.
   */
  saveEveryMs?: number;
  /** Checks a file; `haproxy -V -c -f <path>` unless given. */
  check?: CheckConfig;
}

export interface TableOutcome extends TableProgress {
  backend: string;
  version: number;
  /** HAProxy holds the table now; false when none runs: it will start with it. */
  live: boolean;
}

/**
 * The driver of one HAProxy. It holds nothing that is not on disk or in HAProxy: after a restart it goes on from there, and HAProxy goes on without it.
 * Changes run one after another; reading and cutting do not wait for them.
 */
export interface TcpDriver {
  /** The file to start HAProxy with. */
  readonly configPath: string;
  /** Makes sure that there is such a file, from what is on disk. To be called before HAProxy is started. @throws AppError `config_rejected` */
  prepare(): Promise<void>;
  /**
   * Listeners, backends and timeouts. Reloads only if the structure differs from the running one; all tables go with it.
   *
   * @param tables newer tables to go live together with the structure, so that a new listener never lacks its peers
   * @throws AppError `invalid`, `config_rejected`, `port_taken`: the structure before is then in force
   */
  applyConfig(config: TcpConfigInput, tables?: readonly TcpTableInput[]): Promise<SwapOutcome | 'unchanged'>;
  /**
   * The peers of one backend, without a reload. Returns when HAProxy has been seen to hold them and they are on disk (but see `saveEveryMs`). The same table again finishes what had
   * to wait for connections to end.
   *
   * @param allowEmpty a table without peers is refused otherwise while the one before it has some
   * @throws AppError `invalid`, `not_found` (no such backend), `conflict` (older version), `engine`, `timeout`, `disk_full`
   */
  applyTable(table: TcpTableInput, options?: { allowEmpty?: boolean }): Promise<TableOutcome>;
  /** Applies every known table again: to be called now and then, and after HAProxy was restarted. */
  settle(): Promise<TableOutcome[]>;
  /** What HAProxy itself says. @throws AppError `unavailable`, `timeout` */
  readTables(): Promise<LiveTable[]>;
  /**
   * Ends every connection to a peer, in replaced workers too, within milliseconds whether the peer answers or not. It does not keep new ones away:
   * mark the peer down or leave it out of the table first.
   *
   * @returns how many there were
   */
  shutdownSessions(peerId: string, options?: { backend?: string }): Promise<number>;
  status(): Promise<TcpStatus>;
  /** Prometheus text. @throws AppError `unavailable`, `timeout` */
  metrics(): Promise<string>;
  /** Nothing is written any more. */
  stop(): void;
}

interface State {
  config: TcpConfig;
  tables: ReadonlyMap<string, TcpTable>;
}

const EMPTY_CONFIG = TcpConfig.parse({ listeners: [], backends: [] });

export function createTcpDriver(options: TcpDriverOptions): TcpDriver {
  const { runtimeSocket, masterSocket, stateDir, log, saveEveryMs, check = checkWithHaproxy } = options;
  for (const path of [runtimeSocket, masterSocket, stateDir]) {
    if (!/^\/[A-Za-z0-9._/-]+$/.test(path)) throw new AppError('internal', `${path} cannot be a path of HAProxy's`);
  }
  const configPath = join(stateDir, 'haproxy.cfg');
  const runtime = createRuntime({ socketPath: runtimeSocket });
  const master = createMaster({ socketPath: masterSocket });
  const oldWorkers = followOldWorkers(master);
  const store = createStore({ dir: stateDir, log });
  const exclusive = createQueue();
  const saver =
    saveEveryMs === undefined
      ? undefined
      : // What is newest when its turn comes: a structure may have been applied meanwhile.
        createSaver<void>({ what: 'the TCP tables', write: () => exclusive(async () => save(await state())), log, everyMs: saveEveryMs });

  let known: Promise<State> | undefined;
  const onDisk = new Map<string, TcpTable>();
  function state() {
    known ??= load();
    return known;
  }
  async function load() {
    await mkdir(stateDir, { recursive: true });
    for (const table of await store.loadTables()) onDisk.set(table.backend, table);
    return { config: (await store.loadConfig()) ?? EMPTY_CONFIG, tables: new Map(onDisk) };
  }
  const render = (config: TcpConfig, tables: ReadonlyMap<string, TcpTable>) =>
    renderConfig(config, { runtimeSocket, tables: [...tables.values()] });
  const generation = (config: TcpConfig) => generationOf(config, { runtimeSocket });

  async function prepare(): Promise<void> {
    const { config, tables } = await state();
    const text = render(config, tables);
    if ((await readIfThere(configPath)) === text) return;
    // HAProxy may be running with this file already: it is only replaced by one that would start.
    const next = `${configPath}.next`;
    await writeFileAtomic(next, text);
    const { ok, output } = await check(next);
    if (!ok) throw new AppError('config_rejected', `HAProxy refuses the configuration that was saved: ${output.trim().slice(-500)}`);
    await writeFileAtomic(configPath, text);
  }

  async function applyConfig(input: TcpConfigInput, newer: readonly TcpTableInput[] = []): Promise<SwapOutcome | 'unchanged'> {
    const config = validate(TcpConfig, input, 'the TCP configuration');
    const current = await state();
    const backends = new Set(config.backends.map((backend) => backend.name));
    const tables = new Map([...current.tables].filter(([backend]) => backends.has(backend)));
    for (const table of newer.map((one) => validate(TcpTable, one, 'a TCP table'))) {
      if (table.version > (tables.get(table.backend)?.version ?? 0) && backends.has(table.backend)) tables.set(table.backend, table);
    }

    const unchanged = (await runningGeneration(runtime)) === generation(config);
    let outcome: SwapOutcome | 'unchanged' = 'unchanged';
    if (unchanged) {
      await writeFileAtomic(configPath, render(config, tables));
    } else {
      const down = await peersDownByCheck(runtime, current.config).catch(() => []);
      const swap = { configPath, text: render(config, tables), generation: generation(config), runtime, master, check, log };
      outcome = await oldWorkers.duringReload(() => swapConfig(swap));
      // A new worker takes every peer for healthy until its first checks have failed.
      if (outcome === 'reloaded') await runtime.execute(down.map((at) => `set server ${at} health down`));
    }
    await store.saveConfig(config);
    await saveTables(tables);
    known = Promise.resolve({ config, tables });
    log.info(
      { outcome, generation: generation(config), listeners: config.listeners.length, backends: config.backends.length },
      'TCP structure applied',
    );
    if (outcome !== 'staged') for (const table of tables.values()) await converge(table);
    return outcome;
  }

  async function applyTable(input: TcpTableInput, { allowEmpty = false }: { allowEmpty?: boolean } = {}): Promise<TableOutcome> {
    const table = validate(TcpTable, input, 'the TCP table');
    const { config, tables } = await state();
    if (!config.backends.some((backend) => backend.name === table.backend)) {
      throw new AppError('not_found', `there is no TCP backend ${table.backend}`, { hint: 'apply a configuration that has it first' });
    }
    const before = tables.get(table.backend);
    if (before !== undefined) refuseStale(before, table, allowEmpty);
    const outcome = await converge(table);
    if (before === undefined || before.version < table.version) {
      const next = { config, tables: new Map(tables).set(table.backend, table) };
      if (saver === undefined) await saved(`version ${table.version} of the table of ${table.backend}`, save(next));
      // Only now: the same table again then tries once more to save it.
      known = Promise.resolve(next);
      saver?.save();
    }
    return outcome;
  }

  async function save({ config, tables }: State): Promise<void> {
    await Promise.all([saveTables(tables), writeFileAtomic(configPath, render(config, tables))]);
  }

  async function saveTables(tables: ReadonlyMap<string, TcpTable>): Promise<void> {
    for (const table of tables.values()) {
      if (onDisk.get(table.backend) === table) continue;
      await store.saveTable(table);
      onDisk.set(table.backend, table);
    }
    for (const backend of onDisk.keys()) {
      if (tables.has(backend)) continue;
      await store.removeTable(backend);
      onDisk.delete(backend);
    }
  }

  /** Brings HAProxy to the table: its current worker first, then what replaced ones still hold. */
  async function converge(table: TcpTable): Promise<TableOutcome> {
    const { config } = await state();
    const backend = config.backends.find(({ name }) => name === table.backend);
    if (backend === undefined) throw new AppError('internal', `the table of ${table.backend} has no backend`);
    const head = { backend: table.backend, version: table.version };
    let progress: TableProgress;
    try {
      progress = await convergeTable(runtime, backend, table, log);
    } catch (error) {
      if (!isDown(error)) throw error;
      log.warn({ ...head, err: messageOf(error) }, 'HAProxy does not run; it will start with this table');
      return { ...head, live: false, leaving: [], reasons: [] };
    }
    const cuts = backend.onRemoved === 'cut' || backend.onMarkedDown === 'shutdown-sessions';
    if (cuts) await oldWorkers.cut((at) => mustBeCut(backend, table, at));
    if (progress.reasons.length > 0)
      log.info({ ...head, changes: progress.reasons.length, why: progress.reasons.slice(0, 5) }, 'TCP table applied');
    return { ...head, live: true, ...progress };
  }

  async function settle(): Promise<TableOutcome[]> {
    const { tables } = await state();
    oldWorkers.forget();
    const outcomes: TableOutcome[] = [];
    for (const table of tables.values()) outcomes.push(await converge(table));
    return outcomes;
  }

  async function readTables(): Promise<LiveTable[]> {
    const { config, tables } = await state();
    const [servers, old] = await Promise.all([observeServers(runtime), oldConnections(master)]);
    return describeTables(config, tables, servers, old);
  }

  async function shutdownSessions(peerId: string, { backend }: { backend?: string } = {}): Promise<number> {
    const { config } = await state();
    const proxies = config.backends.filter(({ name }) => backend === undefined || name === backend).map(({ name }) => proxyName(name));
    const server = serverName(peerId);
    const targets = new Set(proxies.map((proxy) => `${proxy}/${server}`));
    // Peers that a backend does not have are refused, which is what is wanted.
    const replies = await runtime.execute(
      proxies.flatMap((proxy) => [`show stat ${proxy} 4 -1`, `shutdown sessions server ${proxy}/${server}`]),
    );
    const rows = replies.filter((_, index) => index % 2 === 0).flatMap((reply) => parseStat(reply.text));
    const here = rows.filter((row) => targets.has(`${row.proxy}/${row.server}`)).reduce((sum, row) => sum + row.active, 0);
    const before = await oldWorkers.cut((at) => targets.has(at));
    log.info({ peer: peerId, connections: here + before }, 'connections to a peer were ended');
    return here + before;
  }

  async function status(): Promise<TcpStatus> {
    const { config } = await state();
    const [running, processes] = await Promise.all([runningGeneration(runtime), master.processes().catch(() => undefined)]);
    return {
      running: running !== undefined,
      generation: running,
      wantedGeneration: generation(config),
      oldWorkers: processes?.oldWorkers.length ?? 0,
      reloads: processes?.reloads ?? 0,
      unsaved: saver?.trouble(),
    };
  }

  return {
    configPath,
    stop: () => saver?.stop(),
    prepare: () => exclusive(prepare),
    applyConfig: (config, tables) => exclusive(() => applyConfig(config, tables)),
    applyTable: (table, how) => exclusive(() => applyTable(table, how)),
    settle: () => exclusive(settle),
    readTables,
    shutdownSessions,
    status,
    async metrics() {
      const [now, tables] = await Promise.all([status(), readTables()]);
      return await tcpMetrics(now, tables);
    },
  };
}

function refuseStale(before: TcpTable, table: TcpTable, allowEmpty: boolean): void {
  if (table.version < before.version || (table.version === before.version && JSON.stringify(table) !== JSON.stringify(before))) {
    throw new AppError(
      'conflict',
      `version ${table.version} of the table of ${table.backend} is not newer than version ${before.version}, which is held`,
    );
  }
  if (table.peers.length === 0 && before.peers.length > 0 && !allowEmpty) {
    throw new AppError('invalid', `the table of ${table.backend} has no peers, the one before it has ${before.peers.length}`, {
      hint: 'an empty table must be asked for explicitly',
    });
  }
}

async function checkWithHaproxy(path: string): Promise<{ ok: boolean; output: string }> {
  // The file says `quiet`, so that the reason is told only with -V.
  const { code, stdout, stderr } = await run('haproxy', ['-V', '-c', '-f', path], { timeoutMs: 30_000 });
  return { ok: code === 0, output: `${stdout}\n${stderr}` };
}

/** @throws AppError that says that `what` is in force, but would be lost with a restart */
async function saved(what: string, written: Promise<void>): Promise<void> {
  try {
    await written;
  } catch (cause) {
    const error = toAppError(cause);
    throw new AppError(error.code, `${what} is live but could not be saved: ${error.message}`, { hint: error.hint, cause });
  }
}
