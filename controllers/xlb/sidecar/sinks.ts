import { AppError, hasCode } from '#core/errors.ts';
import type { TcpDriver } from '#tcp/driver.ts';
import type { Sink } from './lane.ts';
import type { NginxClient } from './nginx-client.ts';
import type { TableContent } from './table.ts';

/** JSON of a `GroupTable`: what is pushed and what is saved are the same bytes. */
export function tableText(content: TableContent, version: number): string {
  return JSON.stringify({ ...content, version });
}

export function nginxSink(nginx: Pick<NginxClient, 'putGroup' | 'groups'>): Sink {
  return {
    name: 'nginx',
    put: (content, version) => nginx.putGroup(content.name, tableText(content, version)),
    async highestVersion() {
      const versions = (await nginx.groups()).flatMap((worker) => Object.values(worker.groups).map((group) => group.version));
      return Math.max(0, ...versions);
    },
  };
}

export function tcpSink(tcp: Pick<TcpDriver, 'applyTable' | 'readTables'>): Sink {
  return {
    name: 'haproxy',
    async put(content, version) {
      const peers = content.peers.map(({ id, address, port, weight, state }) => ({ id, address, port, weight, state }));
      try {
        // Whether HAProxy runs is said elsewhere; when it does not, it starts with this table.
        await tcp.applyTable({ backend: content.name, version, peers }, { allowEmpty: true });
        return 'live';
      } catch (error) {
        if (hasCode(error, 'conflict')) return 'stale';
        if (hasCode(error, 'not_found'))
          throw new AppError('unavailable', `HAProxy has no listener for ${content.name} yet`, { cause: error });
        throw error;
      }
    },
    async highestVersion() {
      return Math.max(0, ...(await tcp.readTables()).map((table) => table.version));
    },
  };
}
