import { AppError } from '#core/errors.ts';
import type { Master } from '#tcp/master.ts';
import { backendOf, peerIdOf, proxyName, serverName } from '#tcp/names.ts';
import { parseServersState, parseStat, type ServerState, type StatRow } from '#tcp/parse.ts';
import { isHeld, type ObservedServer, planTable } from '#tcp/plan-table.ts';
import type { Reply, Runtime } from '#tcp/runtime.ts';
import type { LiveTable, TcpBackend, TcpConfig, TcpPeer, TcpTable } from '#tcp/schema.ts';

/** A server as the current worker has it, with its counters. */
export interface EngineServer extends ObservedServer {
  proxy: string;
  operational: number;
  stat: StatRow | undefined;
}

/** What to ask HAProxy for the servers of one backend, or of all, and how to read its answers. */
export interface Look {
  commands: string[];
  /** @throws AppError `engine` when it does not show them */
  read(replies: readonly Reply[]): EngineServer[];
}

export function lookAt(backend?: string): Look {
  const commands =
    backend === undefined
      ? ['show servers state', 'show stat -1 4 -1']
      : [`show servers state ${proxyName(backend)}`, `show stat ${proxyName(backend)} 4 -1`];
  return {
    commands,
    read([states, stats]) {
      for (const reply of [states, stats]) {
        if (!reply?.ok) throw new AppError('engine', `HAProxy does not show its servers: ${reply?.text ?? 'no answer'}`);
      }
      const rows = new Map(parseStat(stats?.text ?? '').map((row) => [`${row.proxy}/${row.server}`, row]));
      return parseServersState(states?.text ?? '').map((state) => withStat(state, rows.get(`${state.proxy}/${state.server}`)));
    },
  };
}

/**
 * The servers of one backend, or of all.
 *
 * @throws AppError `unavailable`, `timeout`, `engine`
 */
export async function observeServers(runtime: Runtime, backend?: string): Promise<EngineServer[]> {
  const look = lookAt(backend);
  return look.read(await runtime.execute(look.commands));
}

function withStat(state: ServerState, stat: StatRow | undefined): EngineServer {
  return { ...state, active: stat?.active ?? 0, stat };
}

/** Connections in replaced workers, by `proxy/server`. */
export async function oldConnections(master: Master): Promise<Map<string, number>> {
  const { oldWorkers } = await master.processes();
  const counts = new Map<string, number>();
  for (const pid of oldWorkers) {
    for (const row of await master.stat(pid)) {
      const at = `${row.proxy}/${row.server}`;
      counts.set(at, (counts.get(at) ?? 0) + row.active);
    }
  }
  return counts;
}

/** What HAProxy says, in the words of the tables. Peers that left the table but have connections are `leaving`. */
export function describeTables(
  config: TcpConfig,
  tables: ReadonlyMap<string, TcpTable>,
  servers: readonly EngineServer[],
  old: ReadonlyMap<string, number>,
): LiveTable[] {
  return config.backends.map((backend) => {
    const table = tables.get(backend.name) ?? { backend: backend.name, version: 0, peers: [] };
    const own = servers.filter((server) => backendOf(server.proxy) === backend.name);
    return describeTable(backend, table, own, old);
  });
}

function describeTable(backend: TcpBackend, table: TcpTable, servers: EngineServer[], old: ReadonlyMap<string, number>): LiveTable {
  const wanted = new Map(table.peers.map((peer) => [peer.id, peer]));
  const oldOf = (server: string) => old.get(`${proxyName(backend.name)}/${server}`) ?? 0;
  const peers = servers.map((server) => {
    const id = peerIdOf(server.server);
    const activeInOldWorkers = oldOf(server.server);
    return {
      id,
      address: server.address,
      port: server.port,
      weight: wanted.get(id)?.weight ?? server.weight,
      state: stateOf(server),
      healthy: server.operational > 0 && server.admin !== 'maint',
      active: server.active + activeInOldWorkers,
      activeInOldWorkers,
      requests: server.stat?.total ?? 0,
      failures: server.stat?.failures ?? 0,
      leaving: !wanted.has(id),
      status: server.stat?.status ?? '',
    };
  });
  const present = new Set(servers.map((server) => server.server));
  const prefix = `${proxyName(backend.name)}/`;
  // Peers that only a replaced worker still has connections to.
  for (const [at, active] of old) {
    const server = at.slice(prefix.length);
    if (!at.startsWith(prefix) || present.has(server) || active === 0) continue;
    peers.push(goneFromWorker(server, active));
  }
  return { backend: backend.name, version: table.version, live: isHeld(table, servers, planTable(backend, table, servers)), peers };
}

function goneFromWorker(server: string, active: number) {
  return {
    id: peerIdOf(server),
    address: '',
    port: 0,
    weight: 0,
    state: 'draining' as const,
    healthy: false,
    active,
    activeInOldWorkers: active,
    requests: 0,
    failures: 0,
    leaving: true,
    status: 'replaced worker only',
  };
}

function stateOf(server: EngineServer): TcpPeer['state'] {
  return server.admin === 'ready' ? 'up' : server.admin === 'drain' ? 'draining' : 'down';
}

/** `proxy/server` of peers whose connections must not live on, in whichever worker: down or gone, where the backend says so. */
export function mustBeCut(backend: TcpBackend, table: TcpTable, at: string): boolean {
  const prefix = `${proxyName(backend.name)}/`;
  if (!at.startsWith(prefix)) return false;
  const peer = table.peers.find(({ id }) => serverName(id) === at.slice(prefix.length));
  if (peer === undefined) return backend.onRemoved === 'cut';
  return peer.state === 'down' && backend.onMarkedDown === 'shutdown-sessions';
}
