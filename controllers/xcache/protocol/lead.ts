import type { Copy } from '#xcache/schema.ts';
import { change, copiesOf, isClear, type Situation, seconds, stateOf, wait } from './situation.ts';
import { type Attached, type Step, sameCopy } from './types.ts';

/** Rules of the member that the record names, with the very engine run that it names. */
export function leading(s: Situation): Step {
  switch (s.lead.state) {
    case 'open':
      return leaseStep(s) ?? open(s);
    case 'promoting':
      return promoting(s);
    case 'handing':
      // Until it has handed over it takes writes, from whoever speaks to the engine itself.
      return leaseStep(s) ?? handing(s);
    case 'vacant':
      return takeBack(s);
  }
}

function open(s: Situation): Step {
  const { engine, me, local, budgets } = s;
  if (engine.role !== 'master')
    return { rule: 'D3', do: 'detach', reason: `the record names ${me}, which follows somebody: it stops that` };
  // What changes the record, and what rests on how it is now, needs a read of now.
  if (local.consulAgeMs > budgets.readGraceMs) return wait('L2', `Consul is silent, and all replicas acknowledge: ${me} goes on`);
  if (local.stopping !== undefined) return ending(s);
  return begun(s) ?? lost(s) ?? opened(s) ?? gained(s) ?? idle(s);
}

/** L1: nobody can have taken over while the record was read just now, or while all who could have acknowledged just now. */
function leaseStep(s: Situation): Step | undefined {
  const { engine, me, local, budgets, guards } = s;
  if (!guards.lease || local.consulAgeMs <= budgets.readGraceMs) return undefined;
  const missing = mayTakeOver(s).filter((id) => !acknowledges(engine.replicas, id, budgets.ackMs));
  if (missing.length === 0) return undefined;
  const why = `Consul has not answered for ${seconds(local.consulAgeMs)} and ${missing.join(' and ')} may have taken over`;
  return engine.fenced
    ? wait('L1', `${me} takes no writes: ${why}`)
    : { rule: 'L1', do: 'fence', cut: false, reason: `${me} takes no more writes: ${why}` };
}

/** Members on the record as it was read, and on the one that this member may have written since. */
function mayTakeOver({ lead, at, local }: Situation): string[] {
  const doubted = local.doubt?.at === at ? local.doubt.members : [];
  return [...new Set([...lead.insync.map(({ id }) => id), ...doubted])];
}

function acknowledges(replicas: readonly Attached[], id: string, withinMs: number): boolean {
  return replicas.some((replica) => replica.id === id && replica.ackMs <= withinMs);
}

/** Who may be handed over to. */
function heirs({ lead, records, engine, budgets }: Situation): Copy[] {
  return lead.insync.filter(({ id }) => !records.leaving.includes(id) && acknowledges(engine.replicas, id, budgets.ackMs));
}

/** W1: an ordered change begins. */
function begun(s: Situation): Step | undefined {
  const { records, lead, at, engine, me } = s;
  const move = records.move;
  if (move === undefined || move.value.state !== 'asked') return undefined;
  if (move.value.target === me)
    return { rule: 'W5', do: 'move', state: 'done', at: move.index, reason: `${me} is the master, as was asked` };
  const fit = heirs(s);
  const target = move.value.target === undefined ? best(fit, engine.replicas) : fit.find(({ id }) => id === move.value.target);
  if (target === undefined) {
    const error = move.value.target === undefined ? 'no replica is in sync' : `${move.value.target} is not in sync`;
    return { rule: 'W5', do: 'move', state: 'failed', error, at: move.index, reason: `the change of master fails: ${error}` };
  }
  // Written down first: the order is then over when that one leads, whoever looks.
  if (move.value.target === undefined)
    return {
      rule: 'W0',
      do: 'move',
      state: 'asked',
      target: target.id,
      at: move.index,
      reason: `${target.id} is the best replica to hand over to`,
    };
  return {
    rule: 'W1',
    do: 'write',
    at,
    next: change(lead, { state: 'handing', target }),
    reason: `${me} hands over to ${target.id}, as was asked`,
  };
}

