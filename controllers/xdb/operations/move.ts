import { AppError } from '#core/errors.ts';
import { expectMember } from '#pool/service-living.ts';
import { newOrderId, orderMove } from '#xdb/execute.ts';
import type { DbRecords } from '#xdb/observe.ts';
import type { DbDeps } from '#xdb/operations/deps.ts';
import { livingRecords } from '#xdb/operations/living.ts';
import type { MoveOrder } from '#xdb/schema.ts';
import { dbKeys } from '#xdb/store.ts';

/** A slave that is further behind than this, in seconds, is not switched over to: writes would be held for as long. */
export const MAX_LAG_SECONDS = 5;

/**
 * Orders a planned change of the master. The order is carried out by the sidecars; a target that is down or lags is refused before anything is done.
 *
 * @param at not before this time, RFC 3339
 * @throws AppError `conflict` saying what stands against it, and by how much
 */
export async function orderSwitchover(
  deps: DbDeps,
  name: string,
  { to, at }: { to?: string | undefined; at?: string | undefined },
): Promise<MoveOrder> {
  const records = await livingRecords(deps, name);
  if (to !== undefined) expectMember(records.spec.value, to);
  const due = at === undefined ? undefined : new Date(at);
  if (due !== undefined && due <= deps.now())
    throw new AppError('invalid', `${at} is over`, { hint: 'give a later time, or leave --at away' });
  const target = due === undefined ? refuseUnfit(records, to) : (to ?? records.sync?.sync?.id);
  const order: MoveOrder = {
    v: 1,
    id: newOrderId(),
    kind: 'switchover',
    ...(target === undefined ? {} : { target }),
    ...(due === undefined ? {} : { at: due.toISOString() }),
    state: 'asked',
  };
  await give(deps, name, order, due === undefined ? `${target} is to lead ${name}` : `a switchover of ${name} is to be at ${order.at}`);
  return order;
}

/**
 * Lets the slave take over without asking the leader. It loses nothing that was acknowledged, and is refused where it would.
 *
 * @throws AppError `conflict` when no slave holds everything or it does not live
 */
export async function orderFailover(deps: DbDeps, name: string): Promise<MoveOrder> {
  const records = await livingRecords(deps, name);
  const target = refuseUnfit(records, undefined);
  const order: MoveOrder = { v: 1, id: newOrderId(), kind: 'failover', target, state: 'asked' };
  await give(deps, name, order, `${target} is to take over ${name}`);
  return order;
}

/** Calls an order off that is not carried out yet. @throws AppError `not_found`, `conflict` when it is under way */
export async function cancelMove(deps: DbDeps, name: string): Promise<{ sentence: string }> {
  await livingRecords(deps, name);
  await deps.store.moves.update(dbKeys(name).move, (present) => {
    if (present === undefined || present.state === 'done' || present.state === 'failed')
      throw new AppError('not_found', `no switchover of ${name} is ordered`, { hint: `db status ${name}` });
    if (present.state === 'blocked' || present.at === undefined || Date.parse(present.at) <= deps.now().getTime())
      throw new AppError('conflict', `the ${present.kind} of ${name} is under way`, { hint: `db status ${name}` });
    return { ...present, state: 'failed', error: 'it was called off' };
  });
  const sentence = `the switchover of ${name} is called off`;
  await deps.events.record({ object: `db/${name}`, kind: 'info', reason: 'switchover_cancelled', sentence });
  return { sentence };
}

/** How far an order has come. @throws AppError `not_found` when another one has taken its place */
export async function readMove(deps: DbDeps, name: string, id: string): Promise<MoveOrder & { sentence: string }> {
  const records = await livingRecords(deps, name);
  const { move } = records;
  if (move?.id !== id)
    throw new AppError('not_found', `the order ${id.slice(0, 60)} of ${name} is not the last one`, { hint: `db events ${name}` });
  return { ...move, sentence: sayMove(move, records) };
}

function sayMove(move: MoveOrder, { sync }: DbRecords): string {
  const target = move.target ?? 'the slave';
  switch (move.state) {
    case 'asked':
      return move.at === undefined ? `${target} is to lead: the order is given` : `${target} is to lead at ${move.at}`;
    case 'blocked':
      return `writes are held until ${target} leads`;
    case 'failed':
      return `${sync?.leader.id ?? 'nobody'} leads: ${move.error ?? 'the order was not carried out'}`;
    case 'done': {
      const held = move.blockedMs === undefined ? '' : `; writes were held for ${Math.round(move.blockedMs)} ms`;
      return `${sync?.leader.id ?? target} leads (epoch ${sync?.epoch ?? '?'})${held}`;
    }
  }
}

async function give(deps: DbDeps, name: string, order: MoveOrder, sentence: string): Promise<void> {
  await orderMove(deps, name, order);
  await deps.events.record({ object: `db/${name}`, kind: 'info', reason: `${order.kind}_asked`, sentence });
  deps.markDirty(name);
}

/** @returns the member that is to lead */
function refuseUnfit({ sync, sidecars, spec }: DbRecords, to: string | undefined): string {
  const { name } = spec.value;
  const hint = `db topology ${name}`;
  if (spec.value.role === 'slave')
    throw new AppError('conflict', `${name} follows another database`, { hint: `db cutover ${name} lets it take writes` });
  if (spec.value.role === 'single') throw new AppError('conflict', `${name} has one member`, { hint: 'only a pair can change its master' });
  if (sync === undefined) throw new AppError('conflict', `${name} is being made`, { hint: `db status ${name}` });
  if (to === sync.leader.id) throw new AppError('conflict', `${to} leads already`, { hint });
  if (sync.state !== 'open') throw new AppError('conflict', `${sync.leader.id} is taking over just now`, { hint });
  const heir = sync.sync?.id;
  const asked = to ?? heir;
  const said = sidecars.find((status) => status.member === asked);
  if (asked !== undefined && said === undefined) {
    throw new AppError('conflict', `${asked} is down: it has not been heard of`, { hint: `${hint}; xcaas nodes` });
  }
  if (heir === undefined || (to !== undefined && to !== heir)) {
    const who = to ?? 'a slave';
    const lag = said?.lagSeconds == null ? '' : `, it is ${said.lagSeconds} s behind`;
    const why = heir === undefined ? `nobody but ${sync.leader.id} holds everything` : `${heir} is the slave that holds everything`;
    throw new AppError('conflict', `${who} cannot lead: ${why}${lag}${said === undefined ? '' : ` (${said.sentence})`}`, { hint });
  }
  if (said !== undefined && (said.state !== 'running' || said.role === 'none')) {
    throw new AppError('conflict', `${heir} is ${said.state.replace('_', ' ')}: ${said.sentence}`, { hint });
  }
  if (said?.lagSeconds != null && said.lagSeconds > MAX_LAG_SECONDS) {
    throw new AppError('conflict', `${heir} is ${said.lagSeconds} s behind: writes would be held for as long`, {
      hint: `try again when it is at most ${MAX_LAG_SECONDS} s behind; ${hint}`,
    });
  }
  return heir;
}
