import { expect, it } from 'vitest';
import type { EngineSession } from '#xcache/engine/session.ts';
import { CacheMemberStatus } from '#xcache/schema.ts';
import { lookAtCluster } from './cluster-look.ts';
import type { ClusterPeers } from './cluster-peers.ts';

/** Engines by their addresses. */
function peersAt(engines: Readonly<Record<string, string>>): ClusterPeers & { dropped: string[] } {
  const dropped: string[] = [];
  return {
    dropped,
    async session(_member, address) {
      const node = engines[address];
      if (node === undefined) throw new Error('nobody answers');
      const call = async (_command: string, ...[what]: (string | number)[]) =>
        what === 'NODES'
          ? `${node} ${address}:6379@16379 myself,master - 0 0 1 connected 0-99\n`
          : what === 'INFO'
            ? 'cluster_state:ok\r\n'
            : [];
      return { call, facts: () => Promise.reject(new Error('not asked')), close: () => undefined } satisfies EngineSession;
    },
    drop: (member) => dropped.push(member),
    close: () => undefined,
  };
}

const status = (member: string, address: string, nodeId?: string): CacheMemberStatus =>
  CacheMemberStatus.parse({
    ...{ v: 1, member, node: 'h', address, enginePort: 6379, role: 'master', state: 'running', sentence: '', rule: '', nodeId },
    ...{ specIndex: 1, restartSerial: 0, epoch: 1, rev: 0, beat: 0, time: '' },
  });

it('takes nobody for a member that was at that address before', async () => {
  const peers = peersAt({ '10.0.0.2': 'n-b', '10.0.0.3': 'n-c' });
  const statuses = {
    // Its session has not ended yet; b is where it was.
    a: status('a', '10.0.0.2', 'n-a'),
    b: status('b', '10.0.0.2', 'n-b'),
    c: status('c', '10.0.0.3', 'n-c'),
    // Its sidecar has not asked its engine yet who it is.
    d: status('d', '10.0.0.3'),
    e: status('e', '10.0.0.5', 'n-e'),
  };
  const { seen } = await lookAtCluster(peers, statuses);
  expect(seen.map(({ id, address }) => [id, address])).toEqual([
    ['b', '10.0.0.2'],
    ['c', '10.0.0.3'],
  ]);
  expect(peers.dropped.toSorted()).toEqual(['a', 'e']);
});
