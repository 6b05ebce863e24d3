import { same } from '#xdb/protocol/rules/open.ts';
import { changed, type Running, seconds, wait } from '#xdb/protocol/situation.ts';
import type { MemberRef, Step } from '#xdb/protocol/types.ts';

interface Candidate {
  ref: MemberRef;
  /** Index of its data record. */
  index: number;
}

/** How far B has come; undefined when it has to begin with B1 (again): another record, another boot or generation of the candidate. */
const progress = (s: Running) => {
  const { back } = s.memory;
  if (back === undefined || back.casIndex !== s.index || s.sync.sync !== null) return undefined;
  if (s.guards.candidateUnchanged && s.records.data[back.candidate.id]?.index !== back.candidateIndex) return undefined;
  return back;
};

/**
 * B: an open leader without a sync slave gets one. B1 writes down whom it has in mind, B2 shuts everybody else out, then semi-sync goes on, then the position is
 * sampled, then the candidate has to have received it, and B3 names it: from there on each commit waits for it.
 */
export function back(s: Running): Step | undefined {
  const { engine, sync, me, guards } = s;
  if (sync.sync !== null) return undefined;
  const begun = progress(s);
  if (begun === undefined) return begin(s);
  const { candidateIndex, g } = begun;
  const candidate = guards.candidateUnchanged ? begun.candidate : asNow(s, begun.candidate);
  if (!same(engine.openAccounts, [candidate.id]) || engine.dumps.some((member) => member !== candidate.id)) {
    return {
      rule: 'B2',
      do: 'allow_dumps',
      members: [candidate.id],
      reason: `only ${candidate.id} may follow ${me} while it becomes the sync slave`,
    };
  }
  const on = engine.semiSyncMaster || !guards.semiSyncAwaited;
  if (!on && (guards.semiSyncBeforeSample || g !== undefined) && guards.semiSyncBeforeRecord) {
    return { rule: 'B', do: 'semi_sync_master', on: true, reason: `commits of ${me} wait for ${candidate.id} from here on` };
  }
  if (g === undefined && guards.awaitPosition) {
    return { rule: 'B', do: 'sample', reason: `${candidate.id} has to have everything that ${me} has until here` };
  }
  if (guards.awaitPosition && !engine.candidateReached) {
    return wait('B', `${candidate.id} is not caught up yet: it has to receive everything up to ${g ?? 'here'}`);
  }
  return {
    rule: 'B3',
    do: 'write',
    reason: `${candidate.id} has everything that ${me} has and becomes its sync slave`,
    write: {
      ...changed(s, { sync: candidate, cand: null }),
      ...(guards.candidateUnchanged ? { checkData: { member: candidate.id, index: candidateIndex } } : {}),
    },
  };
}

/** Guard off: the generation that the candidate has by now, not the one that B began with. */
const asNow = (s: Running, { id, gen }: MemberRef): MemberRef => ({ id, gen: s.records.data[id]?.value.gen ?? gen });

/** Whether B has somebody to go on with: F must not end it before it began. */
export const returning = (s: Running): boolean => s.sync.sync === null && (progress(s) !== undefined || candidateOf(s) !== undefined);

function begin(s: Running): Step | undefined {
  const candidate = candidateOf(s);
  if (candidate === undefined) return undefined;
  const { ref, index } = candidate;
  return {
    rule: 'B1',
    do: 'write',
    reason: `${ref.id} follows ${s.me} closely and is to become its sync slave`,
    write: { ...changed(s, { sync: null, cand: ref }), checkData: { member: ref.id, index } },
  };
}

/** A member that has shown that it follows, holds nothing foreign, and is near enough for commits to wait for it. */
function candidateOf(s: Running): Candidate | undefined {
  const { records, engine, sync, me, guards, local, budgets } = s;
  if (local.fallBackAgeMs < budgets.backOffMs) return undefined;
  for (const id of records.members) {
    if (id === me || records.replicas.includes(id) || !engine.near.includes(id)) continue;
    const data = records.data[id];
    if (data === undefined) continue;
    const { ready, gen } = data.value;
    const fit = guards.readyInEpoch ? ready === sync.epoch : ready !== null;
    if (fit || !guards.candidateReady) return { ref: { id, gen }, index: data.index };
  }
  return undefined;
}

/** Why a leader that is open has no sync slave, for who asks. */
export function alone(s: Running): Step | undefined {
  const { sync, records, me, local, budgets, engine } = s;
  if (sync.sync !== null) return undefined;
  const others = records.members.filter((id) => id !== me && !records.replicas.includes(id));
  if (others.length === 0) return undefined;
  if (local.fallBackAgeMs < budgets.backOffMs) {
    return wait('B', `${me} takes writes alone; it tries to get a sync slave again in ${seconds(budgets.backOffMs - local.fallBackAgeMs)}`);
  }
  const said = others.map((id) => {
    const data = records.data[id];
    if (!records.present.includes(id)) return `${id} is not there`;
    if (data === undefined || data.value.ready !== sync.epoch) return `${id} does not follow yet`;
    return engine.near.includes(id) ? `${id} is ready` : `${id} is not caught up yet`;
  });
  return wait('B', `${me} takes writes alone: ${said.join(', ')}`);
}
