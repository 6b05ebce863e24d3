import type { EndpointTable } from '#member/endpoint-table.ts';
import type { RecordsView } from './records.ts';

/** A slave that is further behind is asked only when there is no better one, in seconds. */
const FAR_BEHIND_SECONDS = 60;

/**
 * Pure: where the ports lead by these records.
 *
 * @param last what was known before: an address stays known when the session of its member ends, since an engine may well go on without Consul
 */
export function endpointOf(
  view: Pick<RecordsView, 'spec' | 'protocol' | 'statuses'>,
  own: { member: string; address: string },
  last: EndpointTable | undefined,
): EndpointTable | undefined {
  const sync = view.protocol.sync?.value;
  if (sync === undefined || (last !== undefined && sync.epoch < last.epoch)) return last;
  const known = new Map(
    [...(last?.slaves ?? []), ...(last?.master === null || last === undefined ? [] : [last.master])].map((p) => [p.id, p]),
  );
  const addressOf = (id: string) => (id === own.member ? own.address : (view.statuses[id]?.address ?? known.get(id)?.address));
  const { id } = sync.leader;
  const address = addressOf(id);
  const master = sync.state === 'open' && address !== undefined ? { id, address } : null;
  // Behind on purpose: whoever reads would see the past.
  const delayed = new Set(view.spec.value.members.filter(({ delaySeconds }) => delaySeconds > 0).map((member) => member.id));
  const following = view.protocol.members.filter((member) => {
    const status = view.statuses[member];
    return member !== id && !delayed.has(member) && status?.state === 'running' && view.protocol.data[member]?.value.ready === sync.epoch;
  });
  const near = following.filter((member) => (view.statuses[member]?.lagSeconds ?? 0) <= FAR_BEHIND_SECONDS);
  const slaves = (near.length > 0 ? near : following).flatMap((member) => {
    const at = addressOf(member);
    return at === undefined ? [] : [{ id: member, address: at }];
  });
  return { v: 1, epoch: sync.epoch, master, slaves };
}
