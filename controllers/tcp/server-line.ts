import { isIPv6 } from 'node:net';
import { serverName } from '#tcp/names.ts';
import type { TcpBackend, TcpPeer } from '#tcp/schema.ts';

/**
 * The words that follow `server` in the file and `add server <proxy>/` on the runtime socket. They are one function because a server that was
 * added while running must be the same after a reload; `default-server` cannot be used, since `add server` ignores it (management manual §9.3).
 *
 * @param weight on HAProxy's scale
 */
export function serverWords(backend: TcpBackend, peer: TcpPeer, weight: number): string[] {
  const words = [serverName(peer.id), endpoint(peer.address, peer.port), 'weight', String(weight)];
  if (backend.maxConnectionsPerPeer !== undefined) words.push('maxconn', String(backend.maxConnectionsPerPeer));
  // By default a server's place on the ring follows from its number in this process, which differs between replicas and after a reload.
  if (backend.algorithm === 'hash') words.push('hash-key', 'addr-port');
  if (backend.check !== 'none') {
    const { intervalMs, rise, fall } = backend.check;
    words.push('check', 'inter', `${intervalMs}ms`, 'rise', String(rise), 'fall', String(fall));
    if (backend.maxFails > 0) words.push('observe', 'layer4', 'error-limit', String(backend.maxFails), 'on-error', 'mark-down');
  }
  if (backend.onMarkedDown === 'shutdown-sessions') words.push('on-marked-down', 'shutdown-sessions');
  return words;
}

function endpoint(address: string, port: number): string {
  return isIPv6(address) ? `[${address}]:${port}` : `${address}:${port}`;
}