function best(copies: readonly Copy[], replicas: readonly Attached[]): Copy | undefined {
  const offset = (copy: Copy) => replicas.find(({ id }) => id === copy.id)?.offset ?? -1;
  return copies.toSorted((a, b) => offset(b) - offset(a))[0];
}

/** F1: a replica that does not acknowledge, or is to end, is taken off the record first; only then may writes go on without it. */
function lost({ lead, records, engine, budgets, at, me }: Situation): Step | undefined {
  const ends = lead.insync.filter(({ id }) => records.leaving.includes(id));
  const silent = lead.insync.filter((copy) => !ends.includes(copy) && !acknowledges(engine.replicas, copy.id, budgets.lostMs));
  const gone = [...ends, ...silent];
  if (gone.length === 0) return undefined;
  const why = [
    ...(ends.length === 0 ? [] : [`${names(ends)} is to end`]),
    ...(silent.length === 0 ? [] : [`${names(silent)} does not acknowledge any more`]),
  ];
  const insync = lead.insync.filter((copy) => !gone.includes(copy));
  return {
    rule: 'F1',
    do: 'write',
    at,
    next: change(lead, { insync }),
    reason: `${why.join('; ')}: ${me} goes on without, and it may not take over`,
  };
}

/** O1: acknowledgements are asked for before anybody is put on the record, and no longer than until he is off it. */
function opened(s: Situation): Step | undefined {
  const { lead, engine, records, me } = s;
  const counted = new Set([...withNear(s).map(({ id }) => id), ...mayTakeOver(s)]);
  const minReplicas = Math.min(records.minReplicas, counted.size);
  if (!engine.fenced && engine.minReplicas === minReplicas) return undefined;
  const company = lead.insync.length === 0 ? 'alone' : `with ${names(lead.insync)} in sync`;
  return { rule: 'O1', do: 'open', minReplicas, reason: `${me} takes writes ${company}, ${minReplicas} must acknowledge` };
}

/** B1: a replica that follows closely may take over from now on. */
function gained(s: Situation): Step | undefined {
  const { lead, at } = s;
  const insync = withNear(s);
  const fresh = insync.filter((copy) => !lead.insync.some((known) => sameCopy(known, copy)));
  if (fresh.length === 0) return undefined;
  const reason = `${names(fresh)} follows closely: it may take over from now on`;
  return { rule: 'B1', do: 'write', at, next: change(lead, { insync }), reason };
}

/** Who is on the record, and who could be. */
function withNear({ lead, engine, local, records, budgets }: Situation): Copy[] {
  const near = engine.replicas.flatMap((replica) => {
    const peer = local.peers[replica.id];
    const seen = peer?.seen;
    // Its own word counts as well: a connection of a run that has ended looks alive from here for a while.
    if (seen === undefined || peer?.silentMs !== 0 || seen.role !== 'replica' || !seen.linkUp) return [];
    if (!records.members.includes(replica.id) || records.leaving.includes(replica.id)) return [];
    if (replica.ackMs > budgets.ackMs || engine.offset - replica.offset > budgets.nearBytes) return [];
    return [{ id: replica.id, run: seen.run }];
  });
  return [...lead.insync.filter(({ id }) => !near.some((copy) => copy.id === id)), ...near];
}

function idle({ lead, me }: Situation): Step {
  return wait(
    'idle',
    lead.insync.length === 0 ? `${me} is the master, with no replica in sync` : `${me} is the master, ${names(lead.insync)} in sync`,
  );
}

/** E1: a master that is to end hands over first; where nobody can take over, it just ends. */
function ending(s: Situation): Step {
  const { lead, engine, at, me, budgets, local } = s;
  const target = best(heirs(s), engine.replicas);
  if (target !== undefined && (local.stopping?.ageMs ?? 0) < budgets.leaveMs)
    return {
      rule: 'E1',
      do: 'write',
      at,
      next: change(lead, { state: 'handing', target }),
      reason: `${me} is to end and hands over to ${target.id}`,
    };
  return { rule: 'E2', do: 'leave', reason: `${me} is to end, and nobody is there to hand over to` };
}

