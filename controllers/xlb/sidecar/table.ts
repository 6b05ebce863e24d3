import { createHash } from 'node:crypto';
import { isIP, SocketAddress } from 'node:net';
import type { HealthCheck, ServiceHealth } from '#core/consul/client.ts';
import type { GroupTable, Peer, TargetGroup } from '#xlb/schema.ts';

/** Pure: what Consul says of services → tables of target groups. */

/** One instance of a Consul service. */
export interface Instance extends Peer {
  /** Its critical checks are critical for lack of news (a TTL that ran out, a host that gossip lost), not for bad news. */
  silent: boolean;
  /** Nobody gave it a weight: Consul's own default stands there. */
  unweighted: boolean;
}

export interface Reading {
  instances: Instance[];
  /** Why entries were left out, at most one sentence for each. */
  unusable: string[];
}

export const DEFAULT_WEIGHT = 100;
const MAX_WEIGHT = 1000;

/** The instances of one service; those without an IP address and port cannot be served and are named. */
export function readInstances(health: readonly ServiceHealth[]): Reading {
  const unusable: string[] = [];
  const instances: Instance[] = [];
  const counts = new Map<string, number>();
  for (const { service } of health) counts.set(service.id, (counts.get(service.id) ?? 0) + 1);
  for (const { service, node, checks } of health) {
    const said = service.address === '' ? node.address : service.address;
    const address = usableAddress(said);
    if (address === undefined || !Number.isInteger(service.port) || service.port < 1 || service.port > 65535) {
      unusable.push(`${printable(service.id)} has no IP address and port that can be connected to: ${printable(said)}:${service.port}`);
      continue;
    }
    // Service ids are unique on a node only.
    const id = peerId(counts.get(service.id) === 1 ? service.id : `${node.name}/${service.id}`);
    const { weight, unweighted } = weightOf(service, checks);
    const { state, silent } = stateOf(service.meta, checks);
    instances.push({
      id,
      address,
      port: service.port,
      weight: Math.max(1, Math.min(MAX_WEIGHT, weight)),
      // A weight of 0 is how Consul says "no new requests".
      state: weight === 0 && state === 'up' ? 'draining' : state,
      container: printable(service.meta.container_name ?? service.meta.container ?? ''),
      node: printable(node.name),
      silent,
      unweighted,
    });
  }
  instances.sort((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0));
  // Weights are relative: where nobody gave any, an instance counts as much as a target added by hand.
  if (instances.every((instance) => instance.unweighted)) for (const instance of instances) instance.weight = DEFAULT_WEIGHT;
  return { instances, unusable };
}

/**
 * Keeps a service alive whose news stopped: while no instance is up and some of those that were up are down only for lack of news,
 * these stay up and the data plane's own checks decide. A dead agent of a host thereby empties no service; one dead host of several does
 * not keep its instances.
 */
export function withoutNews(prior: readonly Instance[], next: Instance[]): Instance[] {
  if (next.some((instance) => instance.state === 'up')) return next;
  const wasUp = new Set(prior.filter((instance) => instance.state === 'up').map(endpoint));
  if (wasUp.size === 0) return next;
  return next.map((instance) =>
    instance.state === 'down' && instance.silent && wasUp.has(endpoint(instance)) ? { ...instance, state: 'up' } : instance,
  );
}

export type TableContent = Omit<GroupTable, 'version'>;

/** The table of a group without its version, and a hash of it: equal hashes need no push. Peers are ordered by id, whatever order Consul used. */
export function buildTable(group: TargetGroup, services: readonly (readonly Instance[])[]): { content: TableContent; hash: string } {
  const byEndpoint = new Map<string, Peer>();
  for (const instances of services) {
    for (const instance of instances) {
      const key = endpoint(instance);
      const present = byEndpoint.get(key);
      if (present === undefined || precedence(instance) > precedence(present)) byEndpoint.set(key, toPeer(instance));
    }
  }
  const peers = uniqueIds([...byEndpoint.values()]);
  const { services: _, ...settings } = group;
  const content = { ...settings, peers };
  return { content, hash: contentHash(content) };
}

