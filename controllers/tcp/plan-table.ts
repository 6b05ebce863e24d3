import { peerIdOf, proxyName, serverName } from '#tcp/names.ts';
import type { TcpBackend, TcpPeer, TcpTable } from '#tcp/schema.ts';
import { serverWords } from '#tcp/server-line.ts';
import { engineWeights } from '#tcp/weights.ts';

/** A server of one backend as the current worker has it. */
export interface ObservedServer {
  server: string;
  address: string;
  port: number;
  admin: 'ready' | 'drain' | 'maint';
  weight: number;
  checked: boolean;
  /** Connections now. */
  active: number;
}

export interface TableStep {
  kind: 'add' | 'move' | 'weigh' | 'watch' | 'open' | 'drain' | 'close' | 'cut' | 'remove';
  peer: string;
  /** Commands of the runtime socket, to be sent in this order. */
  commands: string[];
  reason: string;
}

/** Time for connections that were just ended to be gone before their server is removed. */
const REMOVABLE_WITHIN = '300ms';

/**
 * The steps from what HAProxy has to what the table wants. Some changes take two turns (observe, plan, execute), because HAProxy applies an address
 * asynchronously and counts connections only once they are assigned:
 *
 * - a new address is given while the server takes no new connection, and it is opened when the address has been seen;
 * - a peer that left the table first takes no new connection, and is removed when none is seen any more; of those that are cut some end by their own time limits only
 *   ({@link isHeld}).
 *
 * Order within a turn: a backend that drains opens the new peers before it closes old ones, so that no connection finds it without a peer; one that
 * cuts (a database's) closes the old ones first, so that no two masters are open at once, and waits for removals last.
 *
 * An empty plan means that HAProxy holds the table, but for peers that leave when their last connection ends. Servers that are as they should be are
 * never named in a step.
 */
export function planTable(backend: TcpBackend, table: TcpTable, observed: readonly ObservedServer[]): TableStep[] {
  const servers = new Map(observed.map((server) => [server.server, server]));
  const weights = engineWeights(
    backend.algorithm,
    table.peers.map((peer) => peer.weight),
  );
  const wanted = new Set(table.peers.map((peer) => serverName(peer.id)));
  const steps = table.peers.flatMap((peer, index) => {
    const server = servers.get(serverName(peer.id));
    const weight = weights[index] ?? 1;
    return server === undefined ? [addStep(backend, peer, weight)] : changeSteps(backend, peer, weight, server);
  });
  for (const server of observed) {
    if (!wanted.has(server.server)) steps.push(...leaveSteps(backend, server));
  }
  const order = backend.onRemoved === 'cut' ? CLOSE_FIRST : OPEN_FIRST;
  return steps.sort((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind));
}

const CLOSE_FIRST: TableStep['kind'][] = ['close', 'cut', 'drain', 'move', 'watch', 'weigh', 'add', 'open', 'remove'];
const OPEN_FIRST: TableStep['kind'][] = ['add', 'open', 'watch', 'weigh', 'drain', 'move', 'close', 'cut', 'remove'];

/**
 * HAProxy holds the table, but for peers that have left it, are closed and were cut: what is left of them is removed once it has ended.
 *
 * @param steps the plan for what was observed
 */
export function isHeld(table: TcpTable, observed: readonly ObservedServer[], steps: readonly TableStep[]): boolean {
  const wanted = new Set(table.peers.map((peer) => peer.id));
  const closed = new Set(observed.filter((server) => server.admin === 'maint').map((server) => peerIdOf(server.server)));
  return steps.every((step) => !wanted.has(step.peer) && closed.has(step.peer));
}

/** Peers that left the table and still have connections. */
export function leavingPeers(table: TcpTable, observed: readonly ObservedServer[]): { id: string; active: number }[] {
  const wanted = new Set(table.peers.map((peer) => serverName(peer.id)));
  return observed.filter((server) => !wanted.has(server.server)).map((server) => ({ id: peerIdOf(server.server), active: server.active }));
}

