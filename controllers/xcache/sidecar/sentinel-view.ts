import { createHash } from 'node:crypto';
import type { SentinelView } from '#xcache/sentinel/commands.ts';
import { XCACHE_PORTS } from './config.ts';
import type { RecordsView } from './records.ts';

/** Id of a member as a Sentinel: forty hexadecimal digits, the same after a restart. */
export function sentinelId(cache: string, member: string): string {
  return createHash('sha1').update(`${cache}/${member}`).digest('hex');
}

/**
 * Pure: what the records say, for clients that ask Sentinels. Engines are named, not endpoints: such clients speak to the master itself.
 *
 * @param addressOf where members were last known to be
 * @param takes the master of this epoch was seen to take writes
 */
export function sentinelView(
  view: Pick<RecordsView, 'spec' | 'protocol' | 'statuses'>,
  addressOf: (member: string) => string | undefined,
  takes: boolean,
): SentinelView | undefined {
  const lead = view.protocol.lead?.value;
  if (lead === undefined) return undefined;
  const { value: spec } = view.spec;
  const port = XCACHE_PORTS.engine;
  const address = addressOf(lead.master.id);
  const located = view.protocol.members.flatMap((id) => {
    const at = addressOf(id);
    return at === undefined ? [] : [{ id, address: at }];
  });
  return {
    ...{ name: spec.name, epoch: lead.epoch, quorum: Math.max(1, spec.minReplicas) },
    master:
      lead.state !== 'open' || !takes || address === undefined ? undefined : { id: lead.master.id, address, port, run: lead.master.run },
    replicas: located
      .filter(({ id }) => id !== lead.master.id)
      .map(({ id, address: at }) => {
        const status = view.statuses[id];
        const copy = lead.insync.find((one) => one.id === id);
        return {
          id,
          address: at,
          port,
          run: copy?.run ?? status?.run ?? '',
          linkUp: copy !== undefined && status?.state === 'running',
          offset: status?.offset ?? 0,
        };
      }),
    sentinels: located.map(({ id, address: at }) => ({ id, address: at, port: XCACHE_PORTS.sentinel, run: sentinelId(spec.name, id) })),
  };
}