/** P2, P3: the promoted one follows nobody, and takes writes when the master before takes none. */
function promoting(s: Situation): Step {
  const { engine, lead, me, local, budgets, guards, at } = s;
  if (!engine.fenced) return { rule: 'P2', do: 'fence', cut: false, reason: `${me} is promoted and takes no writes yet` };
  if (engine.role !== 'master' || engine.following !== undefined)
    return { rule: 'P2', do: 'detach', reason: `${me} is promoted: it follows nobody any more` };
  const clear = lead.clear || isFenced(s) || local.stateAgeMs >= budgets.openAfterMs || !guards.waitForFence;
  if (!clear) return wait('P3', `${me} is promoted and waits until ${lead.prev?.id ?? 'the master before'} has fenced itself`);
  const next = change(lead, { state: 'open', prev: null, insync: [], clear: false });
  return { rule: 'P3', do: 'write', at, next, reason: `${me} takes over: ${lead.prev?.id ?? 'the master before'} takes no more writes` };
}

/** The master before answers and refuses writes, or is another run. */
function isFenced({ lead, local }: Situation): boolean {
  const peer = lead.prev === null ? undefined : local.peers[lead.prev.id];
  if (lead.prev === null || peer?.seen === undefined || peer.silentMs > 0) return false;
  return peer.seen.run !== lead.prev.run || peer.seen.fenced || peer.seen.role === 'replica';
}

/**
 * W1–W4: FAILOVER was or is to be asked of the engine. An endpoint that still leads here when clients are cut leads them back, to an engine that refuses their writes by then: each
 * member says first that its own does not.
 */
function handing(s: Situation): Step {
  const { lead, engine, local, me, at, budgets } = s;
  const target = lead.target;
  if (engine.role === 'replica') {
    const peer = target === null ? undefined : local.peers[target.id];
    if (target !== null && peer?.seen?.role === 'master' && peer.seen.run === target.run && peer.silentMs === 0) return handed(s, target);
    // It takes no write before the record names it, so nothing is missing here: whoever writes the record first leads.
    const isGone = target === null || stateOf(target, s) === 'gone';
    if (isGone || local.stateAgeMs >= budgets.handMs)
      return {
        rule: 'W4',
        do: 'detach',
        reason: `${target?.id ?? 'whoever was to take over'} ${isGone ? 'was started anew' : 'does not say that it took over'}: ${me} takes back what it handed over`,
      };
    return wait('W3', `${me} has handed over to ${target?.id ?? 'somebody'}, which is to say so`);
  }
  if (engine.failingOver) return wait('W2', `${me} hands over to ${target?.id}: it catches up`);
  if (target !== null && local.handoverTriedRev !== lead.rev && local.stateAgeMs < budgets.handMs) {
    const unheard = [...(local.endpointRev < lead.rev ? [me] : []), ...s.records.unheard.filter((id) => id !== me)];
    if (unheard.length > 0 && local.stateAgeMs < budgets.heardMs)
      return wait('W1', `${me} hands over to ${target.id} once no endpoint leads to ${me}: ${unheard.join(', ')} may still do`);
    return {
      rule: 'W2',
      do: 'handover',
      target: target.id,
      reason: `${me} hands over to ${target.id}: writes wait until it has everything`,
    };
  }
  const move = s.records.move;
  if (move?.value.state === 'asked') {
    const error = `${target?.id ?? 'the target'} did not catch up in time`;
    return { rule: 'W4', do: 'move', state: 'failed', error, at: move.index, reason: `the change of master fails: ${error}` };
  }
  return {
    rule: 'W4',
    do: 'write',
    at,
    next: change(lead, { state: 'open', target: null }),
    reason: `handing over to ${target?.id} did not work: ${me} goes on`,
  };
}

/** W3: the engines have changed roles; whoever of the two sees it first writes it down. */
export function handed({ lead, at }: Situation, target: Copy): Step {
  const next = change(lead, { epoch: lead.epoch + 1, master: target, insync: [], prev: null, target: null, state: 'open', clear: false });
  return { rule: 'W3', do: 'write', at, next, reason: `${target.id} is the master now, and has everything` };
}