function addStep(backend: TcpBackend, peer: TcpPeer, weight: number): TableStep {
  const at = path(backend, peer.id);
  const [, ...words] = serverWords(backend, peer, weight);
  // A server that was added is in maintenance until it is told otherwise, and its check is off.
  const commands = [`add server ${at} ${words.join(' ')}`];
  if (backend.check !== 'none') commands.push(`enable health ${at}`);
  if (peer.state !== 'down') commands.push(`set server ${at} state ${adminOf(peer) === 'ready' ? 'ready' : 'drain'}`);
  return { kind: 'add', peer: peer.id, commands, reason: `${peer.id} is new in the table (${peer.state})` };
}

function changeSteps(backend: TcpBackend, peer: TcpPeer, weight: number, server: ObservedServer): TableStep[] {
  const at = path(backend, peer.id);
  const steps: TableStep[] = [];
  const step = (kind: TableStep['kind'], commands: string[], reason: string) => steps.push({ kind, peer: peer.id, commands, reason });
  if (backend.check !== 'none' && !server.checked) step('watch', [`enable health ${at}`], `the check of ${peer.id} is off`);
  if (server.weight !== weight)
    step('weigh', [`set server ${at} weight ${weight}`], `${peer.id} weighs ${server.weight}, wanted ${weight}`);

  if (server.address !== peer.address || server.port !== peer.port) {
    const commands = [`set server ${at} addr ${peer.address} port ${peer.port}`];
    if (server.admin !== 'maint') commands.unshift(...closeCommands(backend, at));
    step('move', commands, `${peer.id} is at ${server.address} port ${server.port}, wanted ${peer.address} port ${peer.port}`);
    return steps;
  }

  const wanted = adminOf(peer);
  if (wanted === 'maint' && server.admin !== 'maint') {
    step('close', closeCommands(backend, at), `${peer.id} is down`);
  } else if (wanted === 'maint' && server.active > 0 && backend.onMarkedDown === 'shutdown-sessions') {
    step('cut', [`shutdown sessions server ${at}`], `${peer.id} is down and has ${server.active} connections`);
  } else if (wanted === 'drain' && server.admin !== 'drain') {
    step('drain', [`set server ${at} state drain`], `${peer.id} is draining`);
  } else if (wanted === 'ready' && server.admin !== 'ready') {
    step('open', [`set server ${at} state ready`], `${peer.id} is up`);
  }
  return steps;
}

function leaveSteps(backend: TcpBackend, server: ObservedServer): TableStep[] {
  const peer = peerIdOf(server.server);
  const at = `${proxyName(backend.name)}/${server.server}`;
  const remove = [`wait ${REMOVABLE_WITHIN} srv-removable ${at}`, `del server ${at}`];
  const close = `set server ${at} state maint`;
  if (backend.onRemoved === 'cut') {
    const cut = [close, `shutdown sessions server ${at}`];
    return [
      { kind: 'close', peer, commands: cut, reason: `${peer} left the table; its ${server.active} connections are cut` },
      { kind: 'remove', peer, commands: remove, reason: `${peer} left the table` },
    ];
  }
  if (server.admin === 'ready') {
    return [{ kind: 'drain', peer, commands: [`set server ${at} state drain`], reason: `${peer} left the table; its connections go on` }];
  }
  if (server.active > 0) return [];
  return [{ kind: 'remove', peer, commands: [close, ...remove], reason: `${peer} left the table and has no connection` }];
}

function closeCommands(backend: TcpBackend, at: string): string[] {
  const close = `set server ${at} state maint`;
  return backend.onMarkedDown === 'shutdown-sessions' ? [close, `shutdown sessions server ${at}`] : [close];
}

function adminOf(peer: TcpPeer): ObservedServer['admin'] {
  return peer.state === 'up' ? 'ready' : peer.state === 'draining' ? 'drain' : 'maint';
}

function path(backend: TcpBackend, peerId: string): string {
  return `${proxyName(backend.name)}/${serverName(peerId)}`;
}
