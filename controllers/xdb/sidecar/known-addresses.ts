import type { EndpointTable } from '#member/endpoint-table.ts';
import type { RecordsView } from './records.ts';

/**
 * Where members are, also those whose sessions have ended: an engine may well go on without Consul, and is to be compared with or followed.
 *
 * @param own this member and its address now: after a restart it may have one that another had, which is gone then, and nobody follows oneself
 */
export function createKnownAddresses(last: EndpointTable | undefined, own: { member: string; address(): string }) {
  const known = new Map<string, { address: string; node: string }>();
  for (const peer of [...(last?.slaves ?? []), ...(last?.master == null ? [] : [last.master])])
    known.set(peer.id, { address: peer.address, node: '' });
  return {
    learn(view: Pick<RecordsView, 'statuses'>): void {
      for (const [id, { address, node }] of Object.entries(view.statuses)) known.set(id, { address, node });
    },
    of(member: string) {
      const found = known.get(member);
      return member !== own.member && found?.address === own.address() ? undefined : found;
    },
  };
}
