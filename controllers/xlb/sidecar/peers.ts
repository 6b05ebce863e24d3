import type { TcpDriver } from '#tcp/driver.ts';
import type { LivePeer, Peer, SidecarPeers } from '#xlb/schema.ts';
import type { NginxClient } from './nginx-client.ts';

/**
 * What the engines themselves run with, asked now: each worker of nginx, and HAProxy as one more.
 *
 * A worker of an earlier structure follows no table any more. Of it only the peers with requests in flight are named, with the state that its
 * successors know: `draining` when these do not have the peer.
 *
 * @param describe peers of a group by id, for what HAProxy cannot know
 * @throws AppError when nginx does not answer
 */
export async function readPeers(
  member: string,
  nginx: Pick<NginxClient, 'groups'>,
  tcp: Pick<TcpDriver, 'readTables'> | undefined,
  describe: (group: string) => ReadonlyMap<string, Peer>,
): Promise<SidecarPeers> {
  const [all, tables] = await Promise.all([nginx.groups(), tcp?.readTables()]);
  const now = all.find((worker) => !worker.leaving);
  const workers: SidecarPeers['workers'] = all.map(({ worker, leaving, groups }) => {
    if (!leaving) return { worker, groups };
    const left = Object.entries(groups).flatMap(([name, { version, peers }]) => {
      const busy = peers.filter((peer) => peer.active > 0).map((peer) => asNow(peer, now?.groups[name]?.peers));
      return busy.length === 0 ? [] : [[name, { version, peers: busy }] as const];
    });
    return { worker: `${worker} (leaving)`, groups: Object.fromEntries(left) };
  });
  if (tables !== undefined && tables.length > 0) {
    const groups = tables.map((table) => {
      const known = describe(table.backend);
      const peers = table.peers.map(({ id, address, port, weight, state, healthy, active, requests, failures, leaving }): LivePeer => {
        const { container = '', node = '' } = known.get(id) ?? {};
        return { id, address, port, weight, state: leaving ? 'draining' : state, container, node, healthy, active, requests, failures };
      });
      return [table.backend, { version: table.version, peers }] as const;
    });
    workers.push({ worker: 'haproxy', groups: Object.fromEntries(groups) });
  }
  return { member, workers };
}

function asNow(peer: LivePeer, present: readonly LivePeer[] | undefined): LivePeer {
  return { ...peer, state: present?.find((other) => other.id === peer.id)?.state ?? 'draining' };
}
