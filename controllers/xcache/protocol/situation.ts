import type { Copy, LeadRecord } from '#xcache/schema.ts';
import type { Budgets, Guards, LeadBody, Local, Records, RunningEngine, Step } from './types.ts';

/** Everything that a rule looks at. */
export interface Situation {
  me: string;
  records: Records;
  lead: LeadRecord;
  at: number;
  local: Local;
  engine: RunningEngine;
  budgets: Budgets;
  guards: Guards;
}

export function wait(rule: string, reason: string, alarm = false): Step {
  return alarm ? { do: 'wait', rule, reason, alarm } : { do: 'wait', rule, reason };
}

/** The record after this one: what is not named stays, an epoch begins with each master. */
export function change(lead: LeadRecord, fields: Partial<LeadBody>): LeadBody {
  const { v, rev, nonce, ...present } = lead;
  return { ...present, ...fields };
}

/** All who may hold everything that was acknowledged, but for the master itself. */
export function copiesOf(lead: LeadRecord): Copy[] {
  const all = [...lead.insync, ...(lead.prev === null ? [] : [lead.prev])];
  return all.filter((copy, index) => copy.id !== lead.master.id && all.findIndex(({ id }) => id === copy.id) === index);
}

/** A master that stands down takes no writes. One that was still waiting for its predecessor to be fenced cannot say that of the predecessor. */
export function isClear(lead: LeadRecord): boolean {
  return lead.state === 'open' || lead.state === 'handing' || lead.clear;
}

/** Whether a copy is still what the record means: alive, or unknown (it did not answer), or gone (its engine was started anew). */
export function stateOf(
  copy: Copy,
  { local, budgets, guards }: Pick<Situation, 'local' | 'budgets' | 'guards'>,
): 'alive' | 'unknown' | 'gone' {
  const peer = local.peers[copy.id];
  if (peer?.seen === undefined) return 'unknown';
  if (guards.runs && peer.seen.run !== copy.run) return 'gone';
  return peer.silentMs < budgets.silentMs ? 'alive' : 'unknown';
}

/** Silent for real commands from here, and for a second vantage point: what its own sidecar writes to Consul, or another host. */
export function masterGone({ lead, records, local, engine, budgets }: Situation): boolean {
  const { id } = lead.master;
  if (engine.linkUp && engine.following === id) return false;
  if ((local.peers[id]?.silentMs ?? Number.POSITIVE_INFINITY) < budgets.silentMs) return false;
  return !records.present.includes(id) || (records.beatAgeMs[id] ?? 0) >= budgets.beatMs || local.hostDead;
}

export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
