import type { Copy } from '#xcache/schema.ts';
import { handed, names } from './lead.ts';
import { change, copiesOf, masterGone, type Situation, seconds, stateOf, wait } from './situation.ts';
import { type Step, sameCopy } from './types.ts';

/** Rules of a member that the record does not name as its master. */
export function following(s: Situation): Step {
  const { engine, lead, me, records, local } = s;
  // D2: whoever reads that another leads takes no writes, and talks to nobody who thinks it does.
  if (!engine.fenced) return { rule: 'D2', do: 'fence', cut: true, reason: `${lead.master.id} leads, not ${me}: ${me} takes no writes` };
  const own: Copy = { id: me, run: engine.run };
  if (lead.state === 'handing' && sameCopy(lead.target, own) && engine.role === 'master') return handed(s, own);
  if (local.stopping !== undefined) return withdrawing(s) ?? { rule: 'E3', do: 'leave', reason: `${me} is to end` };
  if (records.paused) return follow(s);
  if (lead.state === 'vacant')
    return isCopy(s, own)
      ? elect(s)
      : (lastResort(s) ?? wait('J2', `${lead.master.id} has stood down; ${names(copiesOf(lead)) || 'nobody known'} is to take over`));
  if (masterGone(s)) {
    if (isCopy(s, own)) return elect(s);
    const resort = lastResort(s);
    if (resort !== undefined) return resort;
  }
  return follow(s);
}

/** E4: a master that still counts on a replica which ends refuses writes until it has noticed. It is told first, and waited for as long as it takes writes. */
function withdrawing({ lead, local, me, budgets }: Situation): Step | undefined {
  const master = local.peers[lead.master.id];
  if (lead.state !== 'open' || master?.seen === undefined || master.seen.fenced || master.seen.role !== 'master') return undefined;
  if (master.silentMs >= budgets.silentMs || local.consulAgeMs > budgets.readGraceMs) return undefined;
  if ((local.stopping?.ageMs ?? 0) >= budgets.withdrawMs) return undefined;
  const isCounted = lead.insync.some(({ id }) => id === me) || master.seen.minReplicas > lead.insync.length;
  return isCounted ? wait('E4', `${me} is to end once ${lead.master.id} does not count on it any more`) : undefined;
}

function isCopy({ lead, guards }: Situation, own: Copy): boolean {
  if (!guards.insyncOnly) return true;
  return copiesOf(lead).some((copy) => copy.id === own.id && (!guards.runs || copy.run === own.run));
}

/** P1: of all who may, the one with the most data. Offsets count only when they cannot grow any more. */
function elect(s: Situation): Step {
  const { lead, local, engine, me, at, budgets } = s;
  const rivals = copiesOf(lead).filter((copy) => copy.id !== me && stateOf(copy, s) === 'alive');
  const isVacant = lead.state === 'vacant';
  const age = isVacant ? local.stateAgeMs : local.goneAgeMs;
  for (const rival of rivals) {
    const seen = local.peers[rival.id]?.seen;
    if (seen === undefined || age >= budgets.electMs) continue;
    if (seen.linkUp) return wait('P1', `${lead.master.id} is gone: ${me} waits until ${rival.id} has noticed`);
    if (seen.offset > engine.offset || (seen.offset === engine.offset && rival.id < me))
      return wait('P1', `${lead.master.id} is gone: ${rival.id} has more, and is to take over`);
  }
  const next = change(lead, {
    epoch: lead.epoch + 1,
    master: { id: me, run: engine.run },
    insync: [...copiesOf(lead), ...(isVacant ? [] : [lead.master])].filter(({ id }) => id !== me),
    prev: unfenced(lead),
    target: null,
    state: 'promoting',
    clear: isVacant && lead.clear,
  });
  const why = isVacant ? 'has stood down' : `is gone for ${seconds(age)}`;
  return { rule: 'P1', do: 'write', at, next, reason: `${lead.master.id} ${why}: ${me}, which has the most, takes over` };
}

/** Who may still be taking writes. A master that was promoted and took none yet is not the one to wait for. */
function unfenced(lead: Situation['lead']): Copy | null {
  if (lead.state === 'vacant') return null;
  return lead.state === 'promoting' && !lead.clear ? lead.prev : lead.master;
}

/** P4: all who held a copy are gone for good, or for too long: a cache that lost its data is better than none. The first of those who are there begins. */
function lastResort(s: Situation): Step | undefined {
  const { lead, local, records, me, at, engine, budgets } = s;
  const age = lead.state === 'vacant' ? local.stateAgeMs : local.goneAgeMs;
  if (age < budgets.lastResortMs) return undefined;
  const holders = [lead.master, ...copiesOf(lead)];
  if (holders.some((copy) => copy.id !== me && stateOf(copy, s) === 'alive')) return undefined;
  const there = records.members.filter((id) => id === me || (local.peers[id]?.silentMs ?? Number.POSITIVE_INFINITY) < budgets.silentMs);
  const most = there.toSorted((a, b) => offsetOf(s, b) - offsetOf(s, a))[0];
  if (most !== me) return wait('P4', `nobody who holds a copy is there: ${most} is to begin with what it has`);
  const next = change(lead, {
    epoch: lead.epoch + 1,
    master: { id: me, run: engine.run },
    insync: [],
    prev: null,
    target: null,
    state: 'promoting',
    clear: false,
  });
  return {
    rule: 'P4',
    do: 'write',
    at,
    next,
    reason: `nobody who holds a copy came back within ${seconds(age)}: ${me} begins with what it has`,
  };
}

function offsetOf({ me, engine, local }: Situation, id: string): number {
  return id === me ? engine.offset : (local.peers[id]?.seen?.offset ?? -1);
}

/** J1 */
function follow({ lead, engine, me }: Situation): Step {
  const master = lead.master.id;
  if (engine.role !== 'replica' || engine.following !== master)
    return { rule: 'J1', do: 'follow', member: master, reason: `${me} follows ${master}` };
  return wait('idle', engine.linkUp ? `${me} follows ${master}` : `${me} asks ${master} for what it lacks`);
}