export function contentHash(content: TableContent): string {
  const { peers, ...settings } = content;
  const hash = createHash('sha1').update(canonical(settings));
  for (const peer of peers)
    hash.update(`\n${peer.id}\t${peer.address}\t${peer.port}\t${peer.weight}\t${peer.state}\t${peer.container}\t${peer.node}`);
  return hash.digest('hex').slice(0, 20);
}

export function endpoint({ address, port }: Pick<Peer, 'address' | 'port'>): string {
  return isIP(address) === 6 ? `[${address}]:${port}` : `${address}:${port}`;
}

/** One container named twice in a group is one peer: a wish to drain it wins, then being up. */
function precedence({ state }: Pick<Peer, 'state'>): number {
  return { draining: 2, up: 1, down: 0 }[state];
}

function toPeer({ id, address, port, weight, state, container, node }: Instance): Peer {
  return { id, address, port, weight, state, container, node };
}

function uniqueIds(peers: Peer[]): Peer[] {
  const seen = new Set<string>();
  for (const peer of peers) {
    if (seen.has(peer.id)) peer.id = peerId(`${peer.id}@${endpoint(peer)}`);
    seen.add(peer.id);
  }
  return peers.sort((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0));
}

/** Settings read back from a file may have their keys in another order. */
function canonical(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? '';
  const entries = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, inner]) => `${key}:${canonical(inner)}`).join(',')}}`;
}

/** The address in its one spelling, or undefined for what no server can have: names, zones, "this host", multicast. */
function usableAddress(text: string): string | undefined {
  const family = isIP(text);
  if (family === 4) {
    const first = Number(text.slice(0, text.indexOf('.')));
    return first > 0 && first < 224 ? text : undefined;
  }
  if (family !== 6 || text.includes('%')) return undefined;
  const { address } = new SocketAddress({ address: text, family: 'ipv6' });
  return address === '::' || address.includes('.') || address.startsWith('ff') ? undefined : address;
}

const MAX_ID = 128;

/** Consul's service id as it is when both engines take it, else a name made of it. */
function peerId(id: string): string {
  if (/^[\x21-\x7e]{1,128}$/.test(id) && id.length <= MAX_ID) return id;
  return `${printable(id).replaceAll(' ', '_').slice(0, 96)}~${createHash('sha1').update(id).digest('hex').slice(0, 16)}`;
}

function printable(text: string): string {
  return text.slice(0, 200).replace(/[^\x20-\x7e]/g, '?');
}

const MAINTENANCE = /^_(node|service)_maintenance/;

function stateOf(meta: Record<string, string>, checks: readonly HealthCheck[]): { state: Peer['state']; silent: boolean } {
  const critical = checks.filter((check) => check.status === 'critical' && !MAINTENANCE.test(check.checkId));
  if (critical.length > 0) return { state: 'down', silent: critical.every(isSilence) };
  const asked = meta.state === 'draining' || checks.some((check) => MAINTENANCE.test(check.checkId) && check.status === 'critical');
  return { state: asked ? 'draining' : 'up', silent: false };
}

/** Consul's own words for "nobody told me": of a TTL check, and of the check it keeps of each node by gossip. */
function isSilence(check: HealthCheck): boolean {
  return check.checkId === 'serfHealth' || /\bTTL expired\b/.test(check.output);
}

function weightOf(
  { meta, weights }: { meta: Record<string, string>; weights: { passing: number; warning: number } },
  checks: readonly HealthCheck[],
): { weight: number; unweighted: boolean } {
  const said = /^\d{1,4}$/.test(meta.weight ?? '') ? Number(meta.weight) : undefined;
  const isDefault = said === undefined && weights.passing === 1 && weights.warning === 1;
  const warning = checks.some((check) => check.status === 'warning');
  return { weight: said ?? (warning ? weights.warning : weights.passing), unweighted: isDefault };
}
