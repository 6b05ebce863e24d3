import { randomUUID } from 'node:crypto';
import { AppError } from '#core/errors.ts';
import { expectMember, hostOfMember } from '#pool/service-living.ts';
import { orderMove } from '#xcache/execute.ts';
import type { CacheRecords } from '#xcache/observe.ts';
import type { CacheDeps } from '#xcache/operations/deps.ts';
import { livingRecords } from '#xcache/operations/living.ts';
import type { MoveOrder } from '#xcache/schema.ts';

/**
 * Orders a planned change of the master: nothing is lost. A target that is down or not in sync is refused before anything is done.
 *
 * @throws AppError `conflict` saying what stands against it
 */
export async function orderSwitchover(deps: CacheDeps, name: string, to: string | undefined): Promise<MoveOrder> {
  const records = await livingRecords(deps, name);
  if (to !== undefined) expectMember(records.spec.value, to);
  const target = refuseUnfit(records, to);
  const order: MoveOrder = { v: 1, id: randomUUID(), ...(to === undefined ? {} : { target }), state: 'asked' };
  await orderMove(deps, name, order);
  const sentence = `${to ?? 'a replica'} is to lead ${name}`;
  await deps.events.record({ object: `cache/${name}`, kind: 'info', reason: 'switchover_asked', sentence });
  deps.markDirty(name);
  return order;
}

/** How far an order has come. @throws AppError `not_found` when another one has taken its place */
export async function readMove(deps: CacheDeps, name: string, id: string): Promise<MoveOrder & { sentence: string }> {
  const { move, lead } = await livingRecords(deps, name);
  if (move?.id !== id)
    throw new AppError('not_found', `the order ${id.slice(0, 60)} of ${name} is not the last one`, { hint: `cache events ${name}` });
  const who = lead?.master.id ?? 'nobody';
  const sentences = {
    asked: lead?.state === 'handing' ? `writes wait while ${lead.target?.id ?? 'a replica'} takes over` : 'the order is given',
    done: `${who} leads (epoch ${lead?.epoch ?? '?'}), and nothing was lost`,
    failed: `${who} leads: ${move.error ?? 'the order was not carried out'}`,
  };
  return { ...move, sentence: sentences[move.state] };
}

/**
 * Ends the master's container at once, as a power cut would, so that a replica takes over. What had not been sent to a replica is lost: milliseconds.
 *
 * @throws AppError `conflict` when no replica could take over
 */
export async function forceFailover(deps: CacheDeps, name: string): Promise<{ epoch: number; master: string; sentence: string }> {
  const records = await livingRecords(deps, name);
  const target = refuseUnfit(records, undefined);
  const master = records.lead?.master.id ?? '';
  const host = await hostOfMember(deps, records, master);
  const sentence = `${master} is ended, and ${target} is to take over ${name}`;
  await deps.events.record({ object: `cache/${name}`, kind: 'warning', reason: 'failover_asked', sentence });
  await deps.agent(host).stop(master, 0);
  deps.markDirty(name);
  return { epoch: records.lead?.epoch ?? 0, master, sentence };
}

/** @returns a member that could lead */
function refuseUnfit({ lead, sidecars, spec }: CacheRecords, to: string | undefined): string {
  const { name, mode, replicas } = spec.value;
  const hint = `cache topology ${name}`;
  if (mode === 'cluster')
    throw new AppError(
      'not_implemented',
      `${name} is a cluster: its engines decide who leads, and masters are spread again by themselves`,
      { hint },
    );
  if (replicas === 0) throw new AppError('conflict', `${name} has one member`, { hint: `only a replicated cache can change its master` });
  if (lead === undefined) throw new AppError('conflict', `${name} is being made`, { hint: `cache status ${name}` });
  if (to === lead.master.id) throw new AppError('conflict', `${to} leads already`, { hint });
  if (lead.state !== 'open') throw new AppError('conflict', `the master of ${name} is changing just now`, { hint });
  const insync = lead.insync.map(({ id }) => id).filter((id) => id !== lead.master.id);
  const heir = to ?? insync.find((id) => sidecars.some(({ member, state }) => member === id && state === 'running'));
  const said = sidecars.find(({ member }) => member === heir);
  if (heir === undefined) throw new AppError('conflict', `no replica of ${name} is in sync`, { hint });
  if (said === undefined) throw new AppError('conflict', `${heir} is down: it has not been heard of`, { hint: `${hint}; xcaas nodes` });
  if (!insync.includes(heir) || said.state !== 'running')
    throw new AppError('conflict', `${heir} is not in sync: ${said.sentence}`, { hint });
  return heir;
}
