import type { EndpointTable } from '#member/endpoint-table.ts';
import type { RecordsView } from './records.ts';

/** Where members are, also those whose sessions have ended: an engine may well go on without Consul, and is to be compared with or followed. */
export function createKnownAddresses(last: EndpointTable | undefined) {
  const known = new Map<string, { address: string; node: string }>();
  for (const peer of [...(last?.slaves ?? []), ...(last?.master == null ? [] : [last.master])])
    known.set(peer.id, { address: peer.address, node: '' });
  return {
    learn(view: Pick<RecordsView, 'statuses'>): void {
      for (const [id, { address, node }] of Object.entries(view.statuses)) known.set(id, { address, node });
    },
    of: (member: string) => known.get(member),
  };
}