/** T1: it had stood down, and nothing has happened to its data. */
function takeBack({ lead, at, me, engine }: Situation): Step {
  if (!engine.fenced) return { rule: 'T1', do: 'fence', cut: false, reason: `${me} has stood down` };
  if (engine.role !== 'master') return { rule: 'T1', do: 'detach', reason: `${me} takes back what it left: it follows nobody` };
  const next = change(lead, { epoch: lead.epoch + 1, state: 'open', insync: [], prev: null, target: null, clear: false });
  return { rule: 'T1', do: 'write', at, next, reason: `${me} takes back what it left: its data are whole` };
}

/** Named by the record, but with another run: what the engine had in memory is gone, what is on its disk may be older. */
export function restarted(s: Situation): Step {
  const { lead, me, at, engine, local, budgets, records } = s;
  if (!engine.fenced) return { rule: 'S2', do: 'fence', cut: false, reason: `${me} was started anew and takes no writes yet` };
  const copies = copiesOf(lead).filter(({ id }) => id !== me);
  if (lead.state !== 'vacant' && copies.length > 0) {
    const next = change(lead, { state: 'vacant', insync: copies, prev: null, target: null, clear: isClear(lead) });
    return { rule: 'V2', do: 'write', at, next, reason: `${me} was started anew: ${names(copies)} may take over` };
  }
  const others = fuller(s);
  if (copies.length === 0 && others.length > 0) {
    const next = change(lead, { state: 'vacant', insync: others, prev: null, target: null, clear: isClear(lead) });
    return {
      rule: 'V3',
      do: 'write',
      at,
      next,
      reason: `${me} came back empty: what ${names(others)} has is older, and better than nothing`,
    };
  }
  const unheard = engine.empty && copies.length === 0 ? unheardOf(s) : [];
  if (unheard.length > 0 && lead.state !== 'vacant') {
    const next = change(lead, { state: 'vacant', insync: [], prev: null, target: null, clear: isClear(lead) });
    return { rule: 'V3', do: 'write', at, next, reason: `${me} came back empty: ${unheard.join(' and ')} may have something` };
  }
  if (unheard.length > 0 && local.stateAgeMs < budgets.waitForCopiesMs)
    return wait('T2', `${me} came back empty and waits for ${unheard.join(' and ')}, which may have something`);
  const kept = copies.filter((copy) => records.members.includes(copy.id) && stateOf(copy, s) !== 'gone');
  const alive = kept.some((copy) => stateOf(copy, s) === 'alive');
  const limit = alive ? 2 * budgets.waitForCopiesMs : budgets.waitForCopiesMs;
  if (kept.length > 0 && !records.paused && local.stateAgeMs < limit)
    return wait('T2', `${me} was started anew and waits for ${names(kept)}, which has what it lost`);
  if (engine.role !== 'master') return { rule: 'T2', do: 'detach', reason: `${me} takes back with what is on its disk: it follows nobody` };
  const next = change(lead, {
    epoch: lead.epoch + 1,
    master: { id: me, run: engine.run },
    state: 'open',
    insync: [],
    prev: null,
    target: null,
    clear: false,
  });
  return { rule: 'T2', do: 'write', at, next, reason: `${me} takes back with what is on its disk: nobody holds a newer copy` };
}

/** Members that hold something, where this one holds nothing. */
function fuller({ engine, local, records, budgets }: Situation): Copy[] {
  if (!engine.empty) return [];
  return records.members.flatMap((id) => {
    const peer = local.peers[id];
    return peer?.seen === undefined || peer.seen.empty || peer.silentMs >= budgets.silentMs ? [] : [{ id, run: peer.seen.run }];
  });
}

function unheardOf({ me, local, records, budgets }: Situation): string[] {
  return records.members.filter((id) => id !== me && (local.peers[id]?.silentMs ?? Number.POSITIVE_INFINITY) >= budgets.silentMs);
}

export function names(copies: readonly { id: string }[]): string {
  return copies.map(({ id }) => id).join(' and ');
}
