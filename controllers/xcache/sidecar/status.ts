import type { EngineFacts } from '#xcache/engine/info.ts';
import type { Local, Step } from '#xcache/protocol/types.ts';
import type { CacheMemberStatus, LeadRecord } from '#xcache/schema.ts';
import { XCACHE_PORTS } from './config.ts';

export interface StatusInput {
  member: string;
  node: string;
  address: string;
  local: Local;
  facts: EngineFacts | undefined;
  lead: LeadRecord | undefined;
  endpointRev: number;
  specIndex: number;
  restartSerial: number;
  step: Step;
  sentence: string;
  time: Date;
}

/** Pure: what this member says of itself. */
export function statusOf(input: StatusInput): CacheMemberStatus {
  const { facts, lead, time, member } = input;
  const leads = lead?.master.id === member;
  return {
    ...{ v: 1, member, node: input.node, address: input.address, enginePort: XCACHE_PORTS.engine },
    ...{ role: roleOf(input), state: stateOf(input), sentence: input.sentence, rule: input.step.rule },
    ...(facts === undefined
      ? {}
      : { version: facts.version, run: facts.run, offset: facts.offset, usedBytes: facts.usedBytes, maxBytes: facts.maxBytes }),
    ...{ specIndex: input.specIndex, restartSerial: input.restartSerial, epoch: lead?.epoch ?? 0, rev: input.endpointRev },
    ...(input.local.stopping === undefined ? {} : { leaving: true }),
    beat: leads ? Math.floor(time.getTime() / 1000) : 0,
    time: time.toISOString(),
  };
}

function roleOf({ lead, member, facts }: StatusInput): CacheMemberStatus['role'] {
  if (lead === undefined || facts === undefined) return 'none';
  return lead.master.id === member ? 'master' : 'replica';
}

function stateOf({ local, lead, member, step }: StatusInput): CacheMemberStatus['state'] {
  const { engine } = local;
  if (step.do === 'wait' && step.alarm === true) return 'failed';
  if (engine.state === 'down' || engine.state === 'unreachable') return 'down';
  if (engine.state !== 'running' || lead === undefined) return 'starting';
  if (lead.master.id === member) return lead.state === 'open' && !engine.fenced ? 'running' : 'starting';
  return engine.role === 'replica' && engine.following === lead.master.id && engine.linkUp ? 'running' : 'catching_up';
}

/** What of a status is worth a write by itself. */
export function stillOf(status: CacheMemberStatus): string {
  const { time, offset, usedBytes, ...rest } = status;
  return JSON.stringify(rest);
}
