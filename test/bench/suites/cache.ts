import { memberImage } from '#test/xcache-lab.ts';
import { type ClusterPart, cluster } from '../cache/cluster.ts';
import { endpoint } from '../cache/endpoint.ts';
import { type PairPart, pair } from '../cache/pair.ts';
import { create } from '../cache/pool.ts';
import type { Suite } from '../suite.ts';

const PAIR: readonly PairPart[] = ['switchover', 'crash', 'freeze'];
const CLUSTER: readonly ClusterPart[] = ['cluster-crash', 'cluster-freeze', 'reshard', 'heal'];

/** A cache. What needs no hosts is measured on members in one engine, the rest on a pool of three. */
export const cache: Suite = {
  names: [...PAIR, ...CLUSTER, 'endpoint', 'create'],
  image: memberImage,
  programs: { valkey: ['valkey-server', '--version'], haproxy: ['haproxy', '-v'] },
  groups({ plan, only, say }) {
    const ofPair = new Set(PAIR.filter((part) => only.has(part)));
    const ofCluster = new Set(CLUSTER.filter((part) => only.has(part)));
    return [
      { name: 'master and replica in one engine', wanted: ofPair.size > 0, measure: () => pair(plan, say, ofPair) },
      { name: 'the endpoint', wanted: only.has('endpoint'), measure: () => endpoint(plan, say) },
      { name: 'a cluster of six in one engine', wanted: ofCluster.size > 0, measure: () => cluster(plan, say, ofCluster) },
      { name: 'a pool of three', wanted: only.has('create'), measure: () => create(plan, say) },
    ];
  },
};
