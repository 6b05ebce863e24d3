import type { EndpointTable } from '#member/endpoint-table.ts';
import type { RecordsView } from './records.ts';

/**
 * Pure: where the ports lead by these records: nobody takes writes while a change is under way.
 *
 * @param last what was known before: an address stays known when the session of its member ends, since an engine may well go on without Consul
 */
export function endpointOf(
  view: Pick<RecordsView, 'protocol' | 'statuses'>,
  own: { member: string; address: string },
  last: EndpointTable | undefined,
): EndpointTable | undefined {
  const lead = view.protocol.lead?.value;
  if (lead === undefined || (last !== undefined && lead.epoch < last.epoch)) return last;
  const known = new Map([...(last?.slaves ?? []), ...(last?.master == null ? [] : [last.master])].map(({ id, address }) => [id, address]));
  const addressOf = (id: string) => (id === own.member ? own.address : (view.statuses[id]?.address ?? known.get(id)));
  const { id } = lead.master;
  const address = addressOf(id);
  const slaves = lead.insync.flatMap((copy) => {
    const at = addressOf(copy.id);
    return at === undefined || view.statuses[copy.id]?.state !== 'running' ? [] : [{ id: copy.id, address: at }];
  });
  return { v: 1, epoch: lead.epoch, master: lead.state === 'open' && address !== undefined ? { id, address } : null, slaves };
}
