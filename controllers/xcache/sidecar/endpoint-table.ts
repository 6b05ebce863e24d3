import type { EndpointTable } from '#member/endpoint-table.ts';
import type { Local } from '#xcache/protocol/types.ts';
import type { LeadRecord } from '#xcache/schema.ts';
import type { RecordsView } from './records.ts';

/** Milliseconds after which a new master that was not seen to take writes is believed to. */
const BELIEVED_MS = 1500;

/**
 * Pure: the master that the record names takes writes. Between the record and the engine that acts by it lies a moment in which it refuses them: who is led there then hears a refusal, which
 * clients take for an answer.
 */
export function takesWrites(
  lead: LeadRecord,
  { me, engine, peers, stateAgeMs }: Pick<Local, 'me' | 'engine' | 'peers' | 'stateAgeMs'>,
): boolean {
  if (lead.state !== 'open') return false;
  if (stateAgeMs >= BELIEVED_MS) return true;
  if (lead.master.id === me) return engine.state === 'running' && engine.role === 'master' && !engine.fenced;
  const seen = peers[lead.master.id]?.seen;
  return seen !== undefined && seen.run === lead.master.run && seen.role === 'master' && !seen.fenced;
}

/**
 * Pure: where the ports lead by these records: nobody takes writes while a change is under way.
 *
 * @param takes the master takes writes, see {@link takesWrites}; where it was led to in this epoch it is led to still
 * @param last what was known before: an address stays known when the session of its member ends, since an engine may well go on without Consul
 */
export function endpointOf(
  view: Pick<RecordsView, 'protocol' | 'statuses'>,
  own: { member: string; address: string; takes: boolean },
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
  const stays = last?.epoch === lead.epoch && last.master?.id === id;
  const leads = lead.state === 'open' && (own.takes || stays);
  return { v: 1, epoch: lead.epoch, master: leads && address !== undefined ? { id, address } : null, slaves };
}
