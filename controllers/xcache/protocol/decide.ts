import { following } from './follow.ts';
import { leading, names, restarted } from './lead.ts';
import { change, copiesOf, isClear, type Situation, seconds, wait } from './situation.ts';
import { type Budgets, GUARDS, type Guards, type LeadBody, type Local, type Records, type Step } from './types.ts';

/**
 * The next step of a member's sidecar, from the records and what it sees here. Every step may come to nothing at any point, be done late, or be done without our knowing:
 * the next turn looks again. Rules by their letters: README.md.
 */
export function decide(records: Records | undefined, local: Local, budgets: Budgets, guards: Guards = GUARDS): Step {
  const { me, engine } = local;
  if (engine.state === 'unreachable' && engine.ageMs >= patience(records, local, budgets))
    return { rule: 'D1', do: 'kill', reason: `the engine of ${me} has not answered for ${seconds(engine.ageMs)}: it is killed` };
  if (records === undefined) return withoutRecords(local, guards);
  const isFresh = local.consulAgeMs <= budgets.readGraceMs;
  const indexed = records.lead;
  if (indexed === undefined || indexed.value.epoch < local.epoch) return byFreshRecords(noRecord(records, local), isFresh, local);
  const { value: lead, index: at } = indexed;
  if (engine.state !== 'running') return byFreshRecords(notRunning(records, local, guards), isFresh, local);
  const s: Situation = { me, records, lead, at, local, engine, budgets, guards };
  const mine = lead.master.id === me;
  const step = !mine ? following(s) : lead.master.run === engine.run || !guards.runs ? leading(s) : (ending(s) ?? restarted(s));
  return byFreshRecords(step, isFresh, local);
}

/** What is in doubt from the moment that this step is begun, until the record is read as another than it was ({@link Local.doubt}). */
export function doubtOf(step: Extract<Step, { do: 'write' }>): NonNullable<Local['doubt']> {
  const { insync, target, prev } = step.next;
  return { at: step.at, members: [...insync, target, prev].flatMap((copy) => (copy === null ? [] : [copy.id])) };
}

/** D1: an engine that may only be busy is not killed with the only copy of its data; where somebody can take over at once, clients need not wait for it. */
function patience(records: Records | undefined, { me }: Local, { hungMs, hungAloneMs }: Budgets): number {
  const lead = records?.lead?.value;
  return lead === undefined || (lead.master.id === me && copiesOf(lead).length === 0) ? hungAloneMs : hungMs;
}

function ending({ local, me }: Situation): Step | undefined {
  return local.stopping === undefined ? undefined : { rule: 'E3', do: 'leave', reason: `${me} is to end` };
}

/** Nothing was ever read: who may take over is not known either. */
function withoutRecords({ me, engine }: Local, guards: Guards): Step {
  if (guards.lease && engine.state === 'running' && !engine.fenced)
    return {
      rule: 'L3',
      do: 'fence',
      cut: false,
      reason: `Consul does not answer and ${me} does not know what the record says: it takes no writes`,
    };
  return wait('S0', 'Consul has not answered yet');
}

/** N: there is none, or an older one than this member has seen: Consul has lost records. Nobody begins anew beside data that may be alive. */
function noRecord({ birth, lead }: Records, { me, engine, epoch, stopping }: Local): Step {
  if (engine.state === 'running' && !engine.fenced)
    return {
      rule: 'N1',
      do: 'fence',
      cut: true,
      reason: `the record of this cache is lost or older than epoch ${epoch}: ${me} takes no writes`,
    };
  if (stopping !== undefined) return { rule: 'E3', do: 'leave', reason: `${me} is to end` };
  if (epoch > 0 || lead !== undefined)
    return wait('N1', `the record of this cache is lost or older than epoch ${epoch}: nothing is begun beside what may be alive`, true);
  if (birth === undefined || birth.value.done) return wait('N1', 'this cache has neither a record nor an order to make one', true);
  if (engine.state === 'down') return { rule: 'S1', do: 'start', reason: `the engine of ${me} is started, refusing writes` };
  if (engine.state !== 'running') return wait('starting', `the engine of ${me} is starting`);
  if (birth.value.member !== me) return wait('N2', `${birth.value.member} is to begin`);
  const next: LeadBody = {
    epoch: 1,
    master: { id: me, run: engine.run },
    insync: [],
    prev: null,
    target: null,
    state: 'open',
    clear: false,
  };
  return { rule: 'N2', do: 'write', at: 0, birth: birth.index, next, reason: `${me} is the first master` };
}

/** V1: a master whose engine is gone says so at once; nobody need find out. */
function notRunning({ lead: indexed }: Records, { me, engine, stopping }: Local, guards: Guards): Step {
  const lead = indexed?.value;
  if (lead === undefined || indexed === undefined) return wait('S0', 'no record');
  const isGone = engine.state === 'down' || engine.state === 'starting';
  const heirs = copiesOf(lead).filter(({ id }) => id !== me);
  if (isGone && guards.runs && lead.master.id === me && lead.state !== 'vacant' && heirs.length > 0) {
    const next = change(lead, { state: 'vacant', insync: heirs, prev: null, target: null, clear: isClear(lead) });
    return { rule: 'V1', do: 'write', at: indexed.index, next, reason: `the engine of ${me} is gone: ${names(heirs)} may take over` };
  }
  if (engine.state === 'down') {
    if (stopping !== undefined) return { rule: 'E3', do: 'leave', reason: `${me} is to end` };
    return { rule: 'S1', do: 'start', reason: `the engine of ${me} is started, refusing writes` };
  }
  return wait('starting', engine.state === 'starting' ? `the engine of ${me} is starting` : `the engine of ${me} does not answer`);
}

/** Steps that are right only by a record of now. What protects is right by an old one too. */
const NEEDS_FRESH: ReadonlySet<Step['do']> = new Set(['write', 'open', 'move', 'handover', 'follow', 'detach']);

function byFreshRecords(step: Step, isFresh: boolean, { consulAgeMs }: Local): Step {
  if (isFresh || !NEEDS_FRESH.has(step.do)) return step;
  return wait('S0', `Consul has not answered for ${seconds(consulAgeMs)}: everything stays as it is (due: ${step.reason})`);
}
